"""What people have cordoned: a device is given to nobody, and an instance gets nothing more. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

from hotplugd.model.asker import Asker
from hotplugd.model.values import Device, InstanceName
from hotplugd.pools.unit_key import key_before
from hotplugd.rules.keys import LOCATION, MatchKey
from hotplugd.rules.pattern import Pattern

MOST_CORDONS: Final = 1_000

CordonKind = Literal["device", "location", "instance", "pool"]
_NOTHING: Final[Mapping[tuple[CordonKind, str], Cordon]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Cordon:
    """What is out of use.

    kind    what `name` is: what a device is known by in leases, a pattern of locations, an instance, or a
            pool, all of whose devices are meant
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
        with_what = {"location": f" with {self.name}", "pool": f" with pool {self.name}"}
        what = f"cordoned{with_what.get(self.kind, '')}"
        return f"{what} by {self.by}" + (f": {self.reason}" if self.reason else "")


@dataclass(frozen=True, slots=True)
class Cordons:
    """All that is out of use, by kind and name. locations: the patterns of those that are about locations"""

    by_name: Mapping[tuple[CordonKind, str], Cordon] = field(default_factory=lambda: _NOTHING)
    locations: Sequence[tuple[Pattern, Cordon]] = field(default=(), compare=False, repr=False)

    @classmethod
    def made_of(cls, cordons: Iterable[Cordon]) -> Cordons:
        """These; of several of one kind and name the last."""
        by_name = {(each.kind, each.name): each for each in cordons}
        locations = [(Pattern.of(each.name), each) for each in by_name.values() if each.kind == "location"]
        return cls(by_name, locations)

    def __iter__(self) -> Iterator[Cordon]:
        return iter(self.by_name.values())

    def __len__(self) -> int:
        return len(self.by_name)

    def get(self, kind: CordonKind, name: str) -> Cordon | None:
        """The cordon of exactly this, if there is one."""
        return self.by_name.get((kind, name))

    def with_one(self, cordon: Cordon) -> Cordons:
        """These and one more, in place of one of the same."""
        return Cordons.made_of([*self.without(cordon), cordon])

    def without(self, cordon: Cordon) -> Cordons:
        """The cordons without the one of the same device, location or instance."""
        return Cordons.made_of(each for each in self if (each.kind, each.name) != (cordon.kind, cordon.name))

    def of_device(self, key: str, pool: str, device: Device, keys: Sequence[MatchKey]) -> Cordon | None:
        """Why a device of a pool is given to nobody. key: what it is known by in leases; keys: those of the
        rules.
        """
        own = self.get("device", key) or self.get("device", key_before(key, device)) or self.get("pool", pool)
        if own is not None or not self.locations:
            return own
        values = next(each for each in keys if each.name == LOCATION.name).values(device)
        return next((cordon for pattern, cordon in self.locations if any(map(pattern.matches, values))), None)

    def of_instance(self, name: InstanceName) -> Cordon | None:
        """Why an instance gets nothing."""
        return self.get("instance", f"{name.project}/{name.name}")


NO_CORDONS: Final = Cordons()
