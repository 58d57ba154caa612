"""The entry that a device becomes in an instance, by what it goes in as and what the instance is. Pure.

Keys are LXD's (doc/reference/devices): unix-char, unix-block, nic of nictype physical, gpu of gputype
physical, and for virtual machines usb and pci.
"""

from __future__ import annotations

from typing import Final

from hotplugd.model import entry as entries
from hotplugd.model import nic_slot
from hotplugd.model.nic_snapshot import remember
from hotplugd.model.values import Device, Entry, Inside, Instance, quoted
from hotplugd.plan.desired import Want, identity

SEALED: Final = "sealed"


def barred(want: Want, instance: Instance, actual: Entry | None) -> str:
    """Why such a device cannot be in such an instance, or not now; empty where it can."""
    who, what = instance.id, want.what
    if instance.kind == "container":
        if what == "pci":
            return (
                f"{who} is a container, and PCI devices go into virtual machines alone; "
                f"the kernel's own device of it can go in, or with `as: gpu` a GPU"
            )
        return ""
    if what == "node" and not want.device.is_usb_device:
        return (
            f"{who} is a virtual machine, and of device nodes only those of USB devices can go into one; "
            f"give it the USB or PCI device that this one belongs to"
        )
    if what == "node" and "usb-number" not in instance.can:
        return (
            f"{who} is a virtual machine, and its server cannot tell one USB device from another of the same "
            f"kind (no API extension device_usb_serial: LXD 5.21.2 and Incus 6.0 have it)"
        )
    if (
        instance.running
        and actual is None
        and (what == "gpu" or (what == "pci" and "pci-hotplug" not in instance.can))
    ):
        return (
            f"{who} is a virtual machine that runs, and its server can give it a {what} only while it does "
            f"not; stop it, and the device is there at the next start"
        )
    return ""


def entry_for(want: Want, instance: Instance, inside: Inside | None, actual: Entry | None) -> Entry | str:
    """The entry as it should be, or why it cannot be written yet: a user or group in it has no number."""
    config = {
        **_body(want, instance, actual),
        entries.MARK_VERSION: entries.VERSION,
        entries.MARK_INSTANCE: entries.mark_for(want.instance),
        entries.MARK_DEVICE: identity(want.device),
        entries.MARK_NODE: want.device.node or want.device.kernel,
        entries.MARK_RULE: want.rule.name,
    }
    if instance.location:
        config[entries.MARK_MEMBER] = instance.location
    if "source" not in config:
        config[entries.MARK_SLOT] = _marked_slot(want, actual)
    if want.what == "nic":
        config[entries.MARK_SEEN] = remember(want.device)
    name = actual.name if actual is not None else entries.name_for(want.slot)
    if want.what not in ("node", "gpu") or instance.kind != "container":
        return Entry(name, config)
    if want.attach.mode is not None:
        config["mode"] = want.attach.mode
    owner = _owner(want, instance, inside, actual)
    return owner if isinstance(owner, str) else Entry(name, config | owner)


def _marked_slot(want: Want, actual: Entry | None) -> str:
    """The slot as the entry's name says it, which may be version 1's: else name and mark would not agree."""
    slot = entries.slot_of(actual) if actual is not None else ""
    return slot if actual is not None and entries.name_for(slot) == actual.name else want.slot


def _owner(
    want: Want, instance: Instance, inside: Inside | None, actual: Entry | None
) -> dict[str, str] | str:
    """The numbers of the node's owner, or why one is not known."""
    attach, found = want.attach, dict[str, str]()
    for key, number, who, known in (
        ("uid", attach.uid, attach.user, inside.users if inside else {}),
        ("gid", attach.gid, attach.group, inside.groups if inside else {}),
    ):
        if number is not None:
            found[key] = str(number)
        elif who is not None:
            looked_up = known.get(who)
            if looked_up is not None:
                found[key] = str(looked_up)
            elif actual is not None and _is_number(actual.config.get(key, "")) and who not in known:
                found[key] = actual.config[key]
            else:
                return _no_such(key, who, instance, known=who in known)
    return found


def moved(entry: Entry, actual: Entry, slot: str) -> Entry | None:
    """The entry with its source at the slot's other link, which makes every server put the node in again.

    None for what has no source, and has to be taken out first.
    """
    if "source" not in entry.config:
        return None
    first, second = entries.slot_links(slot)
    source = first if actual.config["source"] == second else second
    return Entry(entry.name, {**entry.config, "source": source})


def unlike(want: Want, instance: Instance, inside: Inside | None) -> str | None:
    """What is in the device's place inside instead of it; empty where it is there.

    None where nobody looked (yet), or nobody can: into virtual machines, and for what has no place.
    """
    if inside is None or inside.error or not instance.running or not want.place:
        return None
    if want.what == "nic":
        return _unlike_interface(want, inside)
    return _unlike_node(want, inside) if want.place in inside.nodes else None


def wrong_mode(want: Want, inside: Inside | None) -> str:
    """What is wrong with the mode of the device's node inside, or empty."""
    node = inside.nodes.get(want.place) if inside is not None else None
    if want.attach.mode is None or node is None or node.mode == int(want.attach.mode, 8):
        return ""
    return (
        f"{want.place} in {want.instance} has mode {node.mode:04o}, the rule says {want.attach.mode}: "
        f"something inside changed it"
    )


def is_veiled(want: Want, inside: Inside | None) -> bool:
    """Whether somebody looked, and which interface is in the device's place was not to be seen."""
    if want.what != "nic" or inside is None or inside.folders is None:
        return False
    return want.place not in inside.folders


def _unlike_interface(want: Want, inside: Inside) -> str | None:
    if inside.interfaces is None:
        return None
    if want.place not in inside.interfaces:
        return "missing"
    slot = nic_slot.read(want.device.slot)
    if inside.folders is None or slot is None:
        return ""
    found = inside.folders.get(want.place)
    if found is None:
        # Its container does not show sysfs, or shows another's.
        return None
    return "" if found.number == slot.own else "another interface"


def _unlike_node(want: Want, inside: Inside) -> str:
    node = inside.nodes[want.place]
    if node is None:
        return "missing"
    if node.devnum == want.device.devnum:
        # It was about to go, and the server did not take it out.
        return SEALED if node.sealed and int(want.attach.mode or "1", 8) else ""
    return str(node.devnum) if node.devnum else "no device node"


def _body(want: Want, instance: Instance, actual: Entry | None) -> dict[str, str]:
    device = want.device
    if want.what == "nic":
        return {"type": "nic", "nictype": "physical", "parent": device.kernel, "name": want.place}
    if want.what in ("gpu", "pci"):
        assert device.pci is not None
        address = device.pci.kernel
        if want.what == "pci":
            return {"type": "pci", "address": address}
        return {"type": "gpu", "gputype": "physical", "pci": address}
    if instance.kind == "virtual-machine":
        return {
            "type": "usb",
            "busnum": _number(device, "BUSNUM"),
            "devnum": _number(device, "DEVNUM"),
            "required": "false",
        }
    assert device.devnum is not None
    first, second = entries.slot_links(want.slot)
    return {
        "type": f"unix-{device.devnum.kind}",
        "source": second if actual is not None and actual.config.get("source") == second else first,
        "path": want.place,
        # A required device that is absent keeps the instance from starting.
        "required": "false",
    }


def _number(device: Device, key: str) -> str:
    """A bus or device number as LXD takes it: without leading zeros."""
    found = device.properties.get(key, "").lstrip("0")
    return found if _is_number(found) else "0"


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal()


def _no_such(key: str, who: str, instance: Instance, *, known: bool) -> str:
    what, file = ("user", "/etc/passwd") if key == "uid" else ("group", "/etc/group")
    if known:
        return (
            f"{instance.id} has no {what} '{who}' in its {file}; make one there, or use `{key}` in the rule"
        )
    when = "could not be looked up yet" if instance.running else "is looked up when the instance runs"
    return f"{what} '{quoted(who)}' of {instance.id} {when}"
