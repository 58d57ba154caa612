"""Where one device should go, by the rules alone, and what is in the way of that. Pure.

    RuleSet x Device -> Wants     `wants`

The same function serves the daemon, `hotplugd plan`, `hotplugd explain` and the tests. What becomes of it in
an instance is `plan`'s business.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from hotplugd.model.problem import Problem
from hotplugd.model.values import (
    CANNOT_TELL,
    Device,
    InstanceName,
    is_instance_name,
    is_reserved_path,
    quoted,
)
from hotplugd.rules.keys import INTERFACE, KERNEL, MAC, PATH, PORT, SERIAL, MatchKey, hidden_interfaces
from hotplugd.rules.ruleset import Attach, Kind, Rule, RuleSet
from hotplugd.rules.template import TemplateError, render


@dataclass(frozen=True, slots=True)
class Want:
    """One device that should be in one instance, and where and how.

    what   what it goes in as
    place  where it is inside: its node's path, or a network interface's name; empty for what has neither
    links  the paths of links inside that lead to its node
    slot   the id of the enumeration that its entry is for: the device's own, or a GPU's PCI device's, by
           which its card and its render node are one
    """

    device: Device
    rule: Rule
    attach: Attach
    instance: InstanceName
    what: Kind
    place: str
    slot: str
    links: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wants:
    """Where a device should go, by the rule that takes it (None: no rule does), and what is in the way.

    anchor  the device above that it goes along with, where the rule is about that one
    kept    where it would go if the host did not use it; some of that may be so already
    """

    device: Device
    rule: Rule | None = None
    wants: tuple[Want, ...] = ()
    problems: tuple[Problem, ...] = ()
    anchor: Device | None = None
    kept: tuple[Want, ...] = ()


def identity(device: Device) -> str:
    """What stays of a device when it is enumerated again: its serial, its port, its path or its name.

    A network interface's is its permanent address, or with its name what it shares with its neighbours.

    Serials of one repeated character ("0000000000") are what makers write who number nothing.
    """
    shared = shared_identity(device)
    if device.subsystem != "net" or device.attrs.get("permanent_address"):
        return shared
    return f"{shared}/{quoted(device.kernel)}"


def shared_identity(device: Device) -> str:
    """The identity, but for what tells apart the network interfaces of one device."""
    for mac in MAC.values(device):
        return f"mac:{quoted(mac)}"
    serial = next(iter(SERIAL.values(device)), "")
    if len(set(serial)) > 1:
        return f"serial:{quoted(serial)}"
    for key in (PORT, PATH, KERNEL):
        for value in key.values(device):
            return f"{key.name}:{quoted(value)}"
    return f"syspath:{device.syspath}"


def hardware(device: Device) -> Device:
    """The piece that has the serial number: a tty has its cable's, a partition its disk's."""
    if device.usb is not None:
        return device.usb
    serial = own_serial(device)
    found = device
    for above in device.ancestors():
        if above.subsystem == "nvme" or (serial and own_serial(above) == serial):
            found = above
    return found


def own_serial(device: Device) -> str:
    """The serial number, or what else than a USB device has in its place; empty where it has none.

    Of a USB device without one ID_SERIAL has the vendor and the model alone.
    """
    for serial in SERIAL.values(device):
        return serial
    if device.usb is not None:
        return ""
    others = (device.attrs.get(name, "") for name in ("serial", "vpd_pg80", "cid", "uniq"))
    return device.properties.get("ID_SERIAL", "") or next(filter(None, others), "")


def apart(one: Device, other: Device) -> tuple[str, str, str]:
    """The match key by which rules can tell two devices apart by their place, and each one's value with it.

    What stays over a boot comes first: in `port` is a bus's number, which the next boot may give to another.
    """
    one, other = hardware(one), hardware(other)
    for key in (PATH, PORT):
        for value, others in zip(key.values(one), key.values(other), strict=False):
            if value != others:
                return key.name, f"{key.name} {quoted(value)}", f"{key.name} {quoted(others)}"
    return PATH.name, one.syspath, other.syspath


_PATH: Final = re.compile(r"/dev(/[A-Za-z0-9_:+@,=-]+)+", re.ASCII)


# The host may use them, or what they are another way to: this is asked before each is put in.
_USABLE: Final = frozenset(
    {"block", "net", "drm", "pci", "usb", "scsi_generic", "bsg", "nvme", "nvme-generic"}
)


def may_be_used(want: Want) -> bool:
    """Whether the host may use the device, and the rule minds."""
    return not want.attach.force and not want.device.away and want.device.subsystem in _USABLE


def judged(rules: RuleSet, device: Device, has: Callable[[Want], bool]) -> Wants:
    """As `wants`, but that what the host came to use while an instance has it stays there, and that is said.

    has  whether the instance runs and has the device by an entry of ours
    """
    found = wants(rules, device)
    if found.wants or not found.problems or found.rule is None or not guard_rail(device):
        return found
    meant = wants(rules, device, used=True)
    there = tuple(want for want in meant.wants if has(want))
    if not there:
        return replace(found, kept=meant.wants)
    names = ", ".join(str(want.instance) for want in there)
    message = (
        f"{guard_rail(device)}, and it is in {names}, where it stays: end the host's use, or stop {names}"
    )
    problems = (Problem(str(device), found.rule.name, message), *meant.problems)
    return replace(meant, device=device, wants=there, problems=problems, kept=meant.wants)


def wants(rules: RuleSet, device: Device, *, used: bool = False) -> Wants:
    """Where `device` should go by the first rule that matches, and what that asks and cannot have.

    used  whether it does not matter that the host uses it
    """
    if used:
        device = replace(device, in_use="")
    taken = rules.decide(device)
    if taken is None or taken.rule.attach is None:
        return Wants(device, taken.rule if taken is not None else None)
    rule, anchor = taken.rule, taken.anchor
    attach = taken.rule.attach
    if taken.companion is not None:
        attach = replace(attach, path=taken.companion.path, links=taken.companion.links, kind=None, name=None)

    def problem(message: str, *, guard: bool = False) -> Wants:
        return Wants(device, rule, (), (Problem(str(device), rule.name, message, guard),), anchor)

    if not attach.force and (held := _held(device, anchor)):
        way = "`force: true` in the rule attaches it all the same"
        return problem(f"{held}; {way}", guard=is_hub(device))
    if attach.companions and anchor is None and attach.kind is None and device.devnum is None:
        # The rule is about what is below it: a capture card's nodes, a tape drive's.
        return Wants(device, rule)
    what = attach.kind or _what(device)
    try:
        place = _place(device, what, attach, rule.keys)
        links = tuple(dict.fromkeys(render(link, device, rule.keys) for link in attach.links))
        # What goes along goes where the device goes that the rule is about.
        names = list(dict.fromkeys(render(to, anchor or device, rule.keys) for to in attach.to))
    except TemplateError as error:
        return problem(str(error))
    if message := _wrong(device, what, attach, place, links, several=len(names) > 1):
        return problem(message)
    pci = device.pci
    slot = pci.slot if what in ("gpu", "pci") and pci is not None else device.slot
    problems = [
        Problem(
            str(device),
            rule.name,
            f"'{quoted(name)}' is no legal instance name "
            f"(1 to 63 letters, digits and dashes, a letter first and no dash last)",
        )
        for name in names
        if not is_instance_name(name)
    ]
    found = [
        Want(device, rule, attach, InstanceName(attach.project, name), what, place, slot, links)
        for name in names
        if is_instance_name(name)
    ]
    return Wants(device, rule, tuple(found), tuple(problems), anchor)


def _what(device: Device) -> Kind:
    """What a device goes in as where the rule does not say."""
    if device.subsystem == "net":
        return "nic"
    if device.subsystem == "pci":
        return "pci"
    return "gpu" if device.subsystem == "drm" and device.pci is not None else "node"


def _held(device: Device, anchor: Device | None) -> str:
    """Why it, or the device that it would go along with, is better left to the host; or empty."""
    if held := guard_rail(device):
        return held
    if anchor is not None and (held := guard_rail(anchor)):
        return f"{anchor}, with which it would go, is kept: {held}"
    return ""


def _wrong(
    device: Device, what: Kind, attach: Attach, place: str, links: Sequence[str], *, several: bool
) -> str:
    """Why the device cannot go in as the rule says; empty where it can."""
    message = _unfit(device, what, attach)
    if not message and what == "node":
        message = _bad_path(device, place, given=attach.path is not None)
    if not message and what == "nic":
        message = _bad_name(device)
    if not message:
        message = next((found for link in links if (found := _bad_link(link, place))), "")
    if not message and several:
        message = _alone(device, what, attach)
    return message


def _unfit(device: Device, what: Kind, attach: Attach) -> str:
    """Why the device cannot go in as that, or with what the rule says besides; empty where it can."""
    faults = (
        (
            what == "node" and (device.devnum is None or not device.slot),
            "it has no device node; only network interfaces, GPUs and PCI devices go in without",
        ),
        (
            what == "nic" and device.subsystem != "net",
            f"`as: nic` is for network interfaces, and it is of subsystem '{quoted(device.subsystem)}'",
        ),
        (
            what == "nic" and not device.slot,
            "the kernel keeps such an interface on the host: loopback, bridges, bonds, wireless",
        ),
        (
            what in ("gpu", "pci") and (device.pci is None or not device.pci.slot),
            f"`as: {what}` is for what is a PCI device or a function of one, and it is none",
        ),
        (
            what != "node" and attach.path is not None,
            f"a {what} has no `path` inside; take it out of the rule",
        ),
        (
            what in ("nic", "pci") and bool(attach.links),
            f"a {what} has no node that a `link` could lead to; take it out of the rule",
        ),
        (
            what != "nic" and attach.name is not None,
            "`name` is for network interfaces; take it out of the rule",
        ),
    )
    return next((message for wrong, message in faults if wrong), "")


def _place(device: Device, what: Kind, attach: Attach, keys: Sequence[MatchKey]) -> str:
    if what == "nic":
        return attach.name or device.kernel
    return render(attach.path, device, keys) if attach.path else device.node


def _alone(device: Device, what: Kind, attach: Attach) -> str:
    """Why the device cannot be in several instances at once; empty where it can."""
    if what in ("nic", "pci"):
        return f"a {what} can be in one instance at a time, and `to` names several"
    if attach.share is False:
        return "`to` names several instances, and the rule says `share: false`"
    if device.subsystem == "block" and attach.share is None:
        return (
            "`to` names several instances, and what two of them write at once to a disk destroys its file "
            "systems; `share: true` in the rule attaches it all the same"
        )
    return ""


def is_hub(device: Device) -> bool:
    """Whether it is a USB hub: the kernel found ports on it, or its own or an interface's class says so.

    The class is 09 with any subclass and protocol. The kernel's driver takes some by their ids alone, and
    what root tells it to (Linux: drivers/usb/core/hub.c, hub_id_table).
    """
    if not device.is_usb_device:
        return False
    return (
        device.attrs.get("maxchild", "0") != "0"
        or device.attrs.get("bDeviceClass") == "09"
        or any(each.startswith("09:") for each in INTERFACE.values(device))
    )


def guard_rail(device: Device) -> str:
    """Why this device is better left to the host, or empty."""
    if is_hub(device):
        return "it is a USB hub, through which the host reaches other devices"
    if device.in_use:
        unknown = device.in_use.startswith(CANNOT_TELL)
        return device.in_use if unknown else f"the host uses it: {device.in_use}"
    if fault := hidden_interfaces(device):
        return f"its USB descriptors may hide interfaces from the rules: {fault}"
    return ""


def _bad_path(device: Device, path: str, *, given: bool) -> str:
    if given and device.is_usb_device:
        return "a USB device keeps its node's path, where libusb looks for it; take `path` out of the rule"
    if "." in path:
        advice = "give another" if given else "give one with `path`"
        return f"path '{quoted(path)}' has a dot, and the server never removes such nodes; {advice}"
    if not _PATH.fullmatch(path):
        return f"path '{quoted(path)}' is not below /dev in letters, digits and _ : + @ , = -"
    if is_reserved_path(path):
        return f"path '{path}' belongs to every container; give another"
    return ""


_NIC_NAME: Final = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.-]{1,14}", re.ASCII)


def _bad_name(device: Device) -> str:
    """Why an interface's name on the host is no good; whoever had it last may have given it any."""
    if _NIC_NAME.fullmatch(device.kernel):
        return ""
    return (
        f"its name '{quoted(device.kernel)}' is not made of 2 to 15 letters, digits, _ . and -, with no dash "
        f"first, and the server takes no other; rename it on the host"
    )


_LINK: Final = re.compile(r"/dev(/[A-Za-z0-9_:+@,=.-]+)+", re.ASCII)


def _bad_link(link: str, place: str) -> str:
    if not _LINK.fullmatch(link) or any(part in (".", "..") for part in link.split("/")):
        return f"link '{quoted(link)}' is not below /dev in letters, digits and _ : + @ , = . -"
    if link == place or link.startswith(place + "/"):
        return f"link '{link}' is where the node itself is; give another, or take it out"
    if is_reserved_path(link):
        return f"link '{link}' belongs to every container; give another"
    return ""
