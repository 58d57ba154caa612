"""One enumeration of a device: what it says of itself (USB 2.0, chapter 9), and its transfers."""

from __future__ import annotations

import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from tests.support.phones import usbip
from tests.support.phones.usbip import OK, STALL, Submit, Unlink

_LONGEST_STRING: Final = 126  # UTF-16 units: a descriptor's length is one byte
_ENGLISH: Final = struct.pack("<BBH", 4, 3, 0x0409)
_GET_STATUS, _GET_DESCRIPTOR, _GET_CONFIGURATION, _GET_INTERFACE = 0, 6, 8, 10
_SETTLED: Final = frozenset({1, 3, 9, 11})  # features, configuration, interface: there is one of each
_DEVICE, _CONFIGURATION, _STRING, _BOS = 1, 2, 3, 15
# USB 2.0 extension and SuperSpeed capabilities (USB 3.2, 9.6.2).
_CAPABILITIES: Final = bytes.fromhex("050f16000207100202000000 0a1003000e00010aff07")


class Speed(IntEnum):
    """As the kernel counts them (include/uapi/linux/usb/ch9.h)."""

    LOW = 1
    FULL = 2
    HIGH = 3
    SUPER = 5


@dataclass(frozen=True, slots=True)
class Endpoint:
    """address has the direction in bit 7; kind is 2 for bulk, 3 for interrupt."""

    address: int
    kind: int = 2


@dataclass(frozen=True, slots=True)
class Interface:
    """triple is class, subclass and protocol."""

    triple: tuple[int, int, int]
    endpoints: tuple[Endpoint, ...] = ()


@dataclass(frozen=True, slots=True)
class Identity:
    """What is in the descriptors. A string that is None is not there at all; lone surrogates are sent.

    configurations  whole, as they are on the wire; where left out, one is made of the interfaces
    """

    vendor_id: int
    product_id: int
    serial: str | None
    interfaces: Sequence[Interface]
    manufacturer: str | None = "Acme"
    product: str | None = "Thing"
    release: int = 0x0100
    speed: Speed = Speed.HIGH
    configurations: tuple[bytes, ...] = ()

    def device(self) -> bytes:
        """The device descriptor."""
        fast = self.speed is Speed.SUPER
        strings = (self.manufacturer, self.product, self.serial)
        numbers = [index if text is not None else 0 for index, text in enumerate(strings, 1)]
        return struct.pack(
            "<BBHBBBBHHHBBBB", 18, _DEVICE, 0x0300 if fast else 0x0200, 0, 0, 0, 9 if fast else 64,
            self.vendor_id, self.product_id, self.release, *numbers,
            len(self.configurations) or 1,
        )  # fmt: skip

    def configuration(self, index: int = 0) -> bytes | None:
        """A configuration, with its interfaces and endpoints; None for one that is not there."""
        if self.configurations or index:
            return self.configurations[index] if index < len(self.configurations) else None
        fast = self.speed is Speed.SUPER
        body = bytearray()
        for number, each in enumerate(self.interfaces):
            body += struct.pack("<9B", 9, 4, number, 0, len(each.endpoints), *each.triple, 0)
            for endpoint in each.endpoints:
                body += struct.pack(
                    "<BBBBHB", 7, 5, endpoint.address, endpoint.kind, *self._packets(endpoint)
                )
                if fast:
                    body += struct.pack("<BBBBH", 6, 0x30, 0, 0, 8 if endpoint.kind == 3 else 0)
        head = struct.pack(
            "<BBHBBBBB", 9, _CONFIGURATION, 9 + len(body), len(self.interfaces), 1, 0, 0x80, 50
        )
        return head + body

    def string(self, index: int) -> bytes | None:
        """A string descriptor, None for one that is not there."""
        if index == 0:
            return _ENGLISH
        strings = (self.manufacturer, self.product, self.serial)
        text = strings[index - 1] if index <= len(strings) else None
        if text is None:
            return None
        raw = text.encode("utf-16-le", "surrogatepass")[: 2 * _LONGEST_STRING]
        return bytes((len(raw) + 2, _STRING)) + raw

    def _packets(self, endpoint: Endpoint) -> tuple[int, int]:
        """The largest packet and the interval."""
        if endpoint.kind == 3:
            return 8, 10
        return {Speed.SUPER: 1024, Speed.HIGH: 512}.get(self.speed, 64), 0


Out = Callable[[bytes], None]
Control = Callable[[bytes, bytes, int], bytes | None]


@dataclass
class Gadget:
    """A device on the bus, from one enumeration to its end. Answers on any thread.

    outs     what takes the data of each outward endpoint, by its number
    control  answers requests that are not every device's: called with setup, data and the length that is
             wanted, it gives the answer, or None to refuse
    """

    identity: Identity
    outs: Mapping[int, Out] = field(default_factory=dict)
    control: Control = lambda _setup, _data, _length: None

    def __post_init__(self) -> None:
        self._lock = threading.RLock()
        self._ready: dict[int, deque[bytes]] = {}
        self._waiting: dict[int, deque[Submit]] = {}
        self._connection: socket.socket | None = None
        self._leaving = False

    def hold(self, connection: socket.socket) -> None:
        """From now on the device is at the other end of this socket."""
        self._connection = connection

    def serve(self, connection: socket.socket) -> None:
        """Be the device, until the socket is closed at either end. Raises Garbled."""
        while True:
            try:
                request = usbip.receive(connection)
            except usbip.Yanked:
                return
            if isinstance(request, Unlink):
                self._unlink(request)
            elif request.endpoint == 0:
                reply = self._control(request)
                self._send(usbip.answer(request, STALL if reply is None else OK, reply or b""))
            elif request.inward:
                with self._lock:
                    self._waiting.setdefault(request.endpoint, deque()).append(request)
                    self._match(request.endpoint)
            else:
                self._send(usbip.answer(request, OK))
                if (take := self.outs.get(request.endpoint)) is not None:
                    take(request.data)

    def send(self, endpoint: int, data: bytes) -> None:
        """Give the host data, as soon as it asks for some there."""
        with self._lock:
            self._ready.setdefault(endpoint, deque()).append(data)
            self._match(endpoint)

    def leave_in_order(self) -> None:
        """Off the bus as soon as the host has had everything that was sent to it."""
        with self._lock:
            self._leaving = True
            self._leave_if_done()

    def leave(self) -> None:
        """Off the bus: as when the cable is pulled."""
        if self._connection is not None:
            try:
                self._connection.shutdown(socket.SHUT_RDWR)
            except OSError:  # it is off already
                return

    def _match(self, endpoint: int) -> None:
        ready, waiting = self._ready.get(endpoint), self._waiting.get(endpoint)
        while ready and waiting:
            request, data = waiting.popleft(), ready.popleft()
            if len(data) > request.length:
                ready.appendleft(data[request.length :])
            self._send(usbip.answer(request, OK, data))
        self._leave_if_done()

    def _leave_if_done(self) -> None:
        if self._leaving and not any(self._ready.values()):
            self.leave()

    def _unlink(self, request: Unlink) -> None:
        with self._lock:
            pending = False
            for waiting in self._waiting.values():
                for each in tuple(waiting):
                    if each.number == request.earlier:
                        waiting.remove(each)
                        pending = True
            self._send(usbip.unlinked(request, pending=pending))

    def _control(self, request: Submit) -> bytes | None:
        kind, asked, value, _, _ = struct.unpack("<BBHHH", request.setup)
        if kind & 0x60:
            return self.control(request.setup, request.data, request.length)
        if asked == _GET_DESCRIPTOR:
            return self._descriptor(value >> 8, value & 0xFF)
        if asked == _GET_STATUS:
            return bytes(2)
        if asked == _GET_CONFIGURATION:
            return b"\1"
        if asked == _GET_INTERFACE:
            return b"\0"
        return b"" if asked in _SETTLED else None

    def _descriptor(self, kind: int, index: int) -> bytes | None:
        if kind == _DEVICE:
            return self.identity.device()
        if kind == _CONFIGURATION:
            return self.identity.configuration(index)
        if kind == _STRING:
            return self.identity.string(index)
        if kind == _BOS and self.identity.speed is Speed.SUPER:
            return _CAPABILITIES
        return None

    def _send(self, message: bytes) -> None:
        with self._lock:
            assert self._connection is not None, "the device is on no bus"
            try:
                self._connection.sendall(message)
            except OSError:  # pulled meanwhile: the reader finds out
                return
