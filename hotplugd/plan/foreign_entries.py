"""Which devices the server gives to an instance by an entry, as the server itself reads the entry. Pure.

Read in LXD 5.0.2, 5.21.4 and after 6.9 (lxd/device/*.go, lxd/devices.go) and in Incus 6.0 and 7.3
(internal/server/device/*.go, cmd/incusd/devices.go). All of it holds for an instance that runs; the texts are
compared as they are, without wildcards and with their case, and an empty one is the same as none.

| type | in | takes |
|---|---|---|
| unix-char, unix-block | containers | the number, where `major` and `minor` are given; nothing with one of them; else the node of that kind at `source`, or at `path` without one |
| usb | both | every USB device whose idVendor, idProduct and serial (sysfs) are `vendorid`, `productid`, `serial`, and whose numbers, written without leading zeros, are `busnum`, `devnum`; without any of these keys all there are |
| unix-hotplug | containers | every node whose ID_VENDOR_ID and ID_MODEL_ID (udev; four digits; of hidraw the HID's) are `vendorid`, `productid`; whose SUBSYSTEM is `subsystem` (LXD 5.21.4, 6.3); whose USB controller is `pci` (Incus 6.22, 6.0.6), written as the kernel has it, with both ids known. Nodes of USB devices themselves as well, but for servers with `subsystem`. Nothing without any of these keys |
| gpu | both | every display adapter of PCI, and every card of drm, by `vendorid`, `productid`, `pci` (the domain and the case do not matter), `id` (the number of the card; which card a render node is of is not known here); without any all there are. A name of CDI: all of NVIDIA's or AMD's by `all`; which one else is not known here. mdev, mig and sriov take a part of it, and lose it with the whole |
| pci | virtual machines | the PCI device at `address`, and so whatever hangs from it |
| nic | both | of nictype physical the interface `parent`, or the one of its `vlan`; macvlan, ipvlan, routed and sriov hang from it, sriov also by `pci` instead; the parent of a managed `network` is not known here |
| infiniband | both | the interface `parent` |
| disk | both | the node at `source`, where there is no `pool`: then it is a volume |
| none, proxy, tpm | | nothing: tpm is an emulator |

With `attached` (Incus 6.0.6; disk 6.15, usb 6.18, nic 6.21) other than empty or true it takes nothing. A type that
is not here takes nothing. What has a key that is not known here may take less than is known: it takes what it names,
but never everything for want of a key.
"""  # noqa: E501

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from posixpath import normpath
from types import MappingProxyType
from typing import Final

from hotplugd.model.entry import slot_links, slot_node
from hotplugd.model.values import Device, Entry, Instance

Claim = tuple[str, ...]
"""What an entry takes devices by, such as ("node", "/dev/ttyUSB0") or ("usb", "18d1", "", "", "", ""): its
kind, and the texts that must be the device's, where an empty one may be any."""

Shape = tuple[bool, ...]
"""Which of a claim's texts are given."""

_TRUE: Final = frozenset({"", "true", "1", "yes", "on"})
_HANGING: Final = frozenset({"physical", "macvlan", "ipvlan", "routed", "sriov"})
_GPUS: Final = frozenset({"", "physical", "mdev", "mig", "sriov", "native-context"})
_USB: Final = ("vendorid", "productid", "serial", "busnum", "devnum")
_HOTPLUG: Final = ("vendorid", "productid", "subsystem", "pci")
_SUBSYSTEM: Final = _HOTPLUG.index("subsystem")
_GPU: Final = ("vendorid", "productid", "pci", "id")
# What says how a device is inside, and not which one it is.
_HOW: Final = frozenset(
    {"type", "required", "attached", "uid", "gid", "mode", "ownership.inherit",
     "gputype", "mdev", "mig.gi", "mig.ci", "mig.uuid", "blob.size"}
)  # fmt: skip
_NUMBER: Final = re.compile(r"[0-9]{1,10}", re.ASCII)
_SHORT_ADDRESS: Final = 7  # of PCI, without the domain
_CDI_ALL: Final[Mapping[str, str]] = MappingProxyType(
    {"nvidia.com/gpu=all": "10de", "nvidia.com/igpu=all": "10de", "amd.com/gpu=all": "1002"}
)
_DISPLAY: Final = 0x03


def taken_by(entry: Entry, kind: str) -> Iterator[Claim]:
    """What the server gives by this entry to an instance of this kind that runs."""
    config = entry.config
    reads = _READ.get(config.get("type", ""))
    if reads is not None and kind in reads[0] and config.get("attached", "").lower() in _TRUE:
        yield from reads[1](config)


def given(claim: Claim) -> Shape:
    """Which of the claim's texts are given."""
    return (*map(bool, claim[1:]),)


def claims_on(device: Device, shapes: Mapping[str, Collection[Shape]]) -> Iterator[Claim]:
    """The claims by which an entry would take this device.

    shapes  of which kinds and shapes there are any claims: no others are made
    """
    for kind, wanted in shapes.items():
        texts = _FACTS[kind](device) if wanted else None
        if texts is None:
            continue
        for shape in wanted:
            if kind == "unix-hotplug" and shape[_SUBSYSTEM] and device.subsystem.startswith("usb"):
                continue
            for each in itertools.product(
                *(text if needed else ("",) for text, needed in zip(texts, shape, strict=True))
            ):
                yield (kind, *each)


# --- entries ------------------------------------------------------------------------------------------


def _node_claims(config: Mapping[str, str]) -> Iterator[Claim]:
    kind = config["type"].removeprefix("unix-")
    major, minor = config.get("major", ""), config.get("minor", "")
    if not major and not minor:
        yield from _path_claim(kind, config.get("source") or config.get("path", ""))
    elif _NUMBER.fullmatch(major) and _NUMBER.fullmatch(minor):
        yield ("number", kind, str(int(major)), str(int(minor)))


def _disk_claims(config: Mapping[str, str]) -> Iterator[Claim]:
    if not config.get("pool"):
        yield from _path_claim("node", config.get("source", ""))


def _path_claim(kind: str, path: str) -> Iterator[Claim]:
    if path:
        yield (kind, normpath("/" + path.lstrip("/")))


def _usb_claims(config: Mapping[str, str]) -> Iterator[Claim]:
    yield from _by_keys("usb", config, _USB)


def _hotplug_claims(config: Mapping[str, str]) -> Iterator[Claim]:
    if any(config.get(key) for key in _HOTPLUG):
        yield from _by_keys("unix-hotplug", config, _HOTPLUG)


def _gpu_claims(config: Mapping[str, str]) -> Iterator[Claim]:
    if vendor := _CDI_ALL.get(config.get("id", "")):
        yield ("gpu", vendor, "", "", "")
        return
    whole = dict(config)
    if whole.get("pci"):
        whole["pci"] = _address(whole["pci"])
    yield from _by_keys("gpu", whole, _GPU, known=whole.get("gputype", "") in _GPUS)


def _by_keys(
    kind: str, config: Mapping[str, str], keys: Sequence[str], *, known: bool = True
) -> Iterator[Claim]:
    texts = [config.get(key, "") for key in keys]
    known = known and all(key in keys or key in _HOW or key.startswith("user.") for key in config)
    if known or any(texts):
        yield (kind, *texts)


def _pci_claims(config: Mapping[str, str]) -> Iterator[Claim]:
    if config.get("address"):
        yield ("pci", _address(config["address"]))


def _nic_claims(config: Mapping[str, str]) -> Iterator[Claim]:
    if config.get("nictype") not in _HANGING:
        return
    yield from _interface_claims(config)
    if config.get("parent") and config.get("vlan"):
        yield ("nic", f"{config['parent']}.{config['vlan']}")
    if config["nictype"] == "sriov" and config.get("pci"):
        yield ("pci", _address(config["pci"]))


def _interface_claims(config: Mapping[str, str]) -> Iterator[Claim]:
    if config.get("parent"):
        yield ("nic", config["parent"])


def _address(text: str) -> str:
    """A PCI address as the kernel writes it (LXD and Incus: device/pci, NormaliseAddress)."""
    return (f"0000:{text}" if len(text) == _SHORT_ADDRESS else text).lower()


_CONTAINERS: Final = frozenset({"container"})
_MACHINES: Final = frozenset({"virtual-machine"})
_BOTH: Final = _CONTAINERS | _MACHINES
_READ: Final[Mapping[str, tuple[frozenset[str], Callable[[Mapping[str, str]], Iterator[Claim]]]]] = (
    MappingProxyType(
        {
            "unix-char": (_CONTAINERS, _node_claims),
            "unix-block": (_CONTAINERS, _node_claims),
            "unix-hotplug": (_CONTAINERS, _hotplug_claims),
            "usb": (_BOTH, _usb_claims),
            "gpu": (_BOTH, _gpu_claims),
            "pci": (_MACHINES, _pci_claims),
            "nic": (_BOTH, _nic_claims),
            "infiniband": (_BOTH, _interface_claims),
            "disk": (_BOTH, _disk_claims),
        }
    )
)


def alone(instance: Instance, claim: Claim) -> bool:
    """Whether the instance cannot start without what it takes by this claim, and nobody else has it then."""
    kind = claim[0]
    return kind in ("nic", "pci") or (kind == "gpu" and instance.kind == "virtual-machine")


# --- devices ------------------------------------------------------------------------------------------

_Facts = tuple[Sequence[str], ...] | None
"""The values that a device has for each of the texts of a claim; None where it is nothing of that kind."""


def _any_facts(device: Device) -> _Facts:
    return (_paths(device),) if device.devnum is not None else None


def _kind_facts(kind: str) -> Callable[[Device], _Facts]:
    def facts(device: Device) -> _Facts:
        return _any_facts(device) if device.devnum is not None and device.devnum.kind == kind else None

    return facts


def _number_facts(device: Device) -> _Facts:
    number = device.devnum
    return ((number.kind,), (str(number.major),), (str(number.minor),)) if number is not None else None


def _interface_facts(device: Device) -> _Facts:
    return ((device.kernel,),) if device.subsystem == "net" else None


def _pci_facts(device: Device) -> _Facts:
    return ((device.pci.kernel,),) if device.pci is not None else None


def _paths(device: Device) -> list[str]:
    """Where the node is, and the links to it: udev's, the ones that udev makes for each node, and ours."""
    found = [
        *device.properties.get("DEVLINKS", "").split(),
        *((*slot_links(device.slot), slot_node(device.slot)) if device.slot else ()),
    ]
    if device.node:
        found.append(device.node)
    if device.devnum is not None:
        found.append(f"/dev/{device.devnum.kind}/{device.devnum.major}:{device.devnum.minor}")
    return list(dict.fromkeys(found))


def _usb_facts(device: Device) -> _Facts:
    if not device.is_usb_device:
        return None
    return (
        _some(_sysfs(device, "idVendor", "ID_VENDOR_ID")),
        _some(_sysfs(device, "idProduct", "ID_MODEL_ID")),
        _some(_sysfs(device, "serial", "ID_SERIAL_SHORT").strip()),
        _some(device.properties.get("BUSNUM", "").lstrip("0")),
        _some(device.properties.get("DEVNUM", "").lstrip("0")),
    )


def _sysfs(device: Device, attr: str, name: str) -> str:
    return device.attrs.get(attr) or device.properties.get(name, "")


def _hotplug_facts(device: Device) -> _Facts:
    if device.devnum is None or not device.node or not device.devnum.major:
        return None
    vendor, product = (_udev(device, name) for name in ("ID_VENDOR_ID", "ID_MODEL_ID"))
    known = bool(vendor and product)
    return (
        _some(vendor.rjust(4, "0") if known else ""),
        _some(product.rjust(4, "0") if known else ""),
        (device.subsystem,),
        _some(_controller(device) if known else ""),
    )


def _udev(device: Device, name: str) -> str:
    """The node's own property, or else that of the USB device: udev gives it to most that hang from one."""
    usb = device.usb
    return device.properties.get(name) or (usb.properties.get(name, "") if usb is not None else "")


def _controller(device: Device) -> str:
    """The address of the PCI controller whose USB bus the device is on.

    Incus takes it from the path; a device without a path like that has it above.
    """
    path = device.syspath.removeprefix("/sys")
    above, _, below = path.partition("/usb")
    if path.startswith("/devices/pci") and below:
        return above.rpartition("/")[2]
    buses = device.ancestors() if device.usb is not None else ()
    return next((each.kernel for each in buses if each.subsystem == "pci"), "")


def _gpu_facts(device: Device) -> _Facts:
    if device.subsystem != "drm" and not (device.subsystem == "pci" and _is_display(device)):
        return None
    pci = device.pci
    ids = pci.properties.get("PCI_ID", "").lower().split(":") if pci is not None else []
    vendor, product = ids if len(ids) == 2 else ("", "")  # noqa: PLR2004
    address = pci.kernel if pci is not None else ""
    return _some(vendor), _some(product), _some(address), _some(_card(device.kernel))


def _card(kernel: str) -> str:
    """The number by which the server knows a card. That of a render node is another."""
    number = kernel.removeprefix("card")
    return number if number != kernel and _NUMBER.fullmatch(number) else ""


def _is_display(device: Device) -> bool:
    """Whether a PCI device is a display adapter, by its class as the kernel writes it: 30000."""
    text = device.properties.get("PCI_CLASS", "")
    return bool(re.fullmatch("[0-9A-Fa-f]{5,6}", text)) and int(text, 16) >> 16 == _DISPLAY


def _some(text: str) -> Sequence[str]:
    return (text,) if text else ()


_FACTS: Final[Mapping[str, Callable[[Device], _Facts]]] = MappingProxyType(
    {
        "node": _any_facts,
        "char": _kind_facts("char"),
        "block": _kind_facts("block"),
        "number": _number_facts,
        "nic": _interface_facts,
        "pci": _pci_facts,
        "usb": _usb_facts,
        "unix-hotplug": _hotplug_facts,
        "gpu": _gpu_facts,
    }
)
