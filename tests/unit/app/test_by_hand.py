"""What people ask for by hand where there is no session with a server, and what the state file is worth."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import LogCapture

from hotplugd.app.by_hand import ByHand
from hotplugd.app.control_request import ControlRequest
from hotplugd.app.grants import ROOT as EVERYTHING
from hotplugd.app.override_json import AskedJson
from hotplugd.app.peer import Peer
from hotplugd.app.state_file import State, written
from hotplugd.model.asker import Asker
from hotplugd.model.values import InstanceName
from hotplugd.plan.overrides import Lasting, Override, Overrides

ROOT = Asker(0, "root")
PHONE = Override(
    Lasting("serial:R5C001", "usb"), None, "2026-11-27T18:00:00+00:00", ROOT, "/dev/bus/usb/001/004"
)
TTY = Override(
    Lasting("serial:R5C001", "tty", "ttyACM# 1.0"), InstanceName("default", "box"),
    "2026-11-27T18:01:00+00:00", ROOT, "/dev/ttyACM0",
)  # fmt: skip


def asked(text: str) -> ControlRequest:
    return ControlRequest(Peer(os.getpid(), os.getuid()), EVERYTHING, {}, text)


class Bed:
    """Without a session.

    run  loads the state file and does this
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.logged = LogCapture()
        self.problems: list[str] = []

    def run(
        self, work: Callable[[ByHand], Coroutine[Any, Any, AskedJson | None]], *, dry_run: bool = False
    ) -> AskedJson | None:
        log: Any = structlog.wrap_logger(None, [self.logged], structlog.make_filtering_bound_logger(0))

        async def run() -> AskedJson | None:
            by_hand = ByHand(log, lambda: None, dry_run=dry_run)
            await by_hand.load(self.path, "start")
            answer = await work(by_hand)
            self.problems = [each.message for each in by_hand.problems()]
            return answer

        return asyncio.run(run())

    def ask(self, what: str, **words: object) -> AskedJson:
        answer = self.run(lambda by_hand: getattr(by_hand, what)(asked(json.dumps(words))))
        assert answer is not None
        return answer

    def events(self) -> list[str]:
        return [each["event"] for each in self.logged.entries]


@pytest.fixture
def bed(tmp_path: Path) -> Bed:
    """With two decisions."""
    made = Bed(tmp_path / "state.json")
    made.path.write_bytes(written(State(Overrides.made_of([PHONE, TTY]))))
    return made


async def nothing(_: ByHand) -> None: ...


def test_a_decision_about_what_is_not_there_is_undone(bed: Bed) -> None:
    answer = bed.ask("undo", device="/dev/ttyACM0", real="/dev/ttyACM0")
    assert (answer["taken"], answer["message"]) == (
        True, "the rules decide again about serial:R5C001, once the daemon has found its server",
    )  # fmt: skip
    assert [(each["instance"], each["present"]) for each in answer["overrides"]] == [("box", False)]
    assert bed.path.read_bytes() == written(State(Overrides.made_of([PHONE])))
    assert bed.events() == ["undo.asked"]


def test_all_are_undone(bed: Bed) -> None:
    assert len(bed.ask("undo", all=True)["overrides"]) == 2
    assert bed.path.read_bytes() == written(State())
    assert bed.ask("undo", all=True)["message"] == "nothing was decided by hand"


def test_of_several_none_is_undone(bed: Bed) -> None:
    answer = bed.ask("undo", device="R5C001", real="R5C001")
    assert (answer["taken"], answer["more"]) == (
        False, ["serial:R5C001 (/dev/bus/usb/001/004)", "serial:R5C001 (/dev/ttyACM0)"],
    )  # fmt: skip
    assert bed.events() == ["undo.refused"]


@pytest.mark.parametrize("what", ["attach", "detach"])
def test_nothing_is_decided_before_devices_are_listed(bed: Bed, what: str) -> None:
    before = bed.path.read_bytes()
    answer = bed.ask(what, device="R5C001", real="R5C001", instance="box", project="default")
    assert (answer["taken"], answer["overrides"]) == (False, [])
    assert "has not listed the devices yet" in answer["message"]
    assert bed.path.read_bytes() == before
    assert bed.events() == [f"{what}.refused"]


@pytest.mark.parametrize("text", ["", "[]", "1", "{", "[" * 5000])
def test_what_is_no_request_is_an_error(bed: Bed, text: str) -> None:
    with pytest.raises(ValueError, match=r"expect|Expect"):
        bed.run(lambda by_hand: by_hand.undo(asked(text)))


def test_a_broken_file_is_set_aside_and_told_until_it_is_taken_away(bed: Bed) -> None:
    bed.path.write_text("{")
    bed.run(nothing, dry_run=True)
    assert bed.path.read_text() == "{"
    assert "is broken" in bed.problems[0]
    bed.run(nothing)
    (aside,) = bed.path.parent.glob("state.json.broken-*")
    (told,) = bed.problems
    assert told.startswith(f"the state file was broken, and is called {aside} now: what was decided by hand ")
    bed.run(nothing)
    assert len(bed.problems) == 1
    aside.unlink()
    bed.run(nothing)
    assert bed.problems == []
    assert bed.events() == ["state.problem"] * 3


def test_a_file_that_breaks_while_it_is_in_force_changes_nothing(bed: Bed) -> None:
    async def work(by_hand: ByHand) -> None:
        bed.path.write_text("{")
        await by_hand.load(bed.path, "reload")
        assert [*by_hand.overrides] == [PHONE, TTY]

    bed.run(work)
    assert len(bed.problems) == 1


def test_one_that_cannot_be_read_is_a_problem_and_not_written(bed: Bed) -> None:
    bed.path.unlink()
    bed.path.mkdir()
    answer = bed.ask("undo", all=True)
    assert answer["taken"] is False
    assert "cannot be read" in answer["message"]
    assert bed.problems[0].endswith("what was decided by hand is not known")
