"""Who is held off, by place and by identity, and who never is."""

from __future__ import annotations

from itertools import count

import pytest

from hotplugd.reconcile.hold_off import CALM, MOST, WINDOW, HoldOff, Plug, plug_of
from tests.support.devices import console, disk, interface, phone

_PORT = "/sys/devices/pci0000:00/usb1/1-4"
_NUMBERS = count()


def plug(place: str = _PORT, identity: str = "") -> Plug:
    """Another enumeration."""
    return Plug(place, f"number {next(_NUMBERS)}", identity)


def flap(holdoff: HoldOff, every: float, times: int, start: float = 0.0, **about: str) -> float:
    """A device that is plugged so often. Returns when it was held off."""
    for number in range(times):
        now = start + number * every
        about_it = plug(**about)
        if holdoff.heard(about_it.place, now, plugged=True) > now:
            return now
        held = holdoff.plugged(about_it, now)
        holdoff.gone(about_it.place)
        if held is not None:
            return now
    return float("inf")


@pytest.mark.parametrize("every", [0.01, 0.3, 1, 2.9])
def test_a_device_that_flaps_is_held_off_at_its_place(every: float) -> None:
    assert flap(HoldOff(), every, 1000) == pytest.approx(MOST * every)


@pytest.mark.parametrize(("times", "every"), [(10, 1), (10, 3), (25, 1), (40, 0.1), (10_000, 3.01)])
def test_a_phone_that_is_flashed_and_who_plugs_by_hand_is_not(times: int, every: float) -> None:
    assert flap(HoldOff(), every, times, identity="R5C1") == float("inf")


def test_many_devices_at_places_of_their_own_are_not_held_off() -> None:
    holdoff = HoldOff()
    for number in range(10_000):
        about = plug(f"/sys/devices/virtual/vc/vcsa{number}", f"R5C{number}")
        assert holdoff.heard(about.place, 0, plugged=True) <= 0
        assert holdoff.plugged(about, 0) is None


def test_a_serial_that_changes_each_time_does_not_help() -> None:
    holdoff = HoldOff()
    for number in range(MOST):
        assert holdoff.plugged(plug(identity=f"S{number}"), number * 0.1) is None
    assert holdoff.plugged(plug(identity="another"), 5) is not None


def test_neither_do_many_ports() -> None:
    holdoff, told = HoldOff(), 0
    for number in range(1000):
        about = plug(f"{_PORT}.{number % 20}", "R5C1")
        if holdoff.heard(about.place, number * 0.1, plugged=True) <= number * 0.1:
            told += holdoff.plugged(about, number * 0.1) is None
        holdoff.gone(about.place)
    assert told <= MOST + 20 * 4


def test_devices_that_share_a_serial_are_counted_at_their_places_alone() -> None:
    holdoff = HoldOff()
    for turn in range(10):
        for number in range(20):
            assert holdoff.plugged(plug(f"{_PORT}.{number}", "0123456789ABCDEF"), turn * 3) is None
        for number in range(20):
            holdoff.gone(f"{_PORT}.{number}")


def test_who_flaps_with_anothers_serial_does_not_hold_that_one_off() -> None:
    holdoff = HoldOff()
    assert flap(holdoff, 0.1, 1000, identity="R5C1") == pytest.approx(4)
    assert holdoff.plugged(plug(f"{_PORT}.9", "R5C1"), 5) is None


def test_what_hangs_from_it_is_held_off_with_it_and_its_neighbours_are_not() -> None:
    holdoff = HoldOff()
    since = flap(holdoff, 0.1, 1000)
    for below in ("", "/1-4:1.0/ttyUSB0/tty/ttyUSB0", ".1", "/1-4.1"):
        held = below in ("", "/1-4:1.0/ttyUSB0/tty/ttyUSB0", "/1-4.1")
        assert (holdoff.heard(_PORT + below, since, plugged=False) > since) == held
    assert holdoff.heard(_PORT.replace("1-4", "1-5"), since, plugged=True) <= since


def test_a_calm_ends_it_and_each_plug_begins_the_calm_anew() -> None:
    holdoff = HoldOff()
    since = flap(holdoff, 0.1, 1000)
    assert [each.until - since for each in holdoff.holds(since)] == [CALM]
    assert holdoff.heard(_PORT, since + 9, plugged=True) == since + 9 + CALM
    assert holdoff.heard(_PORT, since + CALM, plugged=False) == since + 9 + CALM
    (hold,) = holdoff.holds(since + CALM)
    assert (hold.place, hold.count) == (_PORT, MOST + 2)
    assert holdoff.heard(_PORT, since + 9 + CALM, plugged=False) <= since + 9 + CALM
    assert holdoff.holds(since + 9 + CALM) == []


def test_after_the_calm_it_may_be_plugged_by_hand_and_flaps_less_often() -> None:
    holdoff = HoldOff()
    since = flap(holdoff, 0.1, 1000)
    assert flap(holdoff, 1, 8, since + CALM) == float("inf")
    since += CALM + 10
    for _ in range(6):
        start, since = since, flap(holdoff, 0.3, 1000, since)
        assert since - start <= MOST // 4 * 0.3 + 0.01
        since += CALM
    start = since + WINDOW
    assert flap(holdoff, 0.1, 1000, start) - start == pytest.approx(MOST * 0.1)


def test_what_is_read_again_of_one_enumeration_does_not_count() -> None:
    holdoff = HoldOff()
    about = plug()
    assert [holdoff.plugged(about, 0) for _ in range(1000)] == [None] * 1000


def test_what_cannot_be_attached_does_not_count() -> None:
    assert [HoldOff().plugged(Plug(_PORT, ""), 0) for _ in range(1000)] == [None] * 1000


def test_none_is_held_off_where_there_is_no_limit() -> None:
    assert flap(HoldOff(0), 0, 1000) == float("inf")


def test_names_that_are_made_up_do_not_fill_the_memory() -> None:
    holdoff = HoldOff()
    flap(holdoff, 0.01, 1000)
    for number in range(20_000):
        holdoff.plugged(plug(f"/sys/devices/virtual/input/input{number}", f"S{number}"), 1)
    assert len(holdoff._places) <= 4096
    assert len(holdoff._identities) <= 4096
    assert [each.place for each in holdoff.holds(1)] == [_PORT]


def test_the_window_is_long_enough_for_a_slow_flap() -> None:
    assert flap(HoldOff(), WINDOW / MOST - 0.01, 10 * MOST) < float("inf")


def test_a_usb_device_and_what_hangs_from_it_are_one_plug() -> None:
    tty = console(3)
    assert tty.usb is not None
    assert plug_of(tty).place == tty.usb.syspath == plug_of(tty.usb).place
    assert plug_of(tty).identity == plug_of(tty.usb).identity == "A5003"


def test_without_usb_each_device_is_its_own_place() -> None:
    assert plug_of(disk(1)) == Plug(disk(1).syspath, disk(1).slot)
    assert plug_of(disk(1)).token != plug_of(disk(1, born=2)).token
    assert plug_of(interface(1)).identity == "00:e0:4c:00:00:01"


def test_a_serial_of_one_character_is_none() -> None:
    assert plug_of(phone(1, "0000000000")).identity == ""
