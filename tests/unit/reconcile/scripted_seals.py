"""What the bench has sealed, and sees to it that what a request takes out is."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from hotplugd.model.problem import Problem
from hotplugd.model.values import Entry, Instance, InstanceName
from tests.support.virtual import later


@dataclass(slots=True)
class ScriptedSeals:
    """What was sealed.

    sealed    the names of entries whose nodes were, by instance, since they were put in
    held      of those that are to be replaced
    asked     what was to be sealed, each time
    takes     how long it takes, in seconds
    told      as problems
    missing   what was told to have gone unsealed, by instance, and `escaped` what has, by a restart while
              the server had the request
    files     the names of entries that the server keeps files of
    open      why a node that went is not sealed, by its entry's name
    done      called when it was done
    """

    sealed: dict[InstanceName, set[str]] = field(default_factory=dict)
    held: dict[InstanceName, set[str]] = field(default_factory=dict)
    asked: list[set[str]] = field(default_factory=list)
    had: dict[InstanceName, Instance | None] = field(default_factory=dict)
    restarts: list[InstanceName] = field(default_factory=list)
    takes: float = 0.0
    told: list[Problem] = field(default_factory=list)
    missing: dict[InstanceName, set[str]] = field(default_factory=dict)
    escaped: dict[InstanceName, set[str]] = field(default_factory=dict)
    open: dict[str, str] = field(default_factory=dict)
    files: Callable[[], Collection[str]] = lambda: ()
    done: Callable[[InstanceName], None] = lambda _: None

    def has(self, name: InstanceName, instance: Instance | None) -> None:
        self.had[name] = instance

    def restarted(self, name: InstanceName) -> None:
        self.restarts.append(name)

    async def seal(self, name: InstanceName, leaving: Iterable[Entry]) -> bool:
        names = {each.name for each in leaving}
        self.asked += [names] if names else []
        # What is made anew meanwhile is not sealed.
        sealed = self.sealed.setdefault(name, set())
        await later(self.takes)
        sealed |= names
        self.done(name)
        return bool(names) and not self.told

    async def hold(self, name: InstanceName, replaced: Iterable[Entry]) -> None:
        self.held[name] = held = set()
        await later(0)
        held |= {each.name for each in replaced}

    def missed(self, name: InstanceName, gone: Iterable[Entry]) -> None:
        self.missing.setdefault(name, set()).update(each.name for each in gone)

    async def seal_everywhere(self, name: str) -> None:
        raise NotImplementedError

    async def unsealed(self, names: Collection[str]) -> str:
        await later(0)
        return next((why for each, why in self.open.items() if each in names), "")

    async def kept(self, _: InstanceName, entries: Collection[str]) -> Collection[str]:
        await later(0)
        return set(entries) & {*self.files()}

    def problems(self) -> list[Problem]:
        return self.told

    def ended(self, name: InstanceName) -> None:
        """There are no nodes any more."""
        for each in (self.sealed, self.held, self.missing, self.escaped):
            each.pop(name, None)

    def made(self, name: InstanceName, entry: str) -> None:
        """The server has made a new node for this entry."""
        self.sealed.get(name, set()).discard(entry)

    def escape(self, name: InstanceName, going: AbstractSet[str]) -> None:
        """These go though the instance restarted: what is not sealed anew is to be told."""
        unsealed = going - self.sealed.get(name, set()) - self.held.get(name, set())
        self.escaped.setdefault(name, set()).update(unsealed)

    def see(self, instance: Instance, put: AbstractSet[str], remove: AbstractSet[str]) -> None:
        """What this takes out must have been sealed before, and what it replaces has to be held."""
        if instance.has_nodes:
            there = {
                name for name, each in instance.entries.items() if each.config["type"].startswith("unix-")
            }
            safe = self.sealed.get(instance.id, set()) | self.escaped.get(instance.id, set())
            assert there & remove <= safe
            assert there & put <= self.held.get(instance.id, set()) | safe
