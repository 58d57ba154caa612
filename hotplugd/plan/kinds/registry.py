"""All kinds of device. A new kind is a file beside this one, and its place in `KINDS`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hotplugd.model.values import Device, Entry, Instance
from hotplugd.plan.kinds.gpu import Gpu, GpuNode
from hotplugd.plan.kinds.kind import Facts, Kind, Reading
from hotplugd.plan.kinds.nic import Nic
from hotplugd.plan.kinds.node import NodeKind
from hotplugd.plan.kinds.pci import Pci
from hotplugd.plan.kinds.usb import Usb

# A device goes in as the first that takes it.
KINDS: tuple[Kind, ...] = (Usb(), Nic(), Gpu(), GpuNode(), Pci(), NodeKind())


def kind_for(device: Device, name: str | None, *, parted: bool = False) -> Kind:
    """The kind that a device goes in as.

    name    what the rule says; None where it does not
    parted  whether rules tell apart what goes in as a whole: then each goes in by itself
    """
    if name is not None:
        return next(kind for kind in KINDS if kind.name == name and kind.serves(device))
    return next(
        kind
        for kind in KINDS
        if kind.subsystems is None
        or (device.subsystem in kind.subsystems and kind.takes(device) and not (parted and kind.has_parts))
    )


def kind_named(name: str) -> Kind:
    """The kind of this name in rules: the last of that name is the one for whatever has no other."""
    return next(kind for kind in reversed(KINDS) if kind.name == name)


def kind_names() -> Sequence[str]:
    """What rules can say after `as:`, in the order of the documentation."""
    return tuple(dict.fromkeys(kind.name for kind in sorted(KINDS, key=lambda kind: kind.name != "node")))


def reading(entry_type: str) -> Reading | None:
    """How the server reads entries of this type; None where they give no devices that are known here."""
    return next((kind.readings[entry_type] for kind in KINDS if entry_type in kind.readings), None)


def fixed(entry: Entry, instance: Instance) -> str:
    """Why the instance's entry cannot be taken out of it, or changed, now; empty where it can."""
    kind = next((each for each in KINDS if entry.config.get("type") in each.readings), None)
    return kind.fixed(instance) if kind is not None else ""


def facts(selector: str) -> Callable[[Device], Facts]:
    """What gives the values that a device has for selectors of this kind."""
    return next(kind.facts[selector] for kind in KINDS if selector in kind.facts)


def is_single(name: str | None, subsystems: frozenset[str]) -> bool:
    """Whether only one instance at a time can have what a rule takes.

    name        what it goes in as; None where the rule does not say
    subsystems  of which it can be
    """
    if name is not None:
        return kind_named(name).single
    return subsystems <= {each for kind in KINDS if kind.single for each in kind.subsystems or ()}
