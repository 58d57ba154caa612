"""What the guest asks of whoever holds its hardware, and the answer: one line of JSON each.

    {"number": 1, "name": "stick", "port": 3, "kind": "usb-storage", "identity": "S123"}    plug it
    {"number": 1, "error": ""}
    {"number": 2, "name": "stick"}                                                          pull it
    {"number": 2, "error": "nothing here is called 'stick'"}

The lines go through a serial port of the machine, see PORT. Requests are carried out one after the other, and
each has one answer with its number; a line that is no request is answered with the number 0.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final, Literal, cast, get_args

# The port's name; udev in the guest makes /dev/virtio-ports/<name>.
PORT: Final = "hands"
# Where the sockets for hardware are on the machine's PCI bus 0000:00, as QEMU and Linux count. A display
# adapter, too, has room for its memory in each of the SLOTS.
CONTROLLER: Final = 0x18
SLOTS: Final = {port: 0x0F + port for port in (1, 2, 3, 4)}
# What cannot be plugged, and the guest takes out and finds again instead: a display adapter that renders.
SOLDERED: Final = 0x1C
# Each is one for USB 2 and USB 3.
USB_PORTS: Final = 8
LONGEST: Final = 4096

UsbKind = Literal["usb-net", "usb-storage", "usb-serial", "usb-kbd"]
PciKind = Literal["e1000e", "virtio-net-pci", "secondary-vga"]
Kind = UsbKind | PciKind
USB_KINDS: Final[tuple[UsbKind, ...]] = get_args(UsbKind)
PCI_KINDS: Final[tuple[PciKind, ...]] = get_args(PciKind)


class Malformed(ValueError):
    """A line that is neither a request nor an answer."""


@dataclass(frozen=True, slots=True)
class Plug:
    """Plug a piece of hardware in.

    name      to pull it by; a letter, then letters, digits and dashes
    kind      as QEMU calls the device; `usb-storage` has two partitions, and what was written to the last one
              of its name
    port      from 1 on: of the USB controller, or one of SLOTS
    identity  the MAC address of a network adapter, the serial number of what else is on USB; else empty
    """

    number: int
    name: str
    kind: Kind
    port: int
    identity: str = ""


@dataclass(frozen=True, slots=True)
class Pull:
    """Take out what was plugged in under this name. It is gone from the machine when the answer comes."""

    number: int
    name: str


@dataclass(frozen=True, slots=True)
class Answer:
    """Empty where the request was carried out, else what was in the way; then nothing has changed."""

    number: int
    error: str = ""


def line(message: Plug | Pull | Answer) -> bytes:
    """As it is sent."""
    return json.dumps(asdict(message)).encode() + b"\n"


def request(raw: bytes) -> Plug | Pull:
    """Read a request. Raises Malformed."""
    found = _object(raw)
    number, name = _number(found, "number"), _text(found, "name")
    if "kind" not in found:
        _only(found, {"number", "name"})
        return Pull(number, name)
    _only(found, {"number", "name", "kind", "port", "identity"})
    kind = _text(found, "kind")
    if kind not in (*USB_KINDS, *PCI_KINDS):
        raise Malformed(f"expected one of {', '.join((*USB_KINDS, *PCI_KINDS))}, and found {kind!r}")
    return Plug(number, name, kind, _number(found, "port"), _text({"identity": "", **found}, "identity"))


def answer(raw: bytes) -> Answer:
    """Read an answer. Raises Malformed."""
    found = _object(raw)
    _only(found, {"number", "error"})
    return Answer(_number(found, "number"), _text(found, "error"))


def _object(raw: bytes) -> Mapping[str, object]:
    try:
        found = json.loads(raw)
    except ValueError as error:
        raise Malformed(f"expected a line of JSON: {error}") from error
    if not isinstance(found, dict):
        raise Malformed(f"expected an object, and found {found!r}")
    return cast("Mapping[str, object]", found)


def _only(found: Mapping[str, object], known: set[str]) -> None:
    unknown = found.keys() - known
    if unknown:
        raise Malformed(f"expected {', '.join(sorted(known))}, and found {', '.join(sorted(unknown))} too")


def _number(found: Mapping[str, object], key: str) -> int:
    value = found.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise Malformed(f"expected a number as {key}, and found {value!r}")
    return value


def _text(found: Mapping[str, object], key: str) -> str:
    value = found.get(key)
    if not isinstance(value, str):
        raise Malformed(f"expected text as {key}, and found {value!r}")
    return value
