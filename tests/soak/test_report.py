"""What the soak makes of a log."""

from __future__ import annotations

from tests.soak.report import BROKEN, told


def test_events_are_counted_by_name() -> None:
    assert told('{"event": "ready"}\n{"event": "device.add"}\n{"event": "device.add"}\nother\n') == {
        "ready": 1,
        "device.add": 2,
    }


def test_a_broken_line_ends_no_report() -> None:
    log = '{"event": "device.add"}{"event": "ready"}\n{"event": "dev\n{"level": "info"}\n{"event": "ready"}\n'
    assert told(log) == {BROKEN: 3, "ready": 1}
