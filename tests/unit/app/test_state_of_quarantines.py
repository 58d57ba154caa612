"""Quarantines in the state file."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hotplugd.app.state_of_leases import leases, leases_json
from hotplugd.pools.away_leases import KeptLeases
from hotplugd.pools.flaps import Quarantine

ONE = Quarantine("serial:A", "android", "shelf-1/4", 6, 60.0, "2026-11-27T12:00:00+00:00", 120.0)


def test_what_is_written_is_read() -> None:
    kept = KeptLeases(quarantines=(ONE, replace(ONE, key="serial:B")))
    assert leases(leases_json(kept)) == kept


def test_a_file_of_before_has_none() -> None:
    written = leases_json(KeptLeases())
    del written["quarantines"]
    assert leases(written) == KeptLeases()


def test_an_unreadable_record_does_not_stop_the_others() -> None:
    hostile = replace(ONE, place="\x1b[2J")
    assert leases(leases_json(KeptLeases(quarantines=(hostile, ONE)))) == KeptLeases(quarantines=(ONE,))


@pytest.mark.parametrize(
    "changed", [{"quiet": 1e9}, {"quiet": 0}, {"quiet": -1}, {"key": ""}, {"count": "6"}, {"more": 1}]
)
def test_an_edited_one_is_refused(changed: dict[str, object]) -> None:
    written = leases_json(KeptLeases(quarantines=(ONE,)))
    (one,) = written["quarantines"]  # type: ignore[misc]
    one.update(changed)  # type: ignore[has-type]
    with pytest.raises(ValueError, match="expected"):
        leases(written)
