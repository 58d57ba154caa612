"""Who may ask the daemon for what: root for everything, groups for what the configuration allows them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Literal, get_args

from hotplugd.app.peer import Peer
from hotplugd.model.values import InstanceName
from hotplugd.rules.pattern import Pattern
from hotplugd.rules.pools import Pool

Verb = Literal["read", "attach", "detach", "undo", "reload", "lease", "cordon", "reset", "port", "hooks"]
VERBS: Final[tuple[Verb, ...]] = get_args(Verb)
_EVERY: Final = "*"
# Groups that the package makes: one without members, and that of the user who runs `hotplugd hooks`.
_GROUP: Final = "hotplugd"
_OF_HOOKS: Final = "hotplugd-hooks"


@dataclass(frozen=True, slots=True)
class Allowed:
    """An item of `allow` in config.yaml.

    group      a group's name or number
    may        what its members may ask for
    instances  patterns of the names of the instances for which they may ask that, in this project
    pools      of which pools the devices are for which they may ask that; empty: all devices, of pools or not
    """

    group: str
    may: tuple[Verb, ...]
    instances: tuple[Pattern, ...] = (Pattern.of(_EVERY),)
    project: str = "default"
    pools: frozenset[str] = frozenset()

    def admits(self, instance: InstanceName) -> bool:
        """Whether this is one of the instances."""
        return instance.project == self.project and any(
            pattern.matches(instance.name) for pattern in self.instances
        )

    def is_about(self, pools: Collection[str]) -> bool:
        """Whether this may be asked for of devices of all these pools; none: of what is of no pool."""
        return not self.pools or (bool(pools) and self.pools.issuperset(pools))


DEFAULT_ALLOW: Final = (Allowed(_GROUP, ("read",)), Allowed(_OF_HOOKS, ("read", "hooks")))
"""Who may ask where the configuration has no `allow`: for nothing that changes devices or settings."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What one who asks may. all: everything"""

    allowed: tuple[Allowed, ...] = ()
    all: bool = False

    def may(self, verb: Verb) -> bool:
        """Whether this may be asked for, of some instance at least."""
        return self.all or any(verb in each.may for each in self.allowed)

    def may_with(self, verb: Verb, instances: Collection[InstanceName]) -> bool:
        """Whether this may be asked for of all these instances; of none: as `may`."""
        return self.may(verb) and (
            self.all
            or all(any(verb in it.may and it.admits(each) for it in self.allowed) for each in instances)
        )

    def about(self, pools: Collection[str]) -> Grant:
        """What may be asked for of devices of all these pools; none: of what is of no pool."""
        return self if self.all else Grant(tuple(each for each in self.allowed if each.is_about(pools)))

    def covers(self, verb: Verb, pool: Pool) -> bool:
        """Whether this may certainly be asked for of the pool's devices, and all instances that it admits."""
        patterns = [
            pattern
            for each in self.allowed
            if verb in each.may and each.project == pool.project and each.is_about((pool.name,))
            for pattern in each.instances
        ]
        return self.all or all(any(own.covers(other) for own in patterns) for other in pool.instances)


ROOT: Final = Grant(all=True)


def not_for(told: str, instance: InstanceName, verb: Verb) -> str:
    """What is said to one who may not ask for what concerns this instance, too. told: what it is"""
    return (
        f"{told} also concerns {instance}, for which you may not {verb}; root may, and groups that `allow` "
        f"in the configuration names for {instance}"
    )


def not_for_pools(told: str, pools: Collection[str], verb: Verb) -> str:
    """What is said to one who may ask that for the instances, and not for devices of these pools."""
    of = f"of pool {', '.join(sorted(pools))}" if pools else "of no pool alone"
    return (
        f"{told} is {of}, for which you may not {verb}; root may, and groups whose `allow` in the "
        f"configuration has no `pools`" + (", or has it there" if pools else "")
    )


def not_for_all(told: str, of: str, verb: Verb) -> str:
    """The same where it may concern each of some instances. of: which these are"""
    return f"you may not {verb} {told}: that needs `{verb}` in `allow` for every instance that {of}"


@dataclass(frozen=True, slots=True)
class Grants:
    """What groups may, each with its number.

    by_default  nobody wrote it down: where they cannot be let in, the daemon does without them
    """

    by_group: tuple[tuple[int, Allowed], ...] = ()
    by_default: bool = False

    def of(self, peer: Peer) -> Grant:
        """What this one may ask for."""
        if peer.is_root:
            return ROOT
        return Grant(tuple(allowed for gid, allowed in self.by_group if gid in peer.gids))

    @property
    def gids(self) -> frozenset[int]:
        """The groups that may ask for something."""
        return frozenset(gid for gid, _ in self.by_group)


NO_GRANTS: Final = Grants()
