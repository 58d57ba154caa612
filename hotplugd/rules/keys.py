"""What a device has to say to each key that a rule can match on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from hotplugd.model.values import Device

_HEX_PREFIX: Final = "0x"
UDEV_INTERFACES: Final = 72
"""As many interfaces fit into ID_USB_INTERFACES (systemd: src/udev/udev-builtin-usb_id.c)."""


def values(device: Device, key: str) -> tuple[str, ...]:
    """The values that a match key can match on; none where the device has none, the most specific first.

    key  one of MATCH_KEYS, or `property.NAME` or `attr.NAME`. Raises KeyError for any other.

    KeyTest are as udev or sysfs has them, and what a device says about itself is hostile; only numbers in
    hex are normalized (no 0x, lower case).
    """
    group, dot, name = key.partition(".")
    if dot:
        found = _GROUPS[group](device).get(name)
        return () if found is None else (found,)
    return (*filter(None, _VALUES[key](device)),)


def describe(device: Device) -> dict[str, list[str]]:
    """All that single keys of a `match` could match on, by key; a key without a value is left out."""
    found = {key: list(values(device, key)) for key in MATCH_KEYS}
    return {key: each for key, each in found.items() if each}


def _vendor_id(device: Device) -> tuple[str, ...]:
    return (_number(device, "ID_VENDOR_ID", "idVendor"),)


def _product_id(device: Device) -> tuple[str, ...]:
    return (_number(device, "ID_MODEL_ID", "idProduct"),)


def _id(device: Device) -> tuple[str, ...]:
    vendor, product = _vendor_id(device)[0], _product_id(device)[0]
    return (f"{vendor}:{product}",) if vendor and product else ()


def _serial(device: Device) -> tuple[str, ...]:
    return (_own_or_usb(device, "ID_SERIAL_SHORT") or _usb_attr(device, "serial"),)


def _number(device: Device, name: str, attr: str) -> str:
    found = _own_or_usb(device, name) or _usb_attr(device, attr)
    return found.strip().lower().removeprefix(_HEX_PREFIX)


def _port(device: Device) -> tuple[str, ...]:
    """The name of the USB device's port, and the one that the same socket has at the other USB speed."""
    usb = device.usb
    return (usb.kernel, usb.attrs.get("peer", "")) if usb is not None else ()


def _path(device: Device) -> tuple[str, ...]:
    """Udev's ID_PATH, and for USB the one that also says which of a controller's two buses it is on.

    Each of the two numbers its ports from 1, and in ID_PATH they look the same: `usbv2` and `usbv3` tell
    them apart, as in ID_PATH_WITH_USB_REVISION, which udev has since systemd 254. A root hub's product
    number, which is the kernel's, is the revision.
    """
    own = device.properties.get("ID_PATH", "")
    before, usb, after = own.partition("-usb-")
    if not usb:
        return (own,)
    hubs = [each for each in device.ancestors() if each.is_usb_device and each.kernel.startswith("usb")]
    revision = hubs[0].attrs.get("idProduct", "").removeprefix("000") if hubs else ""
    return (own, f"{before}-usbv{revision}-{after}") if revision in ("1", "2", "3") else (own,)


def _interface(device: Device) -> tuple[str, ...]:
    """All that the descriptors have; udev's property, which is cut, only where nobody could read them.

    `:ff4201:080650:` is ff:42:01 and 08:06:50.
    """
    if device.usb is not None and device.usb.descriptors is not None:
        return device.usb.descriptors.interfaces
    found = _own_or_usb(device, "ID_USB_INTERFACES").lower()
    return tuple(f"{each[:2]}:{each[2:4]}:{each[4:]}" for each in found.split(":") if len(each) == 6)  # noqa: PLR2004


def hidden_interfaces(device: Device) -> str:
    """Why the USB device that it is, or hangs from, may have interfaces that no rule sees; or empty."""
    if device.usb is None:
        return ""
    if device.usb.descriptors is not None:
        return device.usb.descriptors.fault
    if len(_interface(device)) >= UDEV_INTERFACES:
        return f"udev keeps {UDEV_INTERFACES} of them"
    return ""


def _mac(device: Device) -> tuple[str, ...]:
    """The permanent address; the present one of an interface that has no other."""
    if device.subsystem != "net":
        return ()
    return ((device.attrs.get("permanent_address") or device.attrs.get("address", "")).lower(),)


def _own_or_usb(device: Device, name: str) -> str:
    """A property of the device, or else of the USB device that it hangs from."""
    own = device.properties.get(name, "")
    if own or device.usb is None:
        return own
    return device.usb.properties.get(name, "")


def _usb_attr(device: Device, name: str) -> str:
    return device.usb.attrs.get(name, "") if device.usb is not None else ""


_VALUES: Final[Mapping[str, Callable[[Device], tuple[str, ...]]]] = MappingProxyType(
    {
        "subsystem": lambda device: (device.subsystem,),
        "devtype": lambda device: (device.devtype,),
        "kernel": lambda device: (device.kernel,),
        "driver": lambda device: (device.driver,),
        "id": _id,
        "vendor_id": _vendor_id,
        "product_id": _product_id,
        "serial": _serial,
        "port": _port,
        "path": _path,
        "interface": _interface,
        "mac": _mac,
    }
)
_GROUPS: Final[Mapping[str, Callable[[Device], Mapping[str, str]]]] = MappingProxyType(
    {"property": lambda device: device.properties, "attr": lambda device: device.attrs}
)

MATCH_KEYS: Final = tuple(_VALUES)
"""The keys that match a device by one value of its own; a template may name the same ones."""

SINGLE: Final = frozenset(MATCH_KEYS) - {"port", "path", "interface"}
"""Those of which a device has one value at most."""
