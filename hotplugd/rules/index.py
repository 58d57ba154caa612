"""Which rules can take a device at all, found without trying every rule.

A rule's anchor is a set of exact values of which every device that it matches must have one. Rules are
filed under the values of their most telling anchor; those without any are tried on every device.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import merge
from types import MappingProxyType
from typing import Final

from hotplugd.model.values import Device
from hotplugd.rules.keys import values
from hotplugd.rules.match import AnyOf, KeyTest, Match

_TELLING: Final = (
    "serial",
    "mac",
    "port",
    "path",
    "id",
    "kernel",
    "product_id",
    "vendor_id",
    "interface",
    "driver",
    "devtype",
    "subsystem",
)

Fact = tuple[str, str]
"""A key and one exact value of it."""


@dataclass(frozen=True, slots=True)
class Index:
    """Positions of matches by the facts that they are filed under."""

    filed: Mapping[Fact, tuple[int, ...]]
    always: tuple[int, ...]
    keys: tuple[str, ...]

    @classmethod
    def of(cls, matches: Sequence[Match]) -> Index:
        """The index of these matches, whose positions it speaks of."""
        filed: dict[Fact, list[int]] = {}
        always: list[int] = []
        for position, match in enumerate(matches):
            facts = anchor(match)
            if facts is None:
                always.append(position)
            else:
                for fact in facts:
                    filed.setdefault(fact, []).append(position)
        keys = {key for key, _ in filed}
        return cls(
            MappingProxyType({fact: tuple(found) for fact, found in filed.items()}),
            tuple(always),
            tuple(key for key in _TELLING if key in keys),
        )

    def candidates(self, device: Device) -> Iterator[int]:
        """The positions, in order, of all matches that the device might meet."""
        return self.filed_under((key, value) for key in self.keys for value in values(device, key))

    def filed_under(self, facts: Iterable[Fact]) -> Iterator[int]:
        """The positions, in order, of all matches that are filed under one of the facts or under none."""
        return merge(self.always, *(self.filed.get(fact, ()) for fact in facts))


def anchor(match: Match) -> frozenset[Fact] | None:
    """Facts of which every device that meets the match has at least one; None where nothing is certain."""
    best: frozenset[Fact] | None = None
    for test in match.tests:
        facts: frozenset[Fact] | None = None
        if isinstance(test, KeyTest) and test.is_exact and test.key in _TELLING:
            facts = frozenset((test.key, value) for value in test.exact)
        elif isinstance(test, AnyOf):
            facts = _of_branches(test)
        if facts is not None and (best is None or _vagueness(facts) < _vagueness(best)):
            best = facts
    return best


def _of_branches(test: AnyOf) -> frozenset[Fact] | None:
    found: set[Fact] = set()
    for branch in test.branches:
        facts = anchor(branch)
        if facts is None:
            return None
        found |= facts
    return frozenset(found)


def _vagueness(facts: frozenset[Fact]) -> int:
    return max(_TELLING.index(key) for key, _ in facts)
