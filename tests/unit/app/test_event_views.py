"""Events as people and programs see them: filters, times, lines, and what is attached by them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from hotplugd.app.event_views import (
    absent,
    attached,
    is_gone,
    is_meant,
    last_seen,
    line,
    parse_filter,
    shown_time,
    standing,
)

ADD: dict[str, Any] = {
    "event": "device.add", "device": "/dev/bus/usb/001/064", "identity": "serial:R5C001", "serial": "R5C001",
    "port": "1-4.2", "model": "Pixel_8", "rule": "phones", "instance": "runner-1", "entry": "hp-1",
    "slot": "c-189-63-1a2b3c4d-9", "why": "it is not attached", "cause": "plug", "after_plug": "12.0 ms",
    "timestamp": "2026-11-27T20:12:54.123456Z", "level": "info",
}  # fmt: skip
ZONE = timezone(timedelta(hours=1))


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ([], True),
        (["R5C001"], True),
        (["serial:R5C001"], True),
        (["R5C*"], True),
        (["R5C"], False),
        (["1-4.2"], True),
        (["runner-1"], True),
        (["default/runner-1"], True),
        (["lab/runner-1"], False),
        (["phones"], False),
        (["rule=phones"], True),
        (["event=device.*", "instance=runner-1"], True),
        (["event=device.*", "instance=runner-2"], False),
        (["instance=runner-2", "instance=runner-1"], True),
        (["serial=r5c001"], False),
        (["model=Pixel*", "port=1-4*"], True),
        ([""], False),
    ],
)
def test_filters(filters: list[str], expected: bool) -> None:
    assert is_meant(ADD, [parse_filter(each) for each in filters]) == expected


def test_a_key_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no key 'sereal' to filter by; one of device, serial"):
        parse_filter("sereal=1")


def test_a_time_is_shown_with_its_offset() -> None:
    at = datetime.fromisoformat("2026-11-27T20:12:54.123456+00:00").astimezone(ZONE)
    assert shown_time(at) == "2026-11-27 21:12:54.123 +0100"


def test_a_line_has_all_that_a_person_asks_for() -> None:
    assert line(ADD).split("+", 1)[1].split(" ", 1)[1] == (
        "device.add        /dev/bus/usb/001/064 (serial R5C001, model Pixel_8, port 1-4.2) in runner-1 "
        "by rule phones: it is not attached; cause: plug; 12.0 ms after the plug"
    )
    assert line({"event": "instance.deleted", "instance": "x", "devices": "a, b"}).endswith("x: a, b")


def test_what_somebody_put_in_by_hand_is_by_no_rule() -> None:
    by_hand = {**ADD, "rule": "by hand"}
    assert " in runner-1 by hand: " in line(by_hand)
    assert absent(by_hand, "").startswith("not plugged in; it was attached by hand, and no rule is known to ")


def test_a_line_is_one_whatever_is_in_it() -> None:
    text = line({"event": "device.add\x1b[2J", "device": "a\nb", "timestamp": "no\ntime"})
    assert text.isprintable()


def test_what_is_attached_is_told_by_the_last_word() -> None:
    again = {**ADD, "entry": "hp-2"}
    gone = {"event": "device.remove", "instance": "runner-1", "entry": "hp-1"}
    assert attached([ADD, gone, again]) == {("runner-1", "hp-2"): again}
    assert attached([ADD, again, gone]) == {("runner-1", "hp-2"): again}


def test_what_is_so_is_told_by_what_was_said_before() -> None:
    problem = {**ADD, "event": "device.problem", "reason": "not seen"}
    other = {**problem, "reason": "refused"}
    over = {**problem, "event": "problem.over"}
    assert standing([ADD, problem, other]) == [ADD, problem, other]
    assert standing([ADD, problem, other, over]) == [ADD, other]
    assert standing([ADD, problem, problem, over]) == [ADD]
    assert standing([ADD, problem, {"event": "starting"}]) == [ADD]


def test_the_end_of_one_devices_problem_is_not_the_end_of_anothers() -> None:
    # Two that were in quarantine, for the same reason, when the daemon ended: no more is known of them yet.
    one = {"event": "health.problem", "identity": "serial:A", "reason": "it came and went 6 times"}
    two = {**one, "identity": "serial:B"}
    assert standing([one, two, {**one, "event": "problem.over"}]) == [two]


def test_what_somebody_called_a_device_is_shown_and_found() -> None:
    asked = {"event": "cordon.refused", "name": "R5C001", "by": "uid 0 (root)", "reason": "it is of no pool"}
    assert line(asked).endswith("cordon.refused    R5C001 by uid 0 (root): it is of no pool")
    for name in ("R5C001", "serial:R5C001"):
        assert is_meant({**asked, "name": name}, [parse_filter("R5C001")])


def test_what_the_next_daemon_does_not_find_attached_is_not_any_more() -> None:
    start: list[dict[str, Any]] = [{"event": "starting"}, {"event": "server.connected"}, {"event": "ready"}]
    again = {**ADD, "event": "device.attached"}
    assert standing([ADD, *start[:2]]) == [ADD]
    assert standing([ADD, *start]) == []
    assert standing([ADD, *start[:2], again, start[2]]) == [again]
    assert standing([ADD, *start, again]) == [again]
    # One that found no server does not know what is attached.
    assert standing([ADD, start[0], start[2]]) == [ADD]
    assert standing([ADD, *start[:2], start[0], start[2]]) == [ADD]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (["device.seen", "device.gone", "device.remove"], True),
        (["device.gone", "device.seen", "device.remove"], False),
        (["device.seen", "device.detached"], False),
        (["device.remove"], False),
    ],
)
def test_what_is_gone_is_told_by_the_last_plug(events: list[str], expected: bool) -> None:
    assert is_gone([{**ADD, "event": each} for each in events]) is expected


def test_a_device_that_is_not_there_was_last_seen_somewhere() -> None:
    gone = {
        "event": "device.gone",
        "identity": "serial:R5C001",
        "rule": "phones",
        "timestamp": ADD["timestamp"],
    }
    other = {**ADD, "identity": "serial:R5C002", "serial": "R5C002"}
    found = last_seen([ADD, gone, other], "R5C001")
    assert found is not None
    told = absent(found, "phones")
    assert told.startswith("not plugged in; rule phones would take it; last seen 2026-11-2")
    assert told.endswith(" at 1-4.2")
    assert "; rule phones took it, and is not in force any more; last seen" in absent(found, "")
    assert absent(None, "hub-2") == "not plugged in; rule hub-2 would take it"
    assert last_seen([ADD], "R5C003") is None


def test_it_was_last_seen_when_it_was_pulled() -> None:
    def at(event: str, minute: int) -> dict[str, Any]:
        return {**ADD, "event": event, "timestamp": f"2026-11-27T20:{minute}:00Z"}

    life = [at("device.add", 10), at("device.gone", 11), at("device.asked", 12), at("device.remove", 55)]
    found = last_seen(life, "R5C001")
    assert found is not None
    assert found["timestamp"] == "2026-11-27T20:11:00Z"
    again = last_seen([*life, at("device.seen", 56), at("device.add", 57)], "R5C001")
    assert again is not None
    assert again["timestamp"] == "2026-11-27T20:57:00Z"
