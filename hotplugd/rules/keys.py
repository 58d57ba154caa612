"""The match keys of the rule language, one row each. Everything that depends on a key is made from its row.

Values are as udev or sysfs has them, and what a device says of itself is hostile; only numbers in hex are
normalized (no 0x, lower case).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final

from hotplugd.model.values import Device
from hotplugd.rules.hubs import Hubs
from hotplugd.rules.udev_serial import as_udev

_HEX_PREFIX: Final = "0x"
UDEV_INTERFACES: Final = 72
"""The number of interfaces that ID_USB_INTERFACES has room for (systemd: src/udev/udev-builtin-usb_id.c)."""


class Form(Enum):
    """How a key's values are written; the text is the reference page's."""

    TEXT = "any text"
    NUMBER = "four hex digits"
    ID = "two numbers of four hex digits, with a colon between"
    INTERFACE = "three numbers of two hex digits, with colons between"
    MAC = "six pairs of hex digits, with colons between"
    PORT = "bus-port, and .port for each hub between"
    LOCATION = "hub/port, as `hubs` names them"

    @property
    def is_hex(self) -> bool:
        """Whether upper and lower case mean the same."""
        return self not in (Form.TEXT, Form.PORT, Form.LOCATION)

    @property
    def has_colons(self) -> bool:
        """Whether a value has colons, which no instance's name can have."""
        return self in (Form.ID, Form.INTERFACE, Form.MAC)

    def in_template(self, value: str) -> str:
        """A value as a template has it: no name can have a slash, so shelf-1/4 is shelf-1-4."""
        return value.replace("/", "-") if self is Form.LOCATION else value


@dataclass(frozen=True, slots=True)
class MatchKey:
    """A key that rules compare with values of a device.

    name    in rules, templates and JSON; dotted for one property or attribute: `property.ID_FS_TYPE`
    values  returns a device's values, the most specific first; none where the device has none
    about   one line of documentation
    form    how a value is written
    udev    the key of udev's rules that has the value (udev(7)); empty: none. Of Form.ID one for each number
    usb     likewise, of a USB device itself, where that is another
    same    whether udev's key has exactly these values, for every device
    rank    the index files a rule under its key of the lowest rank; None: the index does not use this key
    column  whether `hotplugd devices` has a column for it
    listed  whether JSON has a list of all values, and not the first one alone
    single  whether a device has one value at most
    always  whether every device has a value
    early   of a USB device that udevd has not processed yet: whether its values are all that it will have.
            They are the first of these in any case. None: nothing is known before udevd
    place   whether it says where a device is plugged in
    named   makes of a device's value what a template has, where that is not as its form says
    aliases what udev and other programs call it, in lower case
    """

    name: str
    values: Callable[[Device], tuple[str, ...]] = field(repr=False, compare=False)
    about: str = field(repr=False)
    form: Form = Form.TEXT
    udev: str = ""
    usb: str = ""
    same: bool = False
    rank: int | None = None
    column: bool = False
    listed: bool = False
    single: bool = True
    always: bool = False
    early: Callable[[Device], bool] | None = field(default=None, repr=False, compare=False)
    place: bool = False
    named: Callable[[Device, str], str] | None = field(default=None, repr=False, compare=False)
    aliases: tuple[str, ...] = ()

    def in_template(self, device: Device, value: str) -> str:
        """A value of the device as a template has it."""
        return self.named(device, value) if self.named is not None else self.form.in_template(value)


@dataclass(frozen=True, slots=True)
class KeyGroup:
    """Keys that a rule names one by one: `property` and `attr`.

    texts   returns a device's values by name
    udev    the key of udev's rules that takes the names in braces
    paths   whether a name may be a path below the device's folder in sysfs
    example what a hint shows
    """

    name: str
    texts: Callable[[Device], Mapping[str, str]] = field(repr=False, compare=False)
    about: str = field(repr=False)
    udev: str
    example: str
    paths: bool = False
    aliases: tuple[str, ...] = ()

    def key(self, name: str) -> MatchKey:
        """The key for one name. A value that is an empty text is a value."""

        def values(device: Device) -> tuple[str, ...]:
            text = self.texts(device).get(name)
            return () if text is None else (text,)

        return MatchKey(
            f"{self.name}.{name}", values, self.about, udev=f"{self.udev}{{{name}}}", single=False
        )


def kernels(_: Device) -> bool:
    """The values are the kernel's alone."""
    return True


def _texts(*texts: str) -> tuple[str, ...]:
    """The texts that are not empty."""
    return (*filter(None, texts),)


def _own_or_usb(device: Device, name: str, attr: str) -> str:
    """A USB device's attribute in sysfs, which is the kernel's and which no udev rule can change.

    Of others the property, or else that of the USB device that it hangs from, or that one's attribute.
    """
    if device.is_usb_device:
        return device.attrs.get(attr, "").strip(" ")
    text = device.properties.get(name, "")
    if text or device.usb is None:
        return text
    return device.usb.properties.get(name, "") or device.usb.attrs.get(attr, "")


def _serial_named(device: Device, serial: str) -> str:
    """A serial number in a name or path: a USB device chooses no folder, and blanks are in neither."""
    return (as_udev(serial) or serial.replace("/", "_")) if device.is_usb_device else serial


def _number(device: Device, name: str, attr: str) -> str:
    return _own_or_usb(device, name, attr).strip().lower().removeprefix(_HEX_PREFIX)


def _vendor(device: Device) -> str:
    return _number(device, "ID_VENDOR_ID", "idVendor")


def _product(device: Device) -> str:
    return _number(device, "ID_MODEL_ID", "idProduct")


def _id(device: Device) -> tuple[str, ...]:
    vendor, product = _vendor(device), _product(device)
    return (f"{vendor}:{product}",) if vendor and product else ()


def _port(device: Device) -> tuple[str, ...]:
    """The name of the USB device's port, and the one that the same socket has at the other USB speed."""
    usb = device.usb
    return _texts(usb.kernel, usb.attrs.get("peer", "")) if usb is not None else ()


def _has_all_ports(device: Device) -> bool:
    """Whether the socket has no other name than those known.

    The other half of a hub, or of one above it, may come later; not where no socket above has two names.
    """
    peers = (each.attrs.get("peer") for each in device.ancestors())
    return bool(device.attrs.get("peer")) or not any(peers)


def _path(device: Device) -> tuple[str, ...]:
    """Udev's ID_PATH, and for USB the one that also says which of a controller's two buses it is on.

    Both buses number their ports from 1, and ID_PATH does not tell them apart: `usbv2` and `usbv3` do, as in
    ID_PATH_WITH_USB_REVISION, which udev has since systemd 254. The product number of a root hub, which the
    kernel gives it, is the revision.
    """
    path = device.properties.get("ID_PATH", "")
    before, usb, after = path.partition("-usb-")
    if not usb:
        return _texts(path)
    roots = [above for above in device.ancestors() if above.is_usb_device and above.kernel.startswith("usb")]
    revision = roots[0].attrs.get("idProduct", "").removeprefix("000") if roots else ""
    return (path, f"{before}-usbv{revision}-{after}") if revision in ("1", "2", "3") else (path,)


def _interface(device: Device) -> tuple[str, ...]:
    """All interfaces of the descriptors, which are the kernel's; where it shows none, udev's, which are cut.

    `:ff4201:080650:` is ff:42:01 and 08:06:50.
    """
    if device.usb is not None and device.usb.descriptors is not None:
        return device.usb.descriptors.interfaces
    usb = device.usb if device.usb is not None else device
    text = device.properties.get("ID_USB_INTERFACES") or usb.properties.get("ID_USB_INTERFACES", "")
    digits = text.lower().split(":")
    return tuple(f"{six[:2]}:{six[2:4]}:{six[4:]}" for six in digits if len(six) == 6)  # noqa: PLR2004


def hidden_interfaces(device: Device) -> str:
    """Why rules may not see every interface of the USB device that it is, or hangs from; or empty."""
    if device.usb is None:
        return ""
    if device.usb.descriptors is not None:
        return device.usb.descriptors.fault
    if len(_interface(device)) >= UDEV_INTERFACES:
        return f"udev keeps {UDEV_INTERFACES} of them"
    return ""


def _mac(device: Device) -> tuple[str, ...]:
    """The permanent address; the present one of an interface that has no other. One of zeros is none: virtual
    functions have that until somebody gives them one.
    """
    if device.subsystem != "net":
        return ()
    address = (device.attrs.get("permanent_address") or device.attrs.get("address", "")).lower()
    return _texts(address if address.strip("0:") else "")


SUBSYSTEM: Final = MatchKey(
    "subsystem", lambda device: _texts(device.subsystem),
    "udev's SUBSYSTEM: tty, block, net, ... Without it a rule means USB devices (usb, usb_device).",
    udev="SUBSYSTEM", same=True, rank=12, column=True, always=True, early=kernels,
)  # fmt: skip
DEVTYPE: Final = MatchKey(
    "devtype", lambda device: _texts(device.devtype),
    "udev's DEVTYPE: usb_device, usb_interface, disk, partition, ...",
    udev="ENV{DEVTYPE}", same=True, rank=11, early=kernels,
)  # fmt: skip
KERNEL: Final = MatchKey(
    "kernel", lambda device: _texts(device.kernel), "The kernel's name of the device: ttyUSB0, sdb, 1-4.2.",
    udev="KERNEL", same=True, rank=6, column=True, always=True, early=kernels,
)  # fmt: skip
DRIVER: Final = MatchKey(
    "driver", lambda device: _texts(device.driver), "The driver that is bound to the device.",
    udev="DRIVER", rank=10, column=True,
)  # fmt: skip
ID: Final = MatchKey(
    "id", _id, "vendor:product in hex, as lsusb prints it: 0403:6001.",
    Form.ID, udev="ENV{ID_VENDOR_ID}:ENV{ID_MODEL_ID}", usb="ATTR{idVendor}:ATTR{idProduct}", rank=5,
    column=True, early=kernels,
)  # fmt: skip
VENDOR_ID: Final = MatchKey(
    "vendor_id", lambda device: _texts(_vendor(device)), "The vendor's number: four hex digits.",
    Form.NUMBER, udev="ENV{ID_VENDOR_ID}", usb="ATTR{idVendor}", rank=8, early=kernels,
    aliases=("vendor", "vendorid", "vid", "idvendor", "id_vendor_id"),
)  # fmt: skip
PRODUCT_ID: Final = MatchKey(
    "product_id", lambda device: _texts(_product(device)), "The product's number: four hex digits.",
    Form.NUMBER, udev="ENV{ID_MODEL_ID}", usb="ATTR{idProduct}", rank=7, early=kernels,
    aliases=("product", "productid", "pid", "idproduct", "id_model_id"),
)  # fmt: skip
SERIAL: Final = MatchKey(
    "serial", lambda device: _texts(_own_or_usb(device, "ID_SERIAL_SHORT", "serial")),
    "The serial number, of the device or the USB device that it hangs from. A USB device's is what it says "
    "itself, with blanks; udev's, in which `_` stands for them, is `property: {ID_SERIAL_SHORT: …}`.",
    udev="ENV{ID_SERIAL_SHORT}", usb="ATTR{serial}", rank=0, column=True,
    early=kernels, named=_serial_named, aliases=("id_serial_short", "serial_number"),
)  # fmt: skip
PORT: Final = MatchKey(
    "port", _port,
    "The USB port: 1-4.2. It stays when the device is replugged there. Its first number is the "
    "bus's, which another boot may give to another controller: with several of them use `path`.",
    Form.PORT, udev="KERNEL", rank=3, column=True, listed=True, single=False, place=True,
    early=_has_all_ports,
)  # fmt: skip
PATH: Final = MatchKey(
    "path", _path,
    "Where the device is connected, whatever number its bus has: udev's ID_PATH, "
    "pci-0000:00:14.0-usb-0:4.2. What hangs from a USB device has the interface at its end: "
    "…:4.2:1.0, or …:4.2:* for any. With usbv2 or usbv3 for usb it means one of a controller's two "
    "buses alone.",
    udev="ENV{ID_PATH}", rank=4, column=True, single=False, place=True, aliases=("id_path",),
)  # fmt: skip
LOCATION: Final = MatchKey(
    "location", lambda _: (),
    "The port of a hub by its name: shelf-1/4, or shelf-1/* for any port of that hub. The section `hubs` "
    "gives the names. Templates have a dash for the slash: shelf-1-4.",
    Form.LOCATION, udev="ENV{ID_PATH}", rank=2, place=True, aliases=("hub", "socket"),
)  # fmt: skip
INTERFACE: Final = MatchKey(
    "interface", _interface,
    "class:subclass:protocol of any of the USB device's interfaces, in hex: ff:42:01; in whichever "
    "configuration and alternate setting.",
    Form.INTERFACE, udev="ENV{ID_USB_INTERFACES}", rank=9, column=True, listed=True, single=False,
    early=lambda device: device.descriptors is not None,
    aliases=("id_usb_interfaces", "interfaces"),
)  # fmt: skip
MAC: Final = MatchKey(
    "mac", _mac, "A network interface's permanent hardware address: 00:e0:4c:68:01:02.",
    Form.MAC, udev="ATTR{address}", rank=1, column=True, early=kernels,
    aliases=("macaddress", "address", "hwaddr"),
)  # fmt: skip

KEYS: Final = (
    SUBSYSTEM, DEVTYPE, KERNEL, DRIVER, ID, VENDOR_ID, PRODUCT_ID, SERIAL, PORT, PATH, LOCATION, INTERFACE,
    MAC,
)  # fmt: skip
"""The registry. Functions that depend on every key take it as a value, and this one unless told otherwise.
No hub has a name here."""


def keys_with(hubs: Hubs, keys: Sequence[MatchKey] = KEYS) -> tuple[MatchKey, ...]:
    """A registry whose `location` is that of these hubs; it has a column where there are any."""
    if not hubs.hubs:
        return tuple(keys)

    def values(device: Device) -> tuple[str, ...]:
        return _texts(hubs.location(device))

    named = replace(LOCATION, values=values, column=True)
    return tuple(named if key.name == LOCATION.name else key for key in keys)


PROPERTY: Final = KeyGroup(
    "property", lambda device: device.properties, "udev's properties (ENV): name and pattern.",
    "ENV", '{ID_MODEL: "Pixel*"}', aliases=("env", "properties"),
)  # fmt: skip
ATTR: Final = KeyGroup(
    "attr", lambda device: device.attrs, "sysfs attributes (ATTR): name and pattern.",
    "ATTR", '{bMaxPower: "500mA"}', paths=True, aliases=("attributes",),
)  # fmt: skip
GROUPS: Final = (PROPERTY, ATTR)
