"""A file that hangs: whoever waits for it is told which one it is, and one wait is enough."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hotplugd.app import control, daemon, settings_reader
from hotplugd.app.in_force import Settings
from hotplugd.app.settings import Config
from hotplugd.app.settings_reader import SettingsReader, Unreadable
from hotplugd.cli import common
from hotplugd.cli.common import patiently
from hotplugd.rulefile.discover import Reading
from hotplugd.rules.ruleset import RuleSet

SETTINGS = Settings(Config(), RuleSet(()))
FILE = Path("/rules.d/1.yaml")


@pytest.fixture
def hanging() -> Iterator[threading.Event]:
    """Until it is set nothing is read."""
    event = threading.Event()
    yield event
    event.set()


def test_a_command_ends_and_says_where(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], hanging: threading.Event
) -> None:
    monkeypatch.setattr(common, "_PATIENCE", 0.05)

    def work(reading: Reading) -> bool:
        reading(FILE)
        return hanging.wait()

    with pytest.raises(SystemExit) as ended:
        patiently(work)
    assert ended.value.code == 1
    assert f"{FILE} hangs" in capsys.readouterr().err


def test_a_command_waits_for_what_takes_long_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, hanging: threading.Event
) -> None:
    monkeypatch.setattr(common, "_PATIENCE", 0.05)

    def work(reading: Reading) -> str:
        # It was opened, and what is in it takes its time.
        reading(FILE)
        reading(None)
        hanging.wait(0.3)
        return "done"

    assert patiently(work) == "done"


def test_what_fails_while_it_is_read_fails_for_whoever_waits() -> None:
    def work(_: Reading) -> str:
        raise KeyError("x")

    with pytest.raises(KeyError):
        patiently(work)


def test_a_reload_waits_once_and_says_where(
    monkeypatch: pytest.MonkeyPatch, hanging: threading.Event
) -> None:
    monkeypatch.setattr(settings_reader, "LOAD", 0.1)
    began = 0

    def load(_: Path, reading: Reading) -> Settings:
        nonlocal began
        began += 1
        reading(FILE)
        hanging.wait()
        reading(None)
        return SETTINGS

    monkeypatch.setattr(settings_reader, "load", load)

    async def main() -> None:
        reader = SettingsReader(Path("/config"))
        for _ in range(3):
            with pytest.raises(Unreadable, match=f"^the files cannot be read: {FILE} hangs$"):
                await reader.read()
        assert began == 1
        hanging.set()
        async with asyncio.timeout(5):
            while reader._place.path is not None:
                await asyncio.sleep(0.01)
        # A thread that is free may take longer than this on a busy machine.
        monkeypatch.setattr(settings_reader, "LOAD", 10.0)
        assert await reader.read() == SETTINGS

    asyncio.run(main())


def test_a_command_waits_for_two_reloads_that_take_as_long_as_they_may() -> None:
    # One that is under way and its own, and for the pace of reloads.
    assert 2 * settings_reader.LOAD + daemon._RELOADS[1] < control._LONG - 5
