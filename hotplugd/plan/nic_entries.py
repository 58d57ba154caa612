"""Entries of network interfaces that are under another slot than their own, or whose hardware is gone. Pure.

An interface leaves the host while an instance has it, so its entry outlives what the host knows of it.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import replace

from hotplugd.model import entry as entries
from hotplugd.model import nic_slot
from hotplugd.model.text import quoted
from hotplugd.model.values import Entry, Instance, InstanceName
from hotplugd.plan.identity import identity, shared_identity
from hotplugd.plan.kinds.kind import Want


class NicEntries:
    """The network interfaces' entries of ours in one instance.

    ours         all entries of ours, by name
    entries      those of network interfaces
    nics_inside  the network interfaces that are in it: their entries' names by slot
    """

    def __init__(self, instance: Instance, ours: Mapping[str, Entry], nics_inside: Mapping[str, str]) -> None:
        self._instance = instance
        self._ours = ours
        self._nics_inside = nics_inside
        # By the name on the host, which several interfaces had, one after the other.
        self._by_parent: dict[str, list[Entry]] = {}
        self.entries = [*filter(nic_slot.is_nic, ours.values())]
        for entry in self.entries:
            self._by_parent.setdefault(entry.config.get("parent", ""), []).append(entry)

    def adopt(self, want: Want) -> Want:
        """The want with its entry's slot, where an entry under another slot stands for the device.

        want  of what leaves the host for the instance
        """
        if entries.name_for(want.slot) in self._ours:
            return want
        actual = self._ours.get(self._nics_inside.get(want.slot, "")) or next(
            (
                entry
                for entry in self._by_parent.get(want.device.kernel, ())
                if nic_slot.stands_for(entry, want.device, self._instance)
            ),
            None,
        )
        if actual is None or not nic_slot.is_named_rightly(actual):
            return want
        return replace(want, slot=entries.slot_of(actual))

    def dead(self, present: Container[str], wanted: Iterable[Want]) -> Iterator[Entry]:
        """The entries of interfaces whose hardware went while they were inside, where they have to stay.

        The server cannot remove such an entry, and a failed removal loses what a later one needs (LXD:
        device/nic_physical.go, postStop looks for the interface on the host under its old name).

        present  the slots of all devices that exist
        """
        if not self._instance.running:
            return
        mark = entries.mark_for(self._instance.id)
        here = {want.device.kernel: want for want in wanted if want.kind.leaves and not want.device.away}
        inside = set(self._nics_inside.values())
        for entry in self.entries:
            lives = entry.name in inside or entries.slot_of(entry) in present
            if lives or entry.config.get(entries.MARK_INSTANCE) != mark:
                continue
            if entry.config.get(entries.MARK_MEMBER, "") != self._instance.location:
                continue
            again = here.get(entry.config.get("parent", ""))
            if again is None or not _is_again(entry, again):
                yield entry


def told_of_dead(entry: Entry, instance: Instance) -> str:
    """What to do about such an entry."""
    who, parent = instance.id, quoted(entry.config.get("parent", ""))
    return (
        f"its hardware went while it was in {who}, and the server can take its entry out only once it is "
        f"back as {parent}, or while {who} is stopped: plug it in again, or stop {who} until the entry "
        f"is gone"
    )


def told_of_stuck(entry: Entry, who: InstanceName, said: str) -> str:
    """What to do about an interface that its server cannot take out. said: the server's words."""
    name = quoted(entries.target_of(entry) or entry.config.get("parent", ""))
    return (
        f"interface {name} is gone from {who}: it was renamed inside, or its hardware went; stop {who} by "
        f"force (`stop -f`), then start it ({said})"
    )


def _is_again(entry: Entry, want: Want) -> bool:
    """Whether this is the interface that the entry was for, plugged in again under the same name.

    The server would give another interface of that name the address of the one that is gone (measured).
    An earlier version did not tell the interfaces of one device apart.
    """
    return entry.config.get(entries.MARK_DEVICE) in (identity(want.device), shared_identity(want.device))
