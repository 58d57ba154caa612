"""The ports of the kernel's virtual host controller (drivers/usb/usbip/vhci_sysfs.c)."""

from __future__ import annotations

import re
import socket
import threading
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

from tests.support.lab.wait import eventually
from tests.support.phones.gadget import Gadget, Speed

_PLATFORM: Final = Path("/sys/devices/platform")
# By its files all controllers are told of devices.
_CONTROLLER: Final = _PLATFORM / "vhci_hcd.0"
_FREE: Final = "004"


class Device(Protocol):
    """Something that can be plugged in.

    returns  whether it comes back by itself when it leaves the bus
    """

    @property
    def returns(self) -> bool: ...

    def gadget(self) -> Gadget:
        """What it is at its next enumeration."""


@dataclass
class _Plug:
    device: Device
    port: int
    gadget: Gadget
    thread: threading.Thread | None = None
    pulled: bool = False
    error: BaseException | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


class Hub:
    """All free ports. Everything is pulled at the end; what went wrong in a device is raised then."""

    def __init__(self) -> None:
        if not _CONTROLLER.exists():
            raise FileNotFoundError(
                f"expected {_CONTROLLER}, and it is not there; as root: modprobe vhci_hcd, which stock "
                f"kernels of distributions have"
            )
        self._plugs: dict[Device, _Plug] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def plug(self, device: Device, port: int | None = None) -> str:
        """Plug it into a free port, or this one. Returns the port's name, as udev has it: `1-3`.

        The kernel goes on to enumerate it: its event comes later.
        """
        assert device not in self._plugs, "it is plugged in already"
        gadget = device.gadget()
        if port is None:
            port = _free(gadget.identity.speed)
        connection = _attach(port, gadget)
        plug = self._plugs[device] = _Plug(device, port, gadget)
        plug.thread = threading.Thread(target=_live, args=(plug, connection), name=f"port {port}")
        plug.thread.start()
        return port_name(port)

    def unplug(self, device: Device) -> None:
        """Pull its cable, whatever it is doing, and wait until the port is free. Raises what it died of."""
        plug = self._plugs.pop(device)
        with plug.lock:
            plug.pulled = True
            plug.gadget.leave()
        assert plug.thread is not None
        plug.thread.join(20)
        assert not plug.thread.is_alive(), f"the device on port {plug.port} does not end"
        _wait_free(plug.port)
        if plug.error is not None:
            raise plug.error

    def close(self) -> None:
        """Pull everything."""
        with ExitStack() as undo:
            for device in list(self._plugs):
                undo.callback(self.unplug, device)


def port_name(port: int) -> str:
    """A port's name, as udev has it: the bus, a dash, and the number counted from one."""
    controller, number = divmod(port, len(_status()))
    buses = sorted(int(each.name[3:]) for each in (_PLATFORM / f"vhci_hcd.{controller}").glob("usb[0-9]*"))
    ports = len(_status()) // len(buses)
    return f"{buses[number // ports]}-{number % ports + 1}"


def port_of(controller: int, number: int) -> int:
    """The port for high-speed devices with this number, counted from 0, of a controller, counted from 0."""
    return controller * len(_status()) + number


def syspath(name: str) -> Path:
    """Where sysfs has what is on the port of this name."""
    bus = f"usb{name.partition('-')[0]}"
    return next(_PLATFORM.glob(f"vhci_hcd.*/{bus}"), _CONTROLLER / bus) / name


def _live(plug: _Plug, connection: socket.socket) -> None:
    """Be the device on its port, as often as it comes back."""
    try:
        while True:
            with connection:
                plug.gadget.serve(connection)
            _wait_free(plug.port)
            with plug.lock:
                if plug.pulled or not plug.device.returns:
                    return
                plug.gadget = plug.device.gadget()
                connection = _attach(plug.port, plug.gadget)
    except BaseException as error:  # noqa: BLE001  # whoever pulls it is told
        plug.error = error


def _attach(port: int, gadget: Gadget) -> socket.socket:
    ours, kernels = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with kernels:
        line = f"{port} {kernels.fileno()} {(1 << 16) + port + 1} {int(gadget.identity.speed)}"
        try:
            (_CONTROLLER / "attach").write_text(line)
        except OSError:
            ours.close()
            raise
    gadget.hold(ours)
    return ours


def _free(speed: Speed) -> int:
    kind = "ss" if speed is Speed.SUPER else "hs"
    return next(port for port, (hub, state) in _status().items() if hub == kind and state == _FREE)


def _wait_free(port: int) -> None:
    controller = port // len(_status())
    eventually(lambda: _status(controller)[port][1] == _FREE)


def _status(controller: int = 0) -> dict[int, tuple[str, str]]:
    """The kind of each of its ports, `hs` or `ss`, and its state, by number."""
    name = f"status.{controller}" if controller else "status"
    lines = (_CONTROLLER / name).read_text().splitlines()[1:]
    found = (re.match(r"(hs|ss)\s+(\d+)\s+(\d+)", line) for line in lines)
    return {int(each[2]): (each[1], each[3]) for each in found if each}
