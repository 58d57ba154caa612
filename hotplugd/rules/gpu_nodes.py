"""Whether rules tell the nodes of one GPU apart: its card from its render node. Pure.

A GPU goes into a container whole, by one entry, with all its nodes and one owner and mode for them. That is
what a rule means that takes all nodes of a GPU alike. Where any rule takes some of them alone, each goes in
by itself, as its own rule says.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from hotplugd.rules.keys import ATTR, KERNEL, PROPERTY, SUBSYSTEM
from hotplugd.rules.match import AnyOf, KeyTest, Match, Not

_DRM: Final = "drm"
# All nodes of a GPU have the same place.
_SAME: Final = f"{PROPERTY.name}.ID_PATH"


def tell_apart(matches: Iterable[Match]) -> bool:
    """Whether any of the matches may take some nodes of a GPU, and not the others."""
    return any(_may_take(match) and any(map(_is_of_a_node, _own_tests(match))) for match in matches)


def _may_take(match: Match) -> bool:
    subsystem = match.test_of(SUBSYSTEM)
    return subsystem is None or subsystem.matches(_DRM)


def _own_tests(match: Match) -> Iterator[KeyTest]:
    """The tests of the device itself: what is above one node of a GPU is above them all."""
    for test in match.tests:
        if isinstance(test, KeyTest):
            yield test
        elif isinstance(test, AnyOf):
            for branch in test.branches:
                if _may_take(branch):
                    yield from _own_tests(branch)
        elif isinstance(test, Not):
            yield from _own_tests(test.match)


def _is_of_a_node(test: KeyTest) -> bool:
    """Whether one node of a GPU may meet the test, and another not."""
    name = test.key.name
    return name == KERNEL.name or (
        name.startswith((f"{PROPERTY.name}.", f"{ATTR.name}.")) and not name.startswith(_SAME)
    )
