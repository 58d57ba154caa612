"""Devices that the kernel makes and takes away on demand on any machine, with real uevents.

Consoles are character devices (subsystem `vc`), compressed memory disks are block devices, and of a pair of
virtual Ethernet interfaces (veth(4)) one is for instances and the other stays, as the far end of its cable.
"""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.lab.claims import Claim, claims
from tests.support.lab.wait import eventually

_VT_DISALLOCATE = 0x5608  # include/uapi/linux/vt.h
_FIRST, _LAST = 20, 62  # below that, login programs and X may use them
_ZRAM = Path("/sys/class/zram-control")


class _Thing(ABC):
    """Is plugged while its context lasts."""

    def __enter__(self) -> Self:
        self.plug()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def plug(self) -> None:
        """The kernel has it, and has sent its uevents, when this returns."""

    @abstractmethod
    def close(self) -> None:
        """Unplug it and let others have what it was called."""


class Console(_Thing):
    """A virtual console that nobody uses. Plugging it makes vcsN, vcsaN and vcsuN, all of subsystem `vc`.

    It is ours from the first moment on, also against tests that run in another process.
    """

    def __init__(self) -> None:
        self.number, self._claim = _reserve()
        self.nodes = tuple(f"/dev/{name}{self.number}" for name in ("vcs", "vcsa", "vcsu"))
        self.node = self.nodes[1]
        self.syspath = f"/sys/devices/virtual/vc/vcsa{self.number}"

    @property
    def plugged(self) -> bool:
        """Whether the kernel has it now."""
        return Path(self.syspath).exists()

    def plug(self) -> None:
        """The kernel has it, and has sent its uevents, when this returns."""
        os.close(os.open(f"/dev/tty{self.number}", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))

    def unplug(self) -> None:
        """The kernel has it no more when this returns."""
        if self.plugged:
            eventually(self._disallocate)

    def close(self) -> None:
        """Unplug it and let others have its number."""
        try:
            self.unplug()
        finally:
            self._claim.close()

    def _disallocate(self) -> bool:
        zero = os.open("/dev/tty0", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            fcntl.ioctl(zero, _VT_DISALLOCATE, self.number)
        except OSError as error:
            if error.errno == errno.EBUSY:  # somebody looks at it
                return False
            raise
        finally:
            os.close(zero)
        return True


def _reserve() -> tuple[int, Claim]:
    """The number of a free console, and what holds it."""
    for number, claim in claims("tty", range(_LAST, _FIRST - 1, -1)):
        if not Path(f"/sys/class/vc/vcs{number}").exists():
            return number, claim
        claim.close()
    raise AssertionError(f"expected a free virtual console in tty{_FIRST} to tty{_LAST}, and found none")


class Veth(_Thing):
    """A virtual Ethernet interface that is not plugged yet, and the far end of its cable."""

    def __init__(self) -> None:
        self.name, self.far, self._claim = _reserve_interface()
        self.mac = "02:" + ":".join(f"{each:02x}" for each in os.urandom(5))
        self.syspath = f"/sys/devices/virtual/net/{self.name}"

    @property
    def on_host(self) -> bool:
        """Whether the host has it now."""
        return Path(self.syspath).exists()

    def plug(self) -> None:
        """The kernel has it, and has sent its uevents, when this returns."""
        peer = ["peer", "name", self.far]
        _ip("link", "add", self.name, "address", self.mac, "type", "veth", *peer)
        _ip("link", "set", self.far, "up")

    def unplug(self) -> None:
        """The kernel has it no more when this returns, wherever it was."""
        if Path(f"/sys/class/net/{self.far}").exists():
            _ip("link", "del", self.far)

    def close(self) -> None:
        """Unplug it and let others have its name."""
        try:
            self.unplug()
        finally:
            self._claim.close()


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


def _reserve_interface() -> tuple[str, str, Claim]:
    """The names of a free pair, and what holds them."""
    for number, claim in claims("veth", range(1000)):
        ends = (f"hpnic{number}", f"hpfar{number}")
        if not any(Path("/sys/class/net", each).exists() for each in ends):
            return (*ends, claim)
        claim.close()
    raise AssertionError("expected a free pair of interfaces in hpnic0 to hpnic999, and found none")


class Zram(_Thing):
    """A compressed memory disk: the kernel gives it a number when it is plugged."""

    def __init__(self) -> None:
        self.number = -1

    @property
    def name(self) -> str:
        """As the kernel calls it: zram1."""
        assert self.number >= 0, "this disk was never plugged"
        return f"zram{self.number}"

    @property
    def node(self) -> str:
        return f"/dev/{self.name}"

    @property
    def syspath(self) -> str:
        return f"/sys/devices/virtual/block/{self.name}"

    def plug(self) -> None:
        """The kernel has it, and has sent its uevents, when this returns."""
        if not _ZRAM.exists():
            subprocess.run(["modprobe", "zram"], check=True)
        self.number = int((_ZRAM / "hot_add").read_text())

    def unplug(self) -> None:
        """The kernel has it no more when this returns. It refuses while udevd still looks at the disk."""
        if self.number >= 0 and Path(self.syspath).exists():
            eventually(self._remove)

    def close(self) -> None:
        self.unplug()

    def _remove(self) -> bool:
        try:
            (_ZRAM / "hot_remove").write_text(str(self.number))
        except OSError as error:
            if error.errno == errno.EBUSY:
                return False
            raise
        return True


class Loop(_Thing):
    """A disk of a file, which can have one partition: the kernel gives it a number when it is plugged."""

    SECTORS = 2049

    def __init__(self, folder: Path) -> None:
        self._file = folder / "disk"
        self.name = ""

    @property
    def syspath(self) -> str:
        return f"/sys/devices/virtual/block/{self.name}"

    @property
    def partition(self) -> str:
        """The syspath of its partition."""
        return f"{self.syspath}/{self.name}p1"

    def plug(self) -> None:
        """The kernel has it, and has sent its uevents, when this returns."""
        self._file.write_bytes(bytes(self.SECTORS * 512))
        words = ["losetup", "--find", "--partscan", "--show", str(self._file)]
        done = subprocess.run(words, check=True, capture_output=True, text=True)
        self.name = Path(done.stdout.strip()).name

    def divide(self) -> None:
        """Give it its partition. The kernel has that, and has sent its uevents, when this returns."""
        subprocess.run(["addpart", f"/dev/{self.name}", "1", "64", "1024"], check=True)

    def close(self) -> None:
        """Unplug it."""
        if self.name:
            subprocess.run(["losetup", "--detach", f"/dev/{self.name}"], check=True)
            self.name = ""
