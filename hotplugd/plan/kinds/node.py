"""A device's node, by an entry of type unix-char or unix-block: the kind of whatever no other kind is for.

How the server reads entries (all of them while the instance runs):

| type | in | takes |
|---|---|---|
| unix-char, unix-block | containers | the number, where `major` and `minor` are given; nothing with one of them; else the node of that kind at `source`, or at `path` without one |
| disk | both | the node at `source`, where there is no `pool`: then it is a volume |
"""  # noqa: E501

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import ClassVar, Final

from hotplugd.model.entry import slot_links, slot_node
from hotplugd.model.names import is_reserved_path
from hotplugd.model.text import quoted
from hotplugd.model.values import Device, Entry, Inside, Instance
from hotplugd.plan.kinds.kind import BOTH, CONTAINERS, EntrySelector, Facts, Kind, Reading, Want
from hotplugd.plan.kinds.reading import NUMBER, by_path
from hotplugd.rules.ruleset import Attach
from hotplugd.rules.subsystems import NODELESS

NO_NODE: Final = "no device node"
"""What is at the target where it is something else than a device's node."""
SEALED: Final = "sealed"
"""What is at the target where it is the device's node, and nobody inside may open it."""

_PATH: Final = re.compile(r"/dev(/[A-Za-z0-9_:+@,=-]+)+", re.ASCII)


def _node_selectors(config: Mapping[str, str]) -> Iterator[EntrySelector]:
    kind = config["type"].removeprefix("unix-")
    major, minor = config.get("major", ""), config.get("minor", "")
    if not major and not minor:
        yield from by_path(kind, config.get("source") or config.get("path", ""))
    elif NUMBER.fullmatch(major) and NUMBER.fullmatch(minor):
        yield ("number", kind, str(int(major)), str(int(minor)))


def _disk_selectors(config: Mapping[str, str]) -> Iterator[EntrySelector]:
    if not config.get("pool"):
        yield from by_path("node", config.get("source", ""))


def _paths(device: Device) -> Facts:
    """Where the node is, and the links to it: udev's, the ones that udev makes for each node, and ours."""
    if device.devnum is None:
        return None
    found = [
        *device.properties.get("DEVLINKS", "").split(),
        *((*slot_links(device.slot), slot_node(device.slot)) if device.slot else ()),
    ]
    if device.node:
        found.append(device.node)
    found.append(f"/dev/{device.devnum.kind}/{device.devnum.major}:{device.devnum.minor}")
    return (list(dict.fromkeys(found)),)


def _paths_of(kind: str) -> Callable[[Device], Facts]:
    def facts(device: Device) -> Facts:
        return _paths(device) if device.devnum is not None and device.devnum.kind == kind else None

    return facts


def _number(device: Device) -> Facts:
    number = device.devnum
    return ((number.kind,), (str(number.major),), (str(number.minor),)) if number is not None else None


class NodeKind(Kind):
    """See the top of this file."""

    name = "node"
    doc = "the device's own node"
    subsystems: ClassVar[frozenset[str] | None] = None
    owned = CONTAINERS
    has_path = True
    has_links = True
    readings = MappingProxyType(
        {
            "unix-char": Reading(CONTAINERS, _node_selectors),
            "unix-block": Reading(CONTAINERS, _node_selectors),
            "disk": Reading(BOTH, _disk_selectors),
        }
    )
    facts = MappingProxyType(
        {"node": _paths, "char": _paths_of("char"), "block": _paths_of("block"), "number": _number}
    )

    def fault(self, device: Device) -> str:
        """Nothing goes in without a node that has a number."""
        if device.devnum is None or not device.slot:
            instead = NODELESS.get(device.subsystem)
            return ("it has no device node; only network interfaces, GPUs and PCI devices go in without") + (
                f": {instead}" if instead else ""
            )
        return ""

    def target(self, device: Device, attach: Attach, path: str) -> str:
        """The path that the rule says, or the host's own without dots: the server never removes a node whose
        path has one.
        """
        return path or device.node.replace(".", "_")

    def links(self, device: Device, attach: Attach) -> tuple[str, ...]:
        """The host's own path where the node could not have it: /dev/spidev0.0 leads to /dev/spidev0_0."""
        return (device.node,) if attach.path is None and "." in device.node else ()

    def target_fault(self, device: Device, attach: Attach, target: str) -> str:
        """The server keeps to some characters, and every container has nodes of its own."""
        if "." in target:
            return f"path '{quoted(target)}' has a dot, and the server never removes such nodes; give another"
        if not _PATH.fullmatch(target):
            return f"path '{quoted(target)}' is not below /dev in letters, digits and _ : + @ , = -"
        if is_reserved_path(target):
            return f"path '{target}' belongs to every container; give another"
        return ""

    def sharing_fault(self, device: Device, attach: Attach) -> str:
        """A disk is shared only where the rule says so."""
        fault = super().sharing_fault(device, attach)
        if not fault and device.subsystem == "block" and attach.share is None:
            return (
                "`to` names several instances, and what two of them write at once to a disk destroys its "
                "file systems; `share: true` in the rule attaches it all the same"
            )
        return fault

    def barred(self, want: Want, instance: Instance, actual: Entry | None) -> str:
        """Virtual machines have devices and no nodes of the host's."""
        if instance.kind == "container":
            return ""
        return (
            f"{instance.id} is a virtual machine, and of device nodes only those of USB devices can go into "
            f"one; give it the USB or PCI device that this one belongs to"
        )

    def body(self, want: Want, instance: Instance, actual: Entry | None) -> dict[str, str]:
        """A source that means this enumeration of the device alone, by whichever of its links it is there."""
        assert want.device.devnum is not None
        first, second = slot_links(want.slot)
        return {
            "type": f"unix-{want.device.devnum.kind}",
            "source": second if actual is not None and actual.config.get("source") == second else first,
            "path": want.target,
            # A required device that is absent keeps the instance from starting.
            "required": "false",
        }

    def observed(self, want: Want, inside: Inside) -> str | None:
        """The node that is at the path, by its number."""
        if want.target not in inside.nodes:
            return None
        node = inside.nodes[want.target]
        if node is None:
            return "missing"
        if node.devnum == want.device.devnum:
            # It was about to go, and the server did not take it out.
            return SEALED if node.sealed and int(want.attach.mode or "1", 8) else ""
        return str(node.devnum) if node.devnum else NO_NODE


def wrong_mode(want: Want, inside: Inside | None) -> str:
    """What is wrong with the mode of the device's node inside, or empty."""
    node = inside.nodes.get(want.target) if inside is not None else None
    if want.attach.mode is None or node is None or node.mode == int(want.attach.mode, 8):
        return ""
    return (
        f"{want.target} in {want.instance} has mode {node.mode:04o}, the rule says {want.attach.mode}: "
        f"something inside changed it"
    )
