"""Finds the rules that can match a device without trying every rule.

An anchor of a match is a set of exact values of which every device that meets the match has one. The index
files a match under the anchor whose keys have the lowest ranks; a match without an anchor is a candidate for
every device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import merge
from types import MappingProxyType

from hotplugd.model.values import Device
from hotplugd.rules.keys import MatchKey
from hotplugd.rules.match import AnyOf, KeyTest, Match, Test

Fact = tuple[str, str]
"""The name of a key, and one exact value of it."""

Anchor = tuple[int, frozenset[Fact]]
"""The highest rank of the keys, and facts of which every device that meets the match has at least one."""


@dataclass(frozen=True, slots=True)
class Index:
    """Positions of matches by the facts that they are filed under.

    always  the positions of matches without an anchor
    keys    the keys that any match is filed under, those of the lowest rank first
    """

    filed: Mapping[Fact, tuple[int, ...]]
    always: tuple[int, ...]
    keys: tuple[MatchKey, ...]

    @classmethod
    def of(
        cls, matches: Sequence[Match | None], usable: Callable[[MatchKey], bool] = lambda _: True
    ) -> Index:
        """The index of these matches; a position is the one in `matches`.

        usable  whether matches may be filed under a key. None of the matches is one that any device may meet
        """
        filed: dict[Fact, list[int]] = {}
        always: list[int] = []
        for position, match in enumerate(matches):
            best = anchor(match, usable) if match is not None else None
            if best is None:
                always.append(position)
            else:
                for fact in best[1]:
                    filed.setdefault(fact, []).append(position)
        names = {name for name, _ in filed}
        ranks = {
            test.key.name: (test.key.rank, test.key)
            for match in matches
            if match is not None
            for test in match.key_tests()
            if test.key.rank is not None and test.key.name in names
        }
        keys = (key for _, key in sorted(ranks.values(), key=lambda ranked: ranked[0]))
        return cls(
            MappingProxyType({fact: tuple(positions) for fact, positions in filed.items()}),
            tuple(always),
            tuple(keys),
        )

    def candidates(self, device: Device) -> Iterator[int]:
        """The positions, in order, of all matches that the device might meet."""
        return self.filed_under((key.name, value) for key in self.keys for value in key.values(device))

    def filed_under(self, facts: Iterable[Fact]) -> Iterator[int]:
        """The positions, in order, of all matches that are filed under one of the facts or under none."""
        return merge(self.always, *(self.filed.get(fact, ()) for fact in facts))


def anchor(match: Match, usable: Callable[[MatchKey], bool]) -> Anchor | None:
    """The anchor of the lowest rank; None where no exact value of a usable key is certain."""
    anchors = [_of_test(test, usable) for test in match.tests]
    return min((one for one in anchors if one is not None), key=lambda one: one[0], default=None)


def _of_test(test: Test, usable: Callable[[MatchKey], bool]) -> Anchor | None:
    if isinstance(test, KeyTest) and test.is_exact and test.key.rank is not None and usable(test.key):
        return test.key.rank, frozenset((test.key.name, value) for value in test.exact)
    if not isinstance(test, AnyOf):
        return None
    ranks, facts = set(), set[Fact]()
    for branch in test.branches:
        best = anchor(branch, usable)
        if best is None:
            return None
        ranks.add(best[0])
        facts |= best[1]
    return max(ranks), frozenset(facts)
