"""The values that everything else speaks of. Frozen, without I/O.

A `Device` is a snapshot that the udev adapter took, an `Instance` one that the LXD adapter took,
`Inside` is what was seen inside a running container. What is made of them is in `plan`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import ClassVar, Final, Literal, TypeAlias

from hotplugd.model.server_traits import NO_TRAITS, ServerTraits
from hotplugd.model.text import natural

NodeType = Literal["char", "block"]

CANNOT_TELL: Final = "it cannot be told whether the host uses it"

_NOTHING: Mapping[str, str] = MappingProxyType({})

# Python 3.12 keeps for ever what was interned: whoever invents texts would fill the memory with them.
kept_once: Final = sys.intern if sys.version_info[:2] != (3, 12) else str
"""Returns one object for equal texts, for as long as one is in use."""

# As many as there are kinds of devices; one that invents names does not fill the memory with them.
_MOST_KINDS: Final = 1024


# Properties whose values differ for each device: their texts are not shared.
_OWN: Final = frozenset(
    {
        "DEVNAME", "DEVPATH", "DEVLINKS", "DEVNUM", "MINOR", "SEQNUM", "USEC_INITIALIZED", "HOTPLUGD_SLOT",
        "ID_PATH", "ID_PATH_TAG", "ID_SERIAL", "ID_SERIAL_SHORT", "ID_NET_NAME_MAC", "serial", "address",
    }
)  # fmt: skip


class Texts(Mapping[str, str]):
    """Texts by name, kept small: names, and texts that many such have, are kept once."""

    __slots__ = ("_places", "_texts")

    _KNOWN: ClassVar[dict[tuple[str, ...], dict[str, int]]] = {}

    def __init__(self, texts: Mapping[str, str]) -> None:
        # By way of a list: `tuple` of an iterator takes a longer one and cuts it, so that it never uses again
        # the 2,000 of each length that CPython keeps (Objects/tupleobject.c), 170 bytes each.
        names = (*map(kept_once, texts),)
        if names not in self._KNOWN:
            if len(self._KNOWN) >= _MOST_KINDS:
                self._KNOWN.clear()
            self._KNOWN[names] = {name: place for place, name in enumerate(names)}
        self._places = self._KNOWN[names]
        self._texts = (*(text if name in _OWN else kept_once(text) for name, text in texts.items()),)

    def __getitem__(self, name: str) -> str:
        return self._texts[self._places[name]]

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Texts) and other._places is self._places:
            return self._texts == other._texts
        return dict(self) == other if isinstance(other, dict) else super().__eq__(other)

    __hash__ = None  # type: ignore[assignment]  # as of a dict

    def __repr__(self) -> str:
        return repr(dict(self))


@dataclass(frozen=True, slots=True)
class Devnum:
    """What the kernel knows a node by: char or block, major and minor number."""

    kind: NodeType
    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.kind} {self.major}:{self.minor}"


@dataclass(frozen=True, slots=True)
class Descriptors:
    """What a USB device's descriptors say.

    interfaces  `class:subclass:protocol` in hex, in all configurations and alternate settings, each once
    fault       why there may be others that nobody sees, or empty
    """

    interfaces: tuple[str, ...] = ()
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Device:
    """A udev device as it was when udevd announced it.

    syspath     absolute, below /sys/devices
    kernel      the kernel's name: `1-4.2`, `ttyUSB0` (udev: KERNEL)
    node        the device node on the host, or empty
    devnum      its number, or None where there is no node
    properties  udev's properties; names are udev's
    attrs       the sysfs attributes that somebody asked for, whitespace stripped at the end
    parent      the next device up in sysfs, with a subsystem
    slot        an id that no other enumeration of this or another device ever had; empty where nothing
                can be attached
    in_use      why the host needs this device itself ("mounted on /srv"), or empty; begins with CANNOT_TELL
                where nobody knows
    stays       why it cannot leave the host, or empty: of network interfaces without a slot
    away        it is not on the host, since it is in an instance: network interfaces move
    descriptors of a USB device; None of others, and where the kernel does not show them
    early       udevd has not processed it: what it is like is what the kernel says, and no more
    """

    syspath: str
    subsystem: str
    kernel: str
    devtype: str = ""
    driver: str = ""
    node: str = ""
    devnum: Devnum | None = None
    properties: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    attrs: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    parent: Device | None = None
    slot: str = ""
    in_use: str = ""
    stays: str = ""
    away: bool = False
    descriptors: Descriptors | None = None
    early: bool = False

    def __hash__(self) -> int:
        return hash(self.syspath)

    @property
    def key(self) -> str:
        """What it is known by among all devices: another may be at its syspath while it is away."""
        return self.slot if self.away else self.syspath

    def __str__(self) -> str:
        return self.node or (self.kernel if self.subsystem in ("net", "pci") else self.syspath)

    def ancestors(self) -> Iterator[Device]:
        """The devices above this one, the nearest first."""
        above = self.parent
        while above is not None:
            yield above
            above = above.parent

    @property
    def is_usb_device(self) -> bool:
        """Whether it is a USB device itself, and not an interface or something above it."""
        return self.subsystem == "usb" and self.devtype == "usb_device"

    @property
    def may_leave(self) -> bool:
        """Whether it can leave the host for an instance: a network interface, and what is made of a PCI
        device.
        """
        return self.subsystem == "net" or self.pci is not None

    @property
    def pci(self) -> Device | None:
        """The PCI device that this one is, or is a function of; none where a USB bus is between."""
        if self.subsystem == "pci":
            return self
        if self.usb is not None:
            return None
        return next((above for above in self.ancestors() if above.subsystem == "pci"), None)

    @property
    def usb(self) -> Device | None:
        """The USB device that this one is or hangs from."""
        if self.is_usb_device:
            return self
        return next((above for above in self.ancestors() if above.is_usb_device), None)


@dataclass(frozen=True, slots=True)
class UsbInterface:
    """An interface of a USB device: where it is in sysfs, the host's driver that has it, and the driver's
    module; empty where there is none.
    """

    syspath: str
    driver: str = ""
    module: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One device entry in an instance's own configuration: its name and its keys, as the server has them."""

    name: str
    config: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Link:
    """A link inside an instance that we made, or are about to make.

    target  where the node is inside, to which it leads
    entry   the name of the node's entry
    """

    target: str
    entry: str


@dataclass(frozen=True, slots=True, order=True)
class InstanceName:
    """Which instance, on the server that we are connected to."""

    project: str
    name: str

    @property
    def order(self) -> tuple[object, ...]:
        """A key to sort by as people count: by project, and `c2` before `c10`."""
        return natural(self.project), natural(self.name)

    def __str__(self) -> str:
        return self.name if self.project == "default" else f"{self.project}/{self.name}"


Stop: TypeAlias = Literal["asked", "own"]
"""What a server tells of a stop: that somebody asked it for it, or that the init ended by itself."""


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance as the server lists it.

    running   its init exists (a frozen instance runs too)
    restarts  it does not run, and may be in the middle of a restart
    started   when it was started at last, in its server's words; empty where it never was
    made      its server has finished making it, and says so
    entries   its own device entries by name, ours and others'
    inherited the device entries that its profiles give it, less those that its own replace
    here      whether it is on the cluster member whose devices we look after
    server    what its server does that not every server does
    location  the cluster member that it is on; empty without a cluster
    claims    what it claims of pools, by the claims' names, as its own configuration or a profile's says it
    created   when it was made, as the server says it: texts that sort like the times; or empty
    leases    what its own configuration says that it has of pools: a view for others, and no record
    known     whether its server could say how it is: it cannot where the member is away
    """

    id: InstanceName
    kind: Literal["container", "virtual-machine"] = "container"
    running: bool = False
    restarts: bool = False
    started: str = ""
    made: bool = True
    description: str = ""
    entries: Mapping[str, Entry] = field(default_factory=dict)
    inherited: Mapping[str, Entry] = field(default_factory=dict)
    here: bool = True
    server: ServerTraits = NO_TRAITS
    location: str = ""
    known: bool = True
    claims: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    created: str = ""
    leases: str = ""

    @property
    def has_nodes(self) -> bool:
        """Whether there are nodes inside that the server here has put there."""
        return self.running and self.kind == "container" and self.here and self.known

    @property
    def untold(self) -> bool:
        """Whether its server cannot tell how it is, though no member of a cluster is away: it is busy."""
        return not (self.known or self.location)

    def has_other_nodes(self, before: Instance, names: Iterable[str]) -> bool:
        """Whether it has nodes inside by its entries of these names that it did not have before."""
        there = [each for each in names if each in self.entries] if self.has_nodes else []
        if not there:
            return False
        again = not before.has_nodes or before.started != self.started
        return again or any(before.entries.get(each) != self.entries[each] for each in there)


@dataclass(frozen=True, slots=True)
class Node:
    """What is at a path inside a container.

    devnum is None for what is no device; mode as in chmod(1); target is what a symbolic link says, or empty.
    sealed: only the host's root may open it, as before it goes.
    """

    devnum: Devnum | None
    mode: int
    target: str = ""
    sealed: bool = False


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface as sysfs has it for those inside, which nobody inside can forge.

    above_at  the syspath of the device that it belongs to, or /sys/devices/virtual
    above     the number of that device's folder, or its own
    number    the number of its own folder
    """

    above_at: str
    above: int
    number: int


@dataclass(frozen=True, slots=True)
class Inside:
    """What was seen inside one running container.

    nodes   by path: what is there, None where nothing is; a path that is not a key was not looked at
    interfaces  the names of its network interfaces; None where nobody looked
    users   numeric ids by name, as the container's own /etc/passwd has them; None where it has none
    groups  likewise, of /etc/group
    error   why nothing could be seen, or empty
    folders which interfaces they are, by name, as far as sysfs is to be seen there; None where nobody looked
    """

    nodes: Mapping[str, Node | None] = field(default_factory=dict)
    users: Mapping[str, int | None] = field(default_factory=dict)
    groups: Mapping[str, int | None] = field(default_factory=dict)
    interfaces: frozenset[str] | None = None
    error: str = ""
    folders: Mapping[str, Interface] | None = None
