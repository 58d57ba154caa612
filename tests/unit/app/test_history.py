"""What the journal keeps becomes events again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hotplugd.app.history import from_daemon, from_journal, in_order, journal_matches, parse_page
from hotplugd.app.systemd import MESSAGE_IDS

ENTRY = {
    "HOTPLUGD_EVENT": "device.add", "DEVICE": "/dev/ttyUSB0", "HOTPLUGD_INSTANCE": "runner-1",
    "HOTPLUGD_AFTER_PLUG": "3.0 ms", "PRIORITY": "4", "__REALTIME_TIMESTAMP": "1764245574123456",
    "MESSAGE": "device.add …", "_PID": "7",
}  # fmt: skip


def test_an_entry_becomes_an_event() -> None:
    (event,) = from_journal([json.dumps(ENTRY)])
    assert event == {
        "event": "device.add", "device": "/dev/ttyUSB0", "instance": "runner-1", "after_plug": "3.0 ms",
        "level": "warning", "timestamp": "2025-11-27T12:12:54.123456+00:00",
    }  # fmt: skip


def test_one_of_an_earlier_version_is_known_by_its_message_id() -> None:
    old = {"MESSAGE_ID": MESSAGE_IDS["device.remove"], "DEVICE": "/dev/x", "PRIORITY": "6"}
    (event,) = from_journal([json.dumps(old)])
    assert (event["event"], event["device"]) == ("device.remove", "/dev/x")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "x",
        "[]",
        "1",
        "{}",
        '{"MESSAGE": "y"}',
        "[" * 100_000,
        '{"HOTPLUGD_EVENT": [1, 2]}',
        '{"HOTPLUGD_EVENT": null}',
    ],
)
def test_what_is_no_event_is_left_out(line: str) -> None:
    assert list(from_journal([line])) == []


def test_a_value_that_is_no_text_is_left_out() -> None:
    (event,) = from_journal([json.dumps({**ENTRY, "DEVICE": [47, 255], "__REALTIME_TIMESTAMP": "x"})])
    assert not event.keys() & {"device", "timestamp"}


def test_the_journal_is_asked_by_its_index_and_for_root_alone() -> None:
    asked = journal_matches("R5C001")
    assert asked[:3] == ["SYSLOG_IDENTIFIER=hotplugd", "_UID=0", "DEVICE=R5C001"]
    assert asked.count("+") == asked.count("_UID=0") - 1
    assert {"HOTPLUGD_IDENTITY=serial:R5C001", "HOTPLUGD_NAME=R5C001"} <= {*asked}
    assert "HOTPLUGD_INSTANCE=x" in journal_matches("default/x")
    assert journal_matches("R5*") == journal_matches("") == ["SYSLOG_IDENTIFIER=hotplugd", "_UID=0"]


def test_events_are_in_order_whatever_the_clock_said() -> None:
    told = [
        {"event": str(number), "cursor": cursor, "timestamp": at}
        for number, (cursor, at) in enumerate(
            [
                ("b-9", "2026-11-27T09:00:00Z"),
                ("a-2", "2026-11-27T08:00:00Z"),
                ("b-7", "2026-11-27T10:00:00Z"),
            ]
        )
    ]
    assert [each["cursor"] for each in in_order(told)] == ["b-7", "b-9", "a-2"]
    old = {"event": "device.add", "timestamp": "2026-11-26T09:00:00Z"}
    assert in_order([old, *told])[0] == old


def test_a_page_of_the_daemon_is_read() -> None:
    page = {"events": [{"event": "ready"}, []], "cursor": "c"}
    assert parse_page(page) == ([{"event": "ready"}], "c")
    assert parse_page({}) == ([], "")


def test_a_daemon_that_does_not_run_keeps_nothing(tmp_path: Path) -> None:
    gaps = ["there is no journal"]
    assert list(from_daemon(tmp_path / "none.sock", gaps)) == []
    assert gaps[1:] == ["hotplugd is not running: what it kept is lost"]
    gaps = []
    assert list(from_daemon(tmp_path / "none.sock", gaps)) == []
    assert gaps == []
