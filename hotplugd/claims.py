"""Devices that belong to instances through entries that are not ours: those are left alone. Pure.

An entry claims devices by what LXD matches them with (doc/reference/devices): the path of a node or of a link
to it, numbers, USB ids, the name of a network interface, a PCI address.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Final

from hotplugd.entry import is_ours
from hotplugd.model import Device, Entry, Instance, InstanceName, quoted
from hotplugd.rules import values
from hotplugd.wants import Problem, Want, Wants

Claim = tuple[str, ...]
"""What an entry matches by, such as ("node", "/dev/ttyUSB0") or ("usb", "18d1", "")."""

# Of these the interface leaves the host, or others hang from it.
_NICS: Final = frozenset({"physical", "macvlan", "ipvlan", "sriov"})
_USB_MORE: Final = ("serial", "busnum", "devnum")


@dataclass(frozen=True, slots=True)
class Holder:
    """The instance and the entry to which a device belongs."""

    instance: InstanceName
    entry: str


class Claims:
    """What the foreign entries of all instances claim."""

    def __init__(self) -> None:
        self._by_instance: dict[InstanceName, Mapping[Claim, Holder]] = {}
        self._all: dict[Claim, list[Holder]] = {}

    def learned(self, name: InstanceName, instance: Instance | None) -> frozenset[Claim]:
        """Take note of an instance as it is, None where it is gone. Returns the claims that changed."""
        now = _claims(instance) if instance is not None and instance.here else {}
        before = self._by_instance.pop(name, {})
        if now:
            self._by_instance[name] = now
        if now == before:
            return frozenset()
        for claim, holder in before.items():
            self._all[claim].remove(holder)
            if not self._all[claim]:
                del self._all[claim]
        for claim, holder in now.items():
            self._all.setdefault(claim, []).append(holder)
        return frozenset(claim for claim, _ in now.items() ^ before.items())

    def holder(self, device: Device) -> Holder | None:
        """To whom the device belongs, if it does."""
        if not self._all:
            return None
        for claim in _of(device):
            for holder in self._all.get(claim, ()):
                return holder
        return None


def meets(device: Device, claims: AbstractSet[Claim]) -> bool:
    """Whether any of the claims is one to the device."""
    return not claims.isdisjoint(_of(device))


def withheld(found: Wants, claims: Claims) -> Wants:
    """The wants of a device that is not attached, without those of one that belongs to somebody already."""
    if not found.wants or _may_be_shared(found.wants[0]):
        return found
    holder = claims.holder(found.device)
    if holder is None or found.rule is None:
        return found
    way = (
        ""
        if found.wants[0].what in ("nic", "pci")
        else "; `share: true` in the rule attaches it all the same"
    )
    message = f"it belongs to {holder.instance} by its entry '{quoted(holder.entry)}', which is not ours{way}"
    problem = Problem(str(found.device), found.rule.name, message, guard=True)
    return replace(found, wants=(), problems=(*found.problems, problem))


def _may_be_shared(want: Want) -> bool:
    if want.what in ("nic", "pci"):
        return False
    return want.attach.share if want.attach.share is not None else want.what == "gpu"


def _claims(instance: Instance) -> dict[Claim, Holder]:
    entries = (*instance.inherited.values(), *instance.entries.values())
    return {
        claim: Holder(instance.id, each.name)
        for each in entries
        if not is_ours(each)
        for claim in _made(each)
    }


def _made(entry: Entry) -> Iterator[Claim]:
    config = entry.config
    kind = config.get("type", "")
    if kind in ("unix-char", "unix-block") and config.get("major") and config.get("minor"):
        yield ("number", kind.removeprefix("unix-"), config["major"], config["minor"])
    elif kind in ("unix-char", "unix-block"):
        yield ("node", config.get("source") or config.get("path", ""))
    elif kind == "disk":
        yield ("node", config.get("source", ""))
    elif kind in {"usb", "unix-hotplug"}:
        yield (
            kind,
            config.get("vendorid", "").lower(),
            config.get("productid", "").lower(),
            *(config.get(key, "") for key in _USB_MORE),
        )
    elif kind == "nic" and config.get("nictype") in _NICS and config.get("parent"):
        yield ("nic", config["parent"])
    elif kind in ("pci", "gpu"):
        yield ("pci", config.get("address") or config.get("pci", ""))


def _of(device: Device) -> Iterable[Claim]:
    """All claims that this device would meet."""
    if device.node:
        yield ("node", device.node)
        for link in device.properties.get("DEVLINKS", "").split():
            yield ("node", link)
    if device.devnum is not None:
        number = device.devnum
        yield ("number", number.kind, str(number.major), str(number.minor))
    if device.subsystem == "net":
        yield ("nic", device.kernel)
    if (pci := device.pci) is not None and device.subsystem in ("pci", "drm", "net"):
        yield ("pci", pci.kernel)
    if device.is_usb_device or device.usb is not None:
        yield from _usb_claims(device)


def _usb_claims(device: Device) -> Iterator[Claim]:
    kind = "usb" if device.is_usb_device else "unix-hotplug"
    usb = device.usb
    assert usb is not None
    number = [usb.properties.get(key, "").lstrip("0") for key in ("BUSNUM", "DEVNUM")]
    vendor, product, serial = (
        next(iter(values(device, key)), "") for key in ("vendor_id", "product_id", "serial")
    )
    for one in {vendor, ""}:
        for other in {product, ""}:
            yield (kind, one, other, "", "", "")
            yield (kind, one, other, serial, "", "")
            yield (kind, one, other, "", *number)
            yield (kind, one, other, serial, *number)
