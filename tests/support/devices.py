"""Made-up devices with nodes, the rules that take them, and the entries that come of both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType

from hotplugd.model.entry import (
    MARK_DEVICE,
    MARK_INSTANCE,
    MARK_NODE,
    MARK_RULE,
    MARK_SEEN,
    MARK_SLOT,
    VERSION,
    mark_for,
    name_for,
    slot_for,
    slot_links,
)
from hotplugd.model.nic_slot import above_of, read
from hotplugd.model.nic_snapshot import remember
from hotplugd.model.values import Device, Devnum, Entry, Instance, InstanceName, Interface, NodeType
from hotplugd.plan.desired import wants
from hotplugd.plan.identity import identity
from hotplugd.plan.kinds.kind import Want
from hotplugd.rulefile.load import parse
from hotplugd.rules.ruleset import RuleSet
from tests.unit import devices

BOOT = "1a2b3c4d"
BOX = InstanceName("default", "box")


def plugged(device: Device, major: int, minor: int, born: int = 1, kind: NodeType = "char") -> Device:
    """The device with a node of this number. born tells its enumerations apart."""
    number = Devnum(kind, major, minor)
    return replace(device, devnum=number, slot=slot_for(number, BOOT, str(born)))


def phone(number: int = 1, serial: str | None = None, born: int = 1) -> Device:
    """A phone at a port of its own."""
    made = devices.usb(f"1-{number}", "18d1", "4ee7", f"R5C{number:03}" if serial is None else serial)
    return plugged(replace(made, node=f"/dev/bus/usb/001/{number:03}"), 189, number, born)


def console(number: int = 1, serial: str | None = None, born: int = 1) -> Device:
    """A serial console on a cable at a port of its own."""
    cable = devices.usb(f"2-{number}", serial=f"A5{number:03}" if serial is None else serial)
    return plugged(devices.tty(cable, f"ttyUSB{number}"), 188, number, born)


def disk(number: int = 0, born: int = 1) -> Device:
    """A block device that hangs from nothing."""
    made = Device(f"/sys/devices/virtual/block/zram{number}", "block", f"zram{number}", "disk")
    return plugged(replace(made, node=f"/dev/zram{number}"), 252, number, born, "block")


def rule(match: str, attach: str | None, name: str = "r") -> str:
    """One rule in YAML; without `attach` it ignores what it matches."""
    does = "ignore: true" if attach is None else f"attach: {attach}"
    return f"  - {{name: {name}, match: {match}, {does}}}\n"


def ruleset(*written: str) -> RuleSet:
    """Rules from YAML."""
    loaded = parse("rules:\n" + "".join(written), "test.yaml")
    assert not loaded.errors, loaded.errors[0].render()
    return loaded.rules


# Everything with a node goes to the box.
ALL = ruleset(rule("{subsystem: '*'}", "{to: box}"))


def all_with(attach: str) -> RuleSet:
    """One rule that takes every device and also says this of where it goes."""
    return ruleset(rule("{subsystem: '*'}", f"{{to: box, {attach}}}"))


def wanted(rules: RuleSet, *found: Device) -> list[Want]:
    """Where the devices should go; nothing may be in the way."""
    each = [wants(rules, device) for device in found]
    assert [problem.message for one in each for problem in one.problems] == []
    return [want for one in each for want in one.wants]


def entry(
    device: Device,
    other: Mapping[str, str | None] = MappingProxyType({}),
    *,
    instance: InstanceName = BOX,
    rule: str = "r",
) -> Entry:
    """The entry that a rule without options makes of the device. other: keys that differ; None: without."""
    assert device.devnum is not None
    keys = {
        "type": f"unix-{device.devnum.kind}",
        "source": slot_links(device.slot)[0],
        "path": device.node,
        "required": "false",
        "user.hotplugd.version": VERSION,
        MARK_INSTANCE: mark_for(instance),
        MARK_DEVICE: identity(device),
        MARK_NODE: device.node,
        MARK_RULE: rule,
    }
    config: dict[str, str | None] = {**keys, **other}
    return Entry(name_for(device.slot), {key: value for key, value in config.items() if value is not None})


def box(
    entries: Iterable[Entry] = (), inherited: Iterable[Entry] = (), *, running: bool = True, name: str = "box"
) -> Instance:
    """A container with these entries."""
    return Instance(
        InstanceName("default", name),
        running=running,
        entries={each.name: each for each in entries},
        inherited={each.name: each for each in inherited},
    )


def interface(number: int = 1, born: int = 1, above: Device | None = None) -> Device:
    """A network interface on a PCI device of its own."""
    card = above or pci(number, born)
    mac = f"00:e0:4c:00:00:{number:02x}"
    return Device(
        f"{card.syspath}/net/enp{number}s0",
        "net",
        f"enp{number}s0",
        attrs={"address": mac, "permanent_address": mac, "type": "1"},
        properties={"INTERFACE": f"enp{number}s0"},
        parent=card,
        slot=f"n-{BOOT}-{number}{born}-{number}{born}7",
    )


def channel(number: int, of: int = 1, born: int = 1) -> Device:
    """One of the interfaces of a CAN adapter, which have no addresses and share all but their names."""
    adapter = devices.usb(f"1-{of}", "1d50", "606f", serial="CAN")
    above = 500 + 100 * of + 10 * born
    return Device(
        f"{adapter.syspath}/1-{of}:1.0/net/can{number}",
        "net",
        f"can{number}",
        attrs={"address": "", "type": "280"},
        parent=adapter,
        slot=f"n-{BOOT}-{above}-{above + 1 + number}",
    )


def nic_entry(device: Device, instance: InstanceName = BOX, slot: str = "", name: str = "") -> Entry:
    """The entry for a network interface, under another slot or name inside where these are given."""
    config = {
        "type": "nic",
        "nictype": "physical",
        "parent": device.kernel,
        "name": name or device.kernel,
        "user.hotplugd.version": "1",
        MARK_INSTANCE: mark_for(instance),
        MARK_DEVICE: identity(device),
        MARK_NODE: device.kernel,
        MARK_RULE: "r",
        MARK_SLOT: slot or device.slot,
        MARK_SEEN: remember(device),
    }
    return Entry(name_for(slot or device.slot), config)


def folder(device: Device) -> Interface:
    """The interface as sysfs shows it inside."""
    slot = read(device.slot)
    assert slot is not None
    return Interface(above_of(device.syspath), slot.above, slot.own)


def pci(number: int = 1, born: int = 1) -> Device:
    """A PCI device."""
    address = f"0000:0{number}:00.0"
    syspath = f"/sys/devices/pci0000:00/{address}"
    return Device(syspath, "pci", address, driver="some", slot=f"p-{address}-{BOOT}-{born}")


def gpu(number: int = 1, born: int = 1) -> tuple[Device, Device]:
    """A GPU's card and its render node."""
    above = pci(number, born)

    def node(kernel: str, minor: int) -> Device:
        device = Device(
            f"{above.syspath}/drm/{kernel}", "drm", kernel, "drm_minor", node=f"/dev/dri/{kernel}"
        )
        return plugged(replace(device, parent=above), 226, minor, born)

    return node(f"card{number}", number), node(f"renderD{127 + number}", 127 + number)
