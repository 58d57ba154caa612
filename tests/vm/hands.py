"""The hands at the machine: they plug hardware in and pull it as the guest asks (see protocol.py)."""

from __future__ import annotations

import re
import socket
import struct
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from tests.vm.protocol import (
    CONTROLLER,
    LONGEST,
    PCI_KINDS,
    PORT,
    SLOTS,
    SOLDERED,
    USB_KINDS,
    USB_PORTS,
    Answer,
    Malformed,
    Plug,
    Pull,
    line,
    request,
)
from tests.vm.qmp import Gone, Qmp, Refused

_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,31}")
# A guest is slow to let go what it is busy with.
_LETS_GO_WITHIN: Final = 30.0
_DISK: Final = 16 << 20
_SECTOR: Final = 512
# What a display adapter wants.
_MEMORY: Final = "64M"


def sockets() -> list[str]:
    """QEMU's options for what hardware can be plugged into, and what is there for good."""
    ports = [
        f"pcie-root-port,id=slot{port},chassis={port},slot={port},addr={address:#x},"
        f"mem-reserve={_MEMORY},pref64-reserve={_MEMORY}"
        for port, address in SLOTS.items()
    ]
    controller = f"qemu-xhci,id=usb,addr={CONTROLLER:#x},p2={USB_PORTS},p3={USB_PORTS}"
    soldered = f"virtio-gpu-pci,addr={SOLDERED:#x}"
    return [word for device in (controller, soldered, *ports) for word in ("-device", device)]


@contextmanager
def hands() -> Iterator[tuple[list[str], Sequence[int]]]:
    """QEMU's options to be served, and the file descriptors that it has to inherit.

    Serves from the entry on, until QEMU is no more or whoever entered leaves; then what was not thought of is
    raised.
    """
    with ExitStack() as undo:
        folder = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="hph-")))
        ours, theirs = zip(*(socket.socketpair() for _ in range(2)), strict=True)
        for each in (*ours, *theirs):
            undo.enter_context(each)
        numbers = [each.fileno() for each in theirs]
        options = [
            *sockets(),
            "-chardev", f"socket,id=control,fd={numbers[0]}", "-mon", "chardev=control,mode=control",
            "-chardev", f"socket,id=hands,fd={numbers[1]}",
            "-device", "virtio-serial-pci", "-device", f"virtserialport,chardev=hands,name={PORT}",
        ]  # fmt: skip
        pool = undo.enter_context(ThreadPoolExecutor(1, "hands"))
        served = pool.submit(_serve, Qmp(ours[0]), ours[1], folder)
        try:
            yield options, numbers
        finally:
            for each in ours:
                each.shutdown(socket.SHUT_RDWR)
        served.result()


def _serve(qmp: Qmp, guest: socket.socket, folder: Path) -> None:
    try:
        qmp.greet()
        bench = _Bench(qmp, folder)
        for raw in _lines(guest):
            guest.sendall(line(bench.answer(raw)))
    except (Gone, ConnectionError):
        return


def _lines(guest: socket.socket) -> Iterator[bytes]:
    """Lines until the other end closes; one that is too long comes in pieces."""
    read = b""
    while some := guest.recv(LONGEST):
        read += some
        while b"\n" in read or len(read) >= LONGEST:
            raw, _, read = read.partition(b"\n")
            yield raw


class _Bench:
    """What is plugged in, with what has to be done once it is pulled."""

    def __init__(self, qmp: Qmp, folder: Path) -> None:
        self._qmp = qmp
        self._folder = folder
        self._plugged: dict[str, ExitStack] = {}

    def answer(self, raw: bytes) -> Answer:
        """Do what a line asks for. Raises Gone."""
        number = 0
        try:
            asked = request(raw)
            number = asked.number
            if isinstance(asked, Plug):
                self._plug(asked)
            else:
                self._pull(asked)
        except (Malformed, Refused) as error:
            return Answer(number, str(error))
        return Answer(number)

    def _plug(self, asked: Plug) -> None:
        if not _NAME.fullmatch(asked.name):
            raise Refused(f"expected a name of small letters, digits and dashes, and found {asked.name!r}")
        if asked.name in self._plugged:
            raise Refused(f"{asked.name} is plugged in already")
        with ExitStack() as undo:
            device = {"driver": asked.kind, "id": asked.name, **_port(asked), **self._behind(asked, undo)}
            self._qmp.execute("device_add", **{key: value for key, value in device.items() if value != ""})
            self._plugged[asked.name] = undo.pop_all()

    def _pull(self, asked: Pull) -> None:
        if asked.name not in self._plugged:
            raise Refused(f"nothing here is called {asked.name!r}")
        self._qmp.remove(asked.name, _LETS_GO_WITHIN)
        self._plugged.pop(asked.name).close()

    def _behind(self, asked: Plug, undo: ExitStack) -> dict[str, object]:
        """Make what is behind the device on our side. Returns what the device has to be told of it."""

        def add(command: str, remove: str, key: str, **arguments: object) -> None:
            self._qmp.execute(command, **{key: asked.name}, **arguments)
            undo.callback(partial(self._qmp.execute, remove, **{key: asked.name}))

        match asked.kind:
            case "usb-net" | "e1000e" | "virtio-net-pci":
                # All network adapters are on one wire.
                add("netdev_add", "netdev_del", "id", type="hubport", hubid=0)
                return {"netdev": asked.name, "mac": asked.identity}
            case "usb-storage":
                file = {"driver": "file", "filename": str(_disk(self._folder / asked.name))}
                add("blockdev-add", "blockdev-del", "node_name", driver="raw", file=file)
                return {"drive": asked.name, "serial": asked.identity, "removable": True}
            case "usb-serial":
                add("chardev-add", "chardev-remove", "id", backend={"type": "null", "data": {}})
                return {"chardev": asked.name, "always-plugged": True, "serial": asked.identity}
            case "usb-kbd":
                return {"serial": asked.identity}
            case _:
                return {}


def _port(asked: Plug) -> dict[str, object]:
    if asked.kind in USB_KINDS and 1 <= asked.port <= USB_PORTS:
        return {"bus": "usb.0", "port": str(asked.port)}
    if asked.kind in PCI_KINDS and asked.port in SLOTS:
        # Said, since QEMU would else put a second device beside the first, where no guest looks for one.
        return {"bus": f"slot{asked.port}", "addr": "0"}
    raise Refused(f"expected a port for {asked.kind}, and found {asked.port}")


def _disk(path: Path) -> Path:
    """A disk with two partitions and nothing in them, unless it is there already."""
    if not path.exists():
        sectors = _DISK // _SECTOR
        middle = sectors // 2
        entries = b"".join(
            struct.pack("<8B2I", 0, 0, 0, 0, 0x83, 0, 0, 0, first, end - first)
            for first, end in ((2048, middle), (middle, sectors))
        )
        with path.open("wb") as file:
            file.write(bytes(440) + b"hpd\0\0\0" + entries.ljust(64, b"\0") + b"\x55\xaa")
            file.truncate(_DISK)
    return path
