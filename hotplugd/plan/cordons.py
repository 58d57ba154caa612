"""What people have cordoned: a device is given to nobody, and an instance gets nothing more. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from hotplugd.model.asker import Asker
from hotplugd.model.values import Device, InstanceName
from hotplugd.rules.keys import LOCATION, MatchKey
from hotplugd.rules.pattern import Pattern

MOST_CORDONS: Final = 1_000

CordonKind = Literal["device", "location", "instance"]


@dataclass(frozen=True, slots=True)
class Cordon:
    """What is out of use.

    kind    what `name` is: what a device is known by in leases, a pattern of locations, or an instance
    name    of an instance: its project, a slash, and its name
    reason  why, in the words of whoever asked; may be empty
    since   ISO 8601
    by      who asked
    """

    kind: CordonKind
    name: str
    reason: str
    since: str
    by: Asker

    def __str__(self) -> str:
        what = f"cordoned with {self.name}" if self.kind == "location" else "cordoned"
        return f"{what} by {self.by}" + (f": {self.reason}" if self.reason else "")


class Cordons:
    """All that is out of use, one of a kind and name."""

    def __init__(self, cordons: Iterable[Cordon] = ()) -> None:
        self._by_name = {(each.kind, each.name): each for each in cordons}
        self._locations = [
            (Pattern.of(each.name), each) for each in self._by_name.values() if each.kind == "location"
        ]

    def __iter__(self) -> Iterator[Cordon]:
        return iter(self._by_name.values())

    def __len__(self) -> int:
        return len(self._by_name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Cordons) and self._by_name == other._by_name

    __hash__ = None  # type: ignore[assignment]  # as of a dict

    def get(self, kind: CordonKind, name: str) -> Cordon | None:
        """The cordon of exactly this, if there is one."""
        return self._by_name.get((kind, name))

    def with_one(self, cordon: Cordon) -> Cordons:
        """These and one more, in place of one of the same."""
        return Cordons([*(self.without(cordon)), cordon])

    def without(self, cordon: Cordon) -> Cordons:
        """The cordons without the one of the same device, location or instance."""
        return Cordons(each for each in self if (each.kind, each.name) != (cordon.kind, cordon.name))

    def of_device(self, key: str, device: Device, keys: Sequence[MatchKey]) -> Cordon | None:
        """Why a device is given to nobody. key: what it is known by in leases; keys: those of the rules."""
        own = self.get("device", key)
        if own is not None or not self._locations:
            return own
        values = next(each for each in keys if each.name == LOCATION.name).values(device)
        return next(
            (cordon for pattern, cordon in self._locations if any(map(pattern.matches, values))), None
        )

    def of_instance(self, name: InstanceName) -> Cordon | None:
        """Why an instance gets nothing."""
        return self.get("instance", f"{name.project}/{name.name}")


NO_CORDONS: Final = Cordons()
