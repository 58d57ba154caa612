"""Which network interface an entry is for. Pure.

An interface's slot is `n-<boot>-<above>-<own>`: the first 8 digits of the boot id, the inode of the folder in
sysfs of the device that it belongs to, and that of its own folder. The kernel gives neither to another until
it boots, and both stay while the interface is in an instance and when it is back (measured). One that belongs
to no device has its own number twice. Earlier versions wrote `n-<address>-<above>`, which several interfaces
of one device share.

In a virtual machine it is not an interface but its PCI device, which gets a new one when it is back.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

from hotplugd.model import pci_slot
from hotplugd.model.entry import is_ours, name_for, slot_of
from hotplugd.model.nic_snapshot import left_from, recall
from hotplugd.model.values import Device, Entry, Instance, Interface

VIRTUAL: Final = "/sys/devices/virtual"

# No instance has more interfaces, though a user may write any number of entries.
_MOST: Final = 100
_SLOT: Final = re.compile(r"n-([0-9a-f]{8})-([0-9]{1,20})-([0-9]{1,20})", re.ASCII)
_OLD: Final = re.compile(r"n-([0-9a-f]*)-([0-9]{1,20})", re.ASCII)


@dataclass(frozen=True, slots=True)
class NetSlot:
    """A slot's parts. above: of the device that it belongs to, its own where there is none."""

    boot: str
    above: int
    own: int

    def __str__(self) -> str:
        return f"n-{self.boot}-{self.above}-{self.own}"

    @property
    def is_virtual(self) -> bool:
        """Whether it belongs to no device."""
        return self.above == self.own


def read(slot: str) -> NetSlot | None:
    """The parts of a slot; None where it is none of a network interface, or one of an earlier version."""
    match = _SLOT.fullmatch(slot)
    return NetSlot(match[1], int(match[2]), int(match[3])) if match is not None else None


def is_nic(entry: Entry) -> bool:
    """Whether the entry is one of ours for a network interface."""
    config = entry.config
    return config.get("type") == "nic" and config.get("nictype") == "physical" and is_ours(entry)


def is_named_rightly(entry: Entry) -> bool:
    """Whether the entry's name is the one that we give an entry for its slot."""
    return entry.name == name_for(slot_of(entry))


def nic_keys(instance: Instance) -> Iterator[tuple[int, str]]:
    """What the instance's entries name interfaces by: the inode number of the device above one, and its name.

    Of what a virtual machine has by its PCI device: that one's inode number and address. Entries can be
    edited, so these may be false.
    """
    for entry in instance.entries.values():
        if is_nic(entry) and (number := number_above(slot_of(entry))) is not None:
            yield number, entry.config.get("parent", "")
    for entry in pci_slot.entries(instance):
        if (found := pci_slot.pci_key(slot_of(entry))) is not None:
            yield found


def nic_key(device: Device) -> tuple[int, str] | None:
    """What `nic_keys` gives for an entry of this interface, or of its PCI device."""
    number = number_above(device.slot) if device.subsystem == "net" else None
    if number is not None:
        return number, device.kernel
    return pci_slot.pci_key(device.pci.slot) if device.pci is not None else None


def entry_for(instance: Instance, device: Device) -> Entry | None:
    """The instance's entry for this interface, or its PCI device; None if there is none."""
    if (whole := pci_slot.entry_for(instance, device)) is not None:
        return whole
    entry = instance.entries.get(name_for(device.slot))
    if entry is not None and is_nic(entry):
        return entry
    some = islice(filter(is_nic, instance.entries.values()), _MOST)
    return next(
        (
            each
            for each in some
            if is_named_rightly(each)
            and (number_above(slot_of(each)), each.config.get("parent")) == nic_key(device)
        ),
        None,
    )


def assumed(instance: Instance) -> Iterator[Device]:
    """The interfaces that an instance without a visible inside has by its entries.

    Interfaces without hardware do not count: the host can only tell whether the hardware exists.
    """
    for entry in islice(filter(is_nic, instance.entries.values()), _MOST):
        parts = read(slot_of(entry))
        if not is_named_rightly(entry) or (parts is not None and parts.is_virtual):
            continue
        device, kernel = recall(entry), entry.config.get("parent", "")
        if device is not None and device.kernel == kernel and not device.syspath.startswith(VIRTUAL):
            yield device


def stands_for(entry: Entry, device: Device, instance: Instance) -> bool:
    """Whether the entry is for this interface under a slot that is not its own: an earlier version wrote it,
    or it is a virtual machine's.
    """
    mine = read(device.slot)
    if mine is None or entry.config.get("parent") != device.kernel or not is_nic(entry):
        return False
    slot = slot_of(entry)
    if not is_named_rightly(entry):
        return False
    if (theirs := read(slot)) is not None:
        again = theirs.boot == mine.boot and theirs.above == mine.above and not mine.is_virtual
        return instance.kind == "virtual-machine" and again
    old = _OLD.fullmatch(slot)
    address = device.attrs.get("permanent_address") or device.attrs.get("address", "")
    return old is not None and old[1] == address.replace(":", "") and int(old[2]) == mine.above


def inside(
    instance: Instance, interfaces: Mapping[str, Interface], boot: str
) -> Iterator[tuple[NetSlot, Entry, Interface]]:
    """The instance's entries whose interface was seen inside, each with its true slot.

    interfaces  what was seen there, by name
    boot        the first 8 digits of the present boot's id
    """
    seen, number = _Seen(interfaces, boot), 0
    left = [each for each in instance.entries.values() if is_nic(each)]
    for find in (seen.exact, seen.earlier, seen.rebooted):
        entries, left = left, []
        for entry in entries:
            name = find(entry)
            if name is None or not is_named_rightly(entry):
                left.append(entry)
            else:
                found = seen.take(name)
                if (number := number + 1) > _MOST:
                    return
                yield NetSlot(boot, found.above, found.number), entry, found


class _Seen:
    """The interfaces inside that no entry was found for yet."""

    def __init__(self, interfaces: Mapping[str, Interface], boot: str) -> None:
        self._boot = boot
        self._free = {name: each for name, each in interfaces.items() if each.number}
        self._by_number = {each.number: name for name, each in self._free.items()}
        self._below: dict[int, list[str]] = {}
        # Of several entries for one name only the first is read, to bound the work.
        self._tried: set[str] = set()
        for name, each in self._free.items():
            self._below.setdefault(each.above, []).append(name)

    def take(self, name: str) -> Interface:
        """Take the interface out: only one entry is for it."""
        return self._free.pop(name)

    def exact(self, entry: Entry) -> str | None:
        """By the slot."""
        slot = read(slot_of(entry))
        name = self._by_number.get(slot.own, "") if slot is not None and slot.boot == self._boot else ""
        found = self._free.get(name)
        return name if found is not None and slot is not None and found.above == slot.above else None

    def earlier(self, entry: Entry) -> str | None:
        """By an earlier version's slot: of several interfaces of one device by the entry's name."""
        old = _OLD.fullmatch(slot_of(entry))
        names = self._below.get(int(old[2]), []) if old is not None else []
        wanted = entry.config.get("name", "") if len(names) > 1 else "".join(names)
        found = self._free.get(wanted)
        return wanted if old is not None and found is not None and found.above == int(old[2]) else None

    def rebooted(self, entry: Entry) -> str | None:
        """By name and by the place of its hardware, if the server attached it itself when the host booted."""
        slot = read(slot_of(entry))
        name = entry.config.get("name", "")
        found = self._free.get(name)
        if found is None or name in self._tried or (slot is not None and slot.boot == self._boot):
            return None
        self._tried.add(name)
        return name if found.above_at == above_of(left_from(entry)) else None


def recalled(slot: NetSlot, entry: Entry, found: Interface) -> Device | None:
    """The interface that was seen inside, with what the entry says besides; None if that is nothing.

    Its name is the one under which the server gives it back.
    """
    device, kernel = recall(entry), entry.config.get("parent", "")
    if device is None or "/" in kernel or not kernel.isprintable():
        return None
    return replace(device, syspath=f"{found.above_at}/net/{kernel}", kernel=kernel, slot=str(slot))


def above_of(syspath: str) -> str:
    """The syspath of the device that the interface of this syspath belongs to, as far as names tell."""
    return syspath.rpartition("/net/")[0]


def number_above(slot: str) -> int | None:
    """The number of the folder of the device above, by a slot of whatever version."""
    if (found := read(slot)) is not None:
        return found.above
    old = _OLD.fullmatch(slot)
    return int(old[2]) if old is not None else None
