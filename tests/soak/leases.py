"""Leases in a soak: what instances claim of one pool, and what must be so of the leases at a quiet point.

Shares nothing with hotplugd's allocation. In which order claims are served, and which device each gets, is
left open here: tests/farm has a model that is stricter, for fewer devices.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Final

from hotplugd.model.claim_texts import CLAIM

POOL: Final = "spare"
KEY: Final = f"{CLAIM}phone"
# By how many devices an instance asks for.
TEXTS: Final = ("none", POOL, f"{POOL} count=2")


def see_leases(leases: Mapping[str, str], running: Mapping[str, int], there: Collection[str]) -> None:
    """See that the leases are right. Raises AssertionError.

    leases   the instance of each device that is leased, plugged in or not
    running  the instances that run, and how many devices each asks for
    there    the devices that are plugged in
    """
    has = Counter(leases.values())
    for name, count in has.items():
        assert count <= running.get(name, 0), (
            f"{name} has {count} leases, and asks for {running.get(name, 0)}"
        )
    free = set(there) - leases.keys()
    lacks = {name: count - has[name] for name, count in running.items() if count > has[name]}
    # Whoever lacks several may have one kept that is not enough alone.
    idle = bool(lacks) and max(lacks.values()) <= len(free)
    assert not idle, f"{sorted(free)} are leased to nobody, and {lacks} wait"
