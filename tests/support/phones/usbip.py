"""The USB/IP protocol, the device's side, big-endian (Documentation/usb/usbip_protocol.rst)."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from typing import Final

_HEADER: Final = struct.Struct(">5I")  # command, seqnum, devid, direction, endpoint
_SUBMIT: Final = struct.Struct(">IiiIi8s")  # flags, length, start frame, packets, interval, setup
_RETURN: Final = struct.Struct(">5I iiiii 8x")
_UNLINK: Final = struct.Struct(">I 24x")
_UNLINKED: Final = struct.Struct(">5I i 24x")
_CMD_SUBMIT, _CMD_UNLINK, _RET_SUBMIT, _RET_UNLINK = 1, 2, 3, 4

OK: Final = 0
STALL: Final = -32  # EPIPE
_RESET: Final = -104  # ECONNRESET


class Yanked(Exception):
    """The socket was closed: the port is empty."""


class Garbled(Exception):
    """What came is no USB/IP request."""


@dataclass(frozen=True, slots=True)
class Submit:
    """A request for a transfer.

    endpoint  its number, without the direction
    inward    whether the host wants data
    length    how much it wants at most; of an outward one all of `data`
    setup     the eight bytes of a control request
    """

    number: int
    endpoint: int
    inward: bool
    length: int
    setup: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class Unlink:
    """The host takes an earlier request back."""

    number: int
    earlier: int


def receive(connection: socket.socket) -> Submit | Unlink:
    """The next request. Raises Yanked at the end, Garbled."""
    command, number, _, inward, endpoint = _HEADER.unpack(_exactly(connection, _HEADER.size))
    rest = _exactly(connection, _SUBMIT.size)
    if command == _CMD_UNLINK:
        return Unlink(number, _UNLINK.unpack(rest)[0])
    if command != _CMD_SUBMIT:
        raise Garbled(f"expected CMD_SUBMIT or CMD_UNLINK, and found {command}")
    _, length, _, _, _, setup = _SUBMIT.unpack(rest)
    if length < 0:
        raise Garbled(f"expected a length, and found {length}")
    data = b"" if inward else _exactly(connection, length)
    return Submit(number, endpoint, bool(inward), length, setup, data)


def answer(request: Submit, status: int, data: bytes = b"") -> bytes:
    """The answer to a request: what the device sends, or that it took all it was sent."""
    sent = data[: request.length] if request.inward else b""
    count = len(sent) if request.inward else len(request.data) if status == OK else 0
    return _RETURN.pack(_RET_SUBMIT, request.number, 0, 0, 0, status, count, 0, 0, 0) + sent


def unlinked(request: Unlink, *, pending: bool) -> bytes:
    """The answer to one that is taken back: it was still pending, or had its answer already."""
    return _UNLINKED.pack(_RET_UNLINK, request.number, 0, 0, 0, _RESET if pending else OK)


def _exactly(connection: socket.socket, count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        try:
            part = connection.recv(count - len(parts))
        except OSError:
            part = b""
        if not part:
            raise Yanked
        parts += part
    return bytes(parts)
