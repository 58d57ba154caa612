"""Which devices of pools are quarantined for coming and going, and until when."""

from __future__ import annotations

from itertools import count

import pytest

from hotplugd.pools.flaps import MOST, MOST_QUIET, Flaps
from hotplugd.rules.pool_health import Flap

FLAP = Flap(5, 60.0)
TOKENS = count()


def plug(
    flaps: Flaps, now: float, key: str = "serial:A", flap: Flap = FLAP, place: str = "shelf-1/4"
) -> bool:
    return flaps.plugged(key, "android", flap, str(next(TOKENS)), place, now, f"at {now}")


def quarantined(flaps: Flaps, now: float) -> None:
    assert [plug(flaps, now + each) for each in range(6)] == [False] * 5 + [True]


def test_more_plugs_than_the_pool_allows_quarantine_a_device() -> None:
    flaps = Flaps()
    quarantined(flaps, 100.0)
    (found,) = flaps
    assert (found.key, found.pool, found.place, found.count, found.since, found.quiet) == (
        "serial:A", "android", "shelf-1/4", 6, "at 105.0", 60.0,
    )  # fmt: skip
    assert found.reason.startswith("it came and went 6 times within 60 s at shelf-1/4: a bad cable")


def test_the_same_enumeration_counts_once() -> None:
    flaps = Flaps()
    assert not any(flaps.plugged("serial:A", "p", FLAP, "1", "", now, "") for now in range(50))


def test_plugs_that_are_longer_ago_do_not_count() -> None:
    flaps = Flaps()
    assert not any(plug(flaps, 12.1 * each) for each in range(50))


def test_another_device_is_not_counted_along() -> None:
    flaps = Flaps()
    quarantined(flaps, 0.0)
    assert not plug(flaps, 6.0, "serial:B")
    assert flaps.of("serial:B") is None


def test_each_plug_starts_the_quiet_time_of_a_quarantine_anew() -> None:
    flaps = Flaps()
    quarantined(flaps, 0.0)
    assert flaps.due() == 65.0
    plug(flaps, 50.0, place="shelf-1/5")
    assert flaps.due() == 110.0
    assert flaps.calm(109.0) == []
    (over,) = flaps.calm(110.0)
    # The port that it came and went at is what somebody has to look at.
    assert (over.key, over.place) == ("serial:A", "shelf-1/4")
    assert (flaps.due(), flaps.of("serial:A")) == (None, None)


def test_the_quiet_time_doubles_up_to_an_hour() -> None:
    flaps, now, quiet = Flaps(), 0.0, []
    for _ in range(9):
        quarantined(flaps, now)
        (found,) = flaps
        quiet.append(found.quiet)
        now += 5 + found.quiet
        assert flaps.calm(now)
        now += 1
    assert quiet == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]
    quarantined(flaps, now + MOST_QUIET + 1)
    assert [each.quiet for each in flaps] == [60.0]


def test_a_pool_that_counts_for_longer_has_a_longer_quiet_time() -> None:
    flaps = Flaps()
    assert plug(flaps, 0.0, flap=Flap(1, 300.0)) is False
    assert plug(flaps, 299.0, flap=Flap(1, 300.0)) is True
    assert flaps.due() == 599.0


def test_whoever_lifts_a_quarantine_ends_it_at_once_and_for_good() -> None:
    flaps = Flaps()
    quarantined(flaps, 0.0)
    assert flaps.lift("serial:A") is not None
    assert flaps.lift("serial:A") is None
    assert [*flaps] == []
    quarantined(flaps, 7.0)
    assert [each.quiet for each in flaps] == [60.0]


def test_a_restored_quarantine_starts_its_quiet_time_anew() -> None:
    before, flaps = Flaps(), Flaps()
    quarantined(before, 0.0)
    flaps.restore(before, 1000.0)
    flaps.restore(before, 2000.0)
    assert [*flaps] == [*before]
    assert flaps.due() == 1060.0


@pytest.mark.parametrize("flap", [FLAP, Flap(1, 60.0)])
def test_serial_numbers_without_end_are_bounded(flap: Flap) -> None:
    flaps = Flaps()
    for each in range(3 * MOST):
        for _ in range(2):
            plug(flaps, 0.0, f"serial:{each}", flap)
    assert len([*flaps]) <= MOST
    # One that is counted is not forgotten for those that came once.
    assert flaps.of("serial:0") is None or flap.count == 1
