"""Devices of the kernel's that come and go in a soak, and what each has to lead to.

Everything is worked out here with none of hotplugd's code.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Final

from tests.e2e.model import CONSOLES
from tests.soak.leases import POOL
from tests.support.lab.kernel import Console, Veth, Zram


class Part(ABC):
    """One device.

    home    the container that the device is for, and for which a plug of it is waited for
    major   of its node's number; 0 where it has none
    leased  the container that has what is leased of it, by what hotplugd says; empty where none has
    """

    def __init__(self, home: str, major: int = 0) -> None:
        self.home = home
        self.major = major
        self.leased = ""

    @property
    @abstractmethod
    def plugged(self) -> bool:
        """Whether the kernel has it now."""

    @abstractmethod
    def plug(self) -> None:
        """The kernel has it, and has sent its uevents, when this returns."""

    @abstractmethod
    def unplug(self) -> None:
        """The kernel has it no more when this returns."""

    @property
    @abstractmethod
    def node(self) -> str:
        """The path, inside its home, of the node that a plug of it leads to; empty where it has none."""

    @abstractmethod
    def rules(self) -> Sequence[str]:
        """The rules for it, as lines of a rule file."""

    @property
    def spare(self) -> str:
        """The kernel's name of what a pool has of it; empty where none has."""
        return ""

    @abstractmethod
    def nodes(self, name: str) -> Mapping[str, str]:
        """The nodes that the container of this name has of it while it is plugged: numbers by path."""

    def interface(self, name: str) -> str:
        """The interface that the container of this name has of it while it is plugged; empty where none."""
        return ""

    @abstractmethod
    def numbers(self) -> Mapping[str, bool]:
        """Its numbers as names of links begin (`c-7-133-`), and whether such links are expected now."""

    @abstractmethod
    def seen(self) -> Sequence[str]:
        """Where in /sys it is while it is plugged; nowhere where it may leave the host."""


class ConsolePart(Part):
    """A virtual console: vcsa goes to its home, vcs to two containers, vcsu to whom it is leased."""

    def __init__(self, home: str, both: tuple[str, str], console: Console) -> None:
        super().__init__(home, CONSOLES)
        self._both = both
        self._console = console

    @property
    def plugged(self) -> bool:
        return self._console.plugged

    def plug(self) -> None:
        self._console.plug()

    def unplug(self) -> None:
        self._console.unplug()

    @property
    def node(self) -> str:
        return self._console.node

    def rules(self) -> Sequence[str]:
        number = self._console.number
        match, both = "{subsystem: vc, kernel: ", f"{{to: [{', '.join(self._both)}], mode: '0640'}}"
        return (
            f"  - {{name: own-{number}, match: {match}vcsa{number}}}, attach: {{to: {self.home}}}}}",
            f"  - {{name: both-{number}, match: {match}vcs{number}}}, attach: {both}}}",
            f"  - {{name: {POOL}-{number}, match: {match}{self.spare}}}, attach: {{pool: {POOL}}}}}",
        )

    @property
    def spare(self) -> str:
        return f"vcsu{self._console.number}"

    def nodes(self, name: str) -> Mapping[str, str]:
        plain, attributes, unicode = self._minors()
        found = {}
        if name == self.leased:
            found[f"/dev/{self.spare}"] = f"c {CONSOLES}:{unicode}"
        if name == self.home:
            found[f"/dev/vcsa{self._console.number}"] = f"c {CONSOLES}:{attributes}"
        if name in self._both:
            found[f"/dev/vcs{self._console.number}"] = f"c {CONSOLES}:{plain}"
        return found

    def numbers(self) -> Mapping[str, bool]:
        # What was leased since it was plugged in has links until it is pulled.
        return {f"c-{CONSOLES}-{minor}-": self.plugged for minor in self._minors()}

    def seen(self) -> Sequence[str]:
        return [f"/sys/class/vc/{node.rpartition('/')[2]}" for node in self._console.nodes]

    def _minors(self) -> tuple[int, int, int]:
        """Of vcs, vcsa and vcsu (Linux: Documentation/admin-guide/devices.txt)."""
        return self._console.number, 128 + self._console.number, 64 + self._console.number


class DiskPart(Part):
    """A compressed memory disk. The kernel gives it the lowest number that is free.

    disks  the numbers that disks of this soak have, all for one home; this one's rule is about the first
    """

    def __init__(self, home: str, disk: Zram, disks: Sequence[int], major: int) -> None:
        super().__init__(home, major)
        self._disk = disk
        self._disks = disks
        self._plugged = False

    @property
    def plugged(self) -> bool:
        return self._plugged

    def plug(self) -> None:
        self._disk.plug()
        self._plugged = True
        known = ", ".join(f"zram{each}" for each in self._disks)
        assert self._disk.number in self._disks, f"expected one of {known}, and found {self._disk.node}"

    def unplug(self) -> None:
        self._disk.unplug()
        self._plugged = False

    @property
    def node(self) -> str:
        return self._disk.node

    def rules(self) -> Sequence[str]:
        name = f"zram{self._disks[0]}"
        match = f"{{subsystem: block, kernel: {name}}}"
        return (f"  - {{name: {name}, match: {match}, attach: {{to: {self.home}}}}}",)

    def nodes(self, name: str) -> Mapping[str, str]:
        return {self.node: f"b {self.major}:{self._disk.number}"} if name == self.home else {}

    def numbers(self) -> Mapping[str, bool]:
        mine = self._disk.number if self.plugged else -1
        return {f"b-{self.major}-{each}-": each == mine for each in self._disks}

    def seen(self) -> Sequence[str]:
        return [f"/sys/class/block/{self._disk.name}"]


class CablePart(Part):
    """One end of a virtual cable: a network interface, which leaves the host for its home."""

    def __init__(self, home: str, veth: Veth) -> None:
        super().__init__(home)
        self._veth = veth

    @property
    def plugged(self) -> bool:
        return os.path.exists(f"/sys/class/net/{self._veth.far}")

    def plug(self) -> None:
        self._veth.plug()

    def unplug(self) -> None:
        self._veth.unplug()

    @property
    def node(self) -> str:
        return ""

    def rules(self) -> Sequence[str]:
        match = f"{{subsystem: net, mac: '{self._veth.mac}'}}"
        return (f"  - {{name: {self._veth.name}, match: {match}, attach: {{to: {self.home}}}}}",)

    def nodes(self, name: str) -> Mapping[str, str]:
        return {}

    def interface(self, name: str) -> str:
        return self._veth.name if name == self.home else ""

    def numbers(self) -> Mapping[str, bool]:
        return {}

    def seen(self) -> Sequence[str]:
        return ()


_DISKS: Final = 2


def parts(undo: ExitStack, names: Sequence[str], consoles: int, cables: int) -> list[Part]:
    """Consoles for these containers in turn, two disks for the third, and cables from the last one on.

    names  at least four
    undo   what unplugs them
    """
    found: list[Part] = []
    for place in range(consoles):
        console = Console()
        undo.callback(console.close)
        found.append(ConsolePart(names[place % len(names)], (names[0], names[1]), console))
    disks = [Zram() for _ in range(_DISKS)]
    for disk in disks:
        undo.callback(disk.close)
        disk.plug()
    numbers, major = [each.number for each in disks], os.major(os.stat(disks[0].node).st_rdev)
    for place, disk in enumerate(disks):
        disk.unplug()
        found.append(DiskPart(names[2], disk, numbers[place:] + numbers[:place], major))
    for place in range(cables):
        veth = Veth()
        undo.callback(veth.close)
        found.append(CablePart(names[-1 - place % len(names)], veth))
    return found
