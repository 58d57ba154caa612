"""`hotplugd history` with events of a daemon, and no journal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from hotplugd.app import control_client, history
from hotplugd.app.event_views import Event, Filter
from hotplugd.app.history import Past
from hotplugd.cli import main

_PHONE = {"device": "/dev/bus/usb/001/064", "identity": "serial:R5C001", "serial": "R5C001", "port": "1-4.2"}
_IN = {**_PHONE, "instance": "runner-1", "entry": "hp-1", "rule": "phones"}


def event(name: str, at: str) -> Event:
    return {"event": name, "level": "info", "timestamp": f"2026-11-27T{at}:00Z", **_IN}


def since(config: Path, monkeypatch: pytest.MonkeyPatch, at: str, events: Sequence[Event]) -> list[str]:
    """What is shown: the events' names, with a `-` before those of the time before."""

    def past(control: Path, meant: Filter) -> Past:
        del control, meant
        return Past(events)

    monkeypatch.setattr(history, "past", past)
    done = CliRunner().invoke(
        main, ["history", "R5C001", "--since", f"2026-11-27 {at} UTC", "--json", "--config", str(config)]
    )
    assert done.exit_code == 0, done.output
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return [f"{'-' if each.get('before') else ''}{each['event']}" for each in found]


def test_what_was_so_comes_before_what_happened(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = [event("device.add", "10:00"), event("device.gone", "11:00"), event("device.remove", "11:01")]
    assert since(config, monkeypatch, "10:30", events) == ["-device.add", "device.gone", "device.remove"]
    assert since(config, monkeypatch, "09:00", events) == ["device.add", "device.gone", "device.remove"]
    assert since(config, monkeypatch, "12:00", events) == []


def test_it_needs_neither_a_daemon_nor_files_without_errors(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (config.parent / "r.yaml").write_text("rules: [{}]\n")
    events = [event("device.add", "10:00"), event("device.gone", "11:00"), event("device.remove", "11:01")]
    monkeypatch.setattr(history, "past", lambda *_: Past(events))
    done = CliRunner().invoke(main, ["history", "R5C001", "--config", str(config)])
    assert done.exit_code == 0, done.output
    assert [line.split()[3] for line in done.stdout.splitlines()] == [str(each["event"]) for each in events]
    assert "r.yaml:1:9: error: a rule needs `name` and `match`" in done.stderr


def test_events_after_the_clock_was_set_back_come_later(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = [event("device.add", "10:00"), event("device.gone", "09:05"), event("device.remove", "09:06")]
    assert since(config, monkeypatch, "09:30", events) == ["device.add", "device.gone", "device.remove"]


def test_what_an_order_is_about_and_is_gone_was_last_seen_somewhere(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks for something at night wants to know that the phone is out, not what words there are."""
    events = [event("device.add", "10:00"), event("device.gone", "11:00")]
    refused = {"taken": False, "done": False, "message": "no device R5C001 is plugged in", "more": []}
    monkeypatch.setattr(control_client, "post", lambda *_: refused)
    monkeypatch.setattr(history, "past", lambda *_: Past(events))
    for words in (["detach", "R5C001"], ["attach", "R5C001", "x"], ["cordon", "R5C001"], ["reset", "R5C001"]):
        done = CliRunner().invoke(main, [*words, "--config", str(config)])
        assert done.exit_code == 1
        said, last = done.stderr.splitlines()
        assert said == "hotplugd: no device R5C001 is plugged in"
        assert last.startswith("  not plugged in; last seen 2026-11-27 ")
        assert last.endswith(" at 1-4.2")
    # It is there: what is refused is something else.
    monkeypatch.setattr(history, "past", lambda *_: Past(events[:1]))
    assert (
        len(CliRunner().invoke(main, ["detach", "R5C001", "--config", str(config)]).stderr.splitlines()) == 1
    )
