"""Hardware of the machine that the cases run in: QEMU's own, plugged in and pulled from inside the guest.

Each class here is a piece; the machine is asked through a serial port that leads out of it (see protocol.py).
"""

from __future__ import annotations

import os
import select
import subprocess
import time
from contextlib import ExitStack, suppress
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Final, Self

from tests.support.lab.wait import eventually
from tests.vm.protocol import (
    CONTROLLER,
    LONGEST,
    PORT,
    SLOTS,
    SOLDERED,
    USB_KINDS,
    Kind,
    Plug,
    Pull,
    answer,
    line,
)

# Enumeration and drivers under emulation; what is waited for is no figure.
DEADLINE: Final = 60.0
_PCI: Final = Path("/sys/bus/pci")
_BUS: Final = Path("/sys/devices/pci0000:00")


class Refused(Exception):
    """The machine did not do what it was asked for."""


class Machine:
    """The way out of the guest. Whatever is plugged in is pulled at the end."""

    def __init__(self, port: Path = Path("/dev/virtio-ports", PORT)) -> None:
        self._file = os.open(port, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        self._numbers = count(1)
        self._read = b""
        self._plugged: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def plug(self, name: str, kind: Kind, port: int, identity: str = "") -> None:
        """Plug it in; the kernel goes on to find it. Raises Refused."""
        number = next(self._numbers)
        self._ask(number, line(Plug(number, name, kind, port, identity)))
        self._plugged.append(name)

    def pull(self, name: str) -> None:
        """Take it out; it is gone from the bus when this returns. Raises Refused."""
        number = next(self._numbers)
        self._ask(number, line(Pull(number, name)))
        self._plugged.remove(name)

    def say(self, raw: bytes) -> str:
        """Send a line as it is. Returns what is answered to what is no request."""
        os.write(self._file, raw + b"\n")
        return self._answer(0)

    def close(self) -> None:
        """Pull everything."""
        with ExitStack() as undo:
            undo.callback(os.close, self._file)
            for name in self._plugged:
                undo.callback(self.pull, name)

    def _ask(self, number: int, raw: bytes) -> None:
        os.write(self._file, raw)
        error = self._answer(number)
        if error:
            raise Refused(error)

    def _answer(self, number: int) -> str:
        """The answer of this number; one that nobody waited for is passed over."""
        deadline = time.monotonic() + DEADLINE
        while True:
            while b"\n" not in self._read:
                left = deadline - time.monotonic()
                ready, _, _ = select.select([self._file], [], [], max(0.0, left))
                assert ready, f"the machine did not answer within {DEADLINE} s"
                some = os.read(self._file, LONGEST)
                assert some, "nobody holds the other end of the machine's port"
                self._read += some
            raw, _, self._read = self._read.partition(b"\n")
            found = answer(raw)
            if found.number == number:
                return found.error


class Hardware:
    """A piece that goes into one port.

    machine   whose it is
    port      from 1 on; USB ports and PCI slots are counted apart
    identity  its MAC address or serial number
    """

    kind: ClassVar[Kind]
    # What sysfs has below the port once the drivers have taken it: a pattern, and how many.
    shows: ClassVar[tuple[tuple[str, int], ...]]

    def __init__(self, machine: Machine, port: int = 1, identity: str = "") -> None:
        self.machine = machine
        self.port = port
        self.identity = identity
        self.name = f"{self.kind}-{identity.replace(':', '') or port}".lower()

    @property
    def place(self) -> Path | None:
        """Where sysfs has the piece itself; None while it is not plugged in."""
        if self.kind in USB_KINDS:
            found = list(_BUS.glob(f"0000:00:{CONTROLLER:02x}.0/usb*/*-{self.port}"))
        else:
            found = list(_BUS.glob(f"0000:00:{SLOTS[self.port]:02x}.0/0000:*:00.0"))
        return found[0] if found else None

    def find(self, pattern: str) -> list[Path]:
        """What sysfs has of it now, sorted."""
        place = self.place
        with suppress(FileNotFoundError):
            return sorted(place.glob(f"**/{pattern}")) if place is not None else []
        return []

    def plug(self) -> None:
        """The kernel has it, with its drivers, when this returns; udevd may not have seen it yet."""
        self.machine.plug(self.name, self.kind, self.port, self.identity)
        eventually(self._complete, DEADLINE, pause=0.02)

    def unplug(self) -> None:
        """The kernel has it no more when this returns."""
        self.machine.pull(self.name)
        eventually(lambda: self.place is None, DEADLINE, pause=0.02)

    def _complete(self) -> bool:
        found = [(pattern, len(self.find(pattern))) for pattern, _ in self.shows]
        assert found == list(self.shows), f"{self.name}: expected {self.shows}, and found {found}"
        return True


class Adapter(Hardware):
    """A network adapter. All of them are on one wire."""

    shows = (("net/*", 1),)

    def __init__(self, machine: Machine, port: int = 1, identity: str = "52:54:00:00:00:01") -> None:
        super().__init__(machine, port, identity)

    @property
    def interface(self) -> str:
        """As the host calls it now; empty where it has none, or a container has it."""
        found = self.find("net/*")
        return found[0].name if found else ""


class UsbAdapter(Adapter):
    kind = "usb-net"

    def plug(self) -> None:
        # Of the drivers that know it the first one there takes it: not whichever module happens to be loaded.
        subprocess.run(["modprobe", "cdc_ether"], check=True)
        super().plug()


class PciAdapter(Adapter):
    kind = "e1000e"


class VirtioAdapter(Adapter):
    """One whose interface hangs from a device that hangs from the PCI device."""

    kind = "virtio-net-pci"


class Disk(Hardware):
    """A USB stick with two partitions. One with the same serial number has the same content again."""

    kind = "usb-storage"
    shows = (("block/sd*/dev", 1), ("block/sd*/sd*/dev", 2))

    def __init__(self, machine: Machine, port: int = 1, identity: str = "STICK1") -> None:
        super().__init__(machine, port, identity)

    @property
    def nodes(self) -> tuple[str, ...]:
        """The disk, and its partitions."""
        return tuple(f"/dev/{each.parent.name}" for pattern, _ in self.shows for each in self.find(pattern))


class Display(Hardware):
    """A display adapter: it has a card, and no node to render with."""

    kind = "secondary-vga"
    shows = (("drm/card*/dev", 1),)

    @property
    def address(self) -> str:
        """On the PCI bus."""
        place = self.place
        assert place is not None, f"{self.name} is not plugged in"
        return place.name

    @property
    def node(self) -> str:
        return f"/dev/dri/{self.find('drm/card*')[0].name}"


class Renderer:
    """A display adapter with a card and a node to render with.

    It stays in the machine, since QEMU has none of these to plug: the kernel takes it out, with its driver,
    and finds it again on the bus. Not there when the guest starts.
    """

    address = f"0000:00:{SOLDERED:02x}.0"

    def plug(self) -> None:
        """The kernel has it, with its driver, when this returns."""
        (_PCI / "rescan").write_text("1")
        eventually(lambda: len(self.nodes) == 2, DEADLINE, pause=0.02)

    def unplug(self) -> None:
        """The kernel has it no more when this returns."""
        if (_BUS / self.address).exists():
            (_BUS / self.address / "remove").write_text("1")

    def close(self) -> None:
        self.unplug()

    @property
    def nodes(self) -> tuple[str, ...]:
        """Its card, and what renders."""
        folder = _BUS / self.address / "drm"
        found = [path.name for name in ("card*", "renderD*") for path in folder.glob(name)]
        return tuple(f"/dev/dri/{name}" for name in found)


class Serial(Hardware):
    """A serial cable."""

    kind = "usb-serial"
    shows = (("tty/ttyUSB*/dev", 1),)

    def __init__(self, machine: Machine, port: int = 1, identity: str = "CABLE1") -> None:
        super().__init__(machine, port, identity)

    @property
    def node(self) -> str:
        return f"/dev/{self.find('tty/ttyUSB*')[0].name}"


class Keyboard(Hardware):
    """A keyboard: an input device, and the raw one below it."""

    kind = "usb-kbd"
    shows = (("input/input*/event*/dev", 1), ("hidraw/hidraw*/dev", 1))

    def __init__(self, machine: Machine, port: int = 1, identity: str = "KEYS1") -> None:
        super().__init__(machine, port, identity)

    @property
    def event(self) -> str:
        return f"/dev/input/{self.find('input/input*/event*')[0].name}"

    @property
    def hidraw(self) -> str:
        return f"/dev/{self.find('hidraw/hidraw*')[0].name}"
