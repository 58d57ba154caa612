"""The protocol of a kind of device, and what should be in an instance as one.

A kind is one of the ways in which a device goes into an instance: its node, a network interface, a GPU, a PCI
device. Each has one file beside this one, and one row in `KINDS`. Keys of entries are LXD's and Incus's
(doc/reference/devices).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Final

from hotplugd.model.values import Device, Entry, Inside, Instance, InstanceName
from hotplugd.plan.overrides import Override
from hotplugd.rules.keys import LOCATION
from hotplugd.rules.ruleset import Attach, Rule

EntrySelector = tuple[str, ...]
"""What an entry takes devices by, such as ("node", "/dev/ttyUSB0") or ("usb", "18d1", "", "", "", ""): its
kind, and the texts that must be the device's, where an empty one may be any."""

Facts = tuple[Sequence[str], ...] | None
"""The values that a device has for each of the texts of a selector; None where it is nothing of that kind."""

CONTAINERS: Final = frozenset({"container"})
MACHINES: Final = frozenset({"virtual-machine"})
BOTH: Final = CONTAINERS | MACHINES


@dataclass(frozen=True, slots=True)
class Reading:
    """How the server reads one type of entry, whoever wrote it.

    instances  the kinds of instance that it means something to
    selectors  what an entry with these keys takes devices by
    """

    instances: frozenset[str]
    selectors: Callable[[Mapping[str, str]], Iterator[EntrySelector]]


@dataclass(frozen=True, slots=True)
class Want:
    """One device that should be in one instance, and where and how.

    kind    what it goes in as
    target  where it is inside: its node's path, or a network interface's name; empty for what has neither
    links   the paths of symlinks inside that lead to its node
    slot    the id of the enumeration that its entry is for: the device's own, or a GPU's PCI device's, by
            which its card and its render node are one
    claim   the name of the claim by which the instance has a device of a pool; empty for others
    unit    what that device is known by in leases; empty also for what goes along with one
    override  what somebody decided by hand, where that and no rule puts it there
    """

    device: Device
    rule: Rule
    attach: Attach
    instance: InstanceName
    kind: Kind
    target: str
    slot: str
    links: tuple[str, ...] = ()
    override: Override | None = None
    claim: str = ""
    unit: str = ""

    @property
    def location(self) -> str:
        """The hub's port that the device is in where that has a name, else empty."""
        return self.rule.value(LOCATION, self.device)

    @property
    def is_alone(self) -> bool:
        """Whether one instance has the device alone: it is of a pool, or somebody attached it by hand."""
        return bool(self.attach.pool) or self.override is not None


class Kind(ABC):
    """One way in which devices go into instances. Without state, and pure.

    name        what rules call it, after `as:`
    doc         one line of the reference
    subsystems  whose devices go in as this where the rule does not say what they go in as; None: any
    single      only one instance can have such a device at a time
    shared      several may have it where the rule does not say so
    leaves      the kinds of instance for which the device leaves the host while one has it
    has_path    rules may say where its node is inside, by `path`
    has_links   it has a node that symlinks can lead to
    has_name    rules may say what it is called inside, by `name`
    owned       the kinds of instance for which its entry says who owns its nodes inside, and their mode
    has_parts   it takes several devices in as a whole, each of which could go in by itself
    readings    by type of entry, how the server reads those that give such devices
    facts       by kind of selector, the values that a device has for it
    """

    name: ClassVar[str]
    doc: ClassVar[str]
    subsystems: ClassVar[frozenset[str] | None] = frozenset()
    single: ClassVar[bool] = False
    shared: ClassVar[bool] = False
    leaves: ClassVar[frozenset[str]] = frozenset()
    has_path: ClassVar[bool] = False
    has_links: ClassVar[bool] = False
    has_name: ClassVar[bool] = False
    owned: ClassVar[frozenset[str]] = frozenset()
    has_parts: ClassVar[bool] = False
    readings: ClassVar[Mapping[str, Reading]] = MappingProxyType({})
    facts: ClassVar[Mapping[str, Callable[[Device], Facts]]] = MappingProxyType({})

    def takes(self, device: Device) -> bool:
        """Whether a device of its subsystems goes in as this where the rule does not say as what."""
        return True

    def serves(self, device: Device) -> bool:
        """Whether this is the kind that a rule means for the device by this kind's name."""
        return True

    @abstractmethod
    def fault(self, device: Device) -> str:
        """Why the device cannot go in as this; empty where it can."""

    def wrong(self, device: Device, attach: Attach, target: str, *, several: bool) -> str:
        """Why the device cannot go in as the rule says; empty where it can.

        several  whether the rule puts it into several instances
        """
        return (
            self.fault(device)
            or self._too_much(device, attach)
            or self.target_fault(device, attach, target)
            or (self.sharing_fault(device, attach) if several else "")
        )

    def _too_much(self, device: Device, attach: Attach) -> str:
        """What the rule says and such a device cannot have; empty where there is nothing."""
        if attach.path is not None and not self.has_path:
            return f"a {self.name} has no `path` inside; take it out of the rule"
        if attach.links and not self.has_links:
            return f"a {self.name} has no node that a `link` could lead to; take it out of the rule"
        if attach.name is not None and not self.has_name:
            return "`name` is for network interfaces; take it out of the rule"
        if attach.udev and device.devnum is None:
            return f"`udev` is for devices with a node, and a {self.name} has none; take it out of the rule"
        return ""

    def slot(self, device: Device) -> str:
        """The id of the enumeration that its entry is for."""
        return device.slot

    def target(self, device: Device, attach: Attach, path: str) -> str:
        """Where it is inside; empty for what has no place.

        path  the rule's `path` for this device; empty where it has none
        """
        return ""

    def links(self, device: Device, attach: Attach) -> tuple[str, ...]:
        """Links to it inside that no rule has to ask for."""
        return ()

    def target_fault(self, device: Device, attach: Attach, target: str) -> str:
        """Why it cannot be there; empty where it can."""
        return ""

    def sharing_fault(self, device: Device, attach: Attach) -> str:
        """Why it cannot be in several instances at once; empty where it can."""
        if self.single:
            return f"a {self.name} can be in one instance at a time, and `to` names several"
        if attach.share is False:
            return "`to` names several instances, and the rule says `share: false`"
        return ""

    @abstractmethod
    def barred(self, want: Want, instance: Instance, actual: Entry | None) -> str:
        """Why it cannot be in such an instance, or not now; empty where it can.

        actual  the entry of it that is there
        """

    def fixed(self, instance: Instance) -> str:
        """Why no entry of it can be changed in such an instance, or taken out, now; empty where it can."""
        return ""

    @abstractmethod
    def body(self, want: Want, instance: Instance, actual: Entry | None) -> dict[str, str]:
        """The keys of its entry, and marks that only some kinds have. Owner and mode are added to these."""

    def observed(self, want: Want, inside: Inside) -> str | None:
        """What is at its target instead of it, by what was seen inside; empty where it is there.

        None where it was not looked for.
        """
        return None

    def is_veiled(self, want: Want, inside: Inside) -> bool:
        """Whether it was looked for, and what is at its target was not to be seen."""
        return False
