"""What the reconciler asks of a container manager and of others, and the ways in which that can fail.

`server/client.py` does it for LXD and Incus, `container/inspector.py` and `injector.py` for containers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from hotplugd.model.pool_file import PoolFile
from hotplugd.model.server_traits import NO_TRAITS, ServerTraits
from hotplugd.model.uevent import UdevRecord, Uevent
from hotplugd.model.values import Entry, Inside, Instance, InstanceName


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """Who answers.

    member  its name in a cluster, or empty
    traits  what it does that not every server does
    pid     its process as it says itself, 0 where it does not
    folders where it may have its own files; empty where nobody knows
    """

    address: str
    software: str
    version: str
    member: str
    traits: ServerTraits = NO_TRAITS
    pid: int = 0
    folders: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.software} {self.version} at {self.address}"


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a cluster. status: `Online`, `Offline` or another word of the server's; message: why."""

    name: str
    status: str
    message: str

    @property
    def is_online(self) -> bool:
        """Whether it answers the others."""
        return self.status.lower() == "online"


class ServerError(Exception):
    """The server did not do what was asked. The text is fit to be shown."""


class Unreachable(ServerError):
    """No answer: the server is away, or hangs. Nothing is known of what it did."""


class Busy(ServerError):
    """Not now: the instance is starting or stopping, or somebody else changed it meanwhile."""


class Changed(Busy):
    """What should go is not what was sealed: the instance was started, or an entry changed, meanwhile.

    Nothing was done. To be asked for again once what is inside now is sealed.
    """


class LeftBehind(Busy):
    """The server has left nodes of these entries in the instance, by a crash or by another's update.

    It puts nothing in their place before they are cleared, which is for whoever asked: they are sealed first.

    entries  the names of the entries
    """

    def __init__(self, message: str, entries: frozenset[str]) -> None:
        super().__init__(message)
        self.entries = entries


class Gone(ServerError):
    """There is no such instance."""


class Refused(ServerError):
    """The server will not do it as asked, and did none of it.

    entries  the names of the entries that it blames; empty where it does not say
    half     it could not take back all that it had done: nodes may be left inside without an entry
    """

    def __init__(self, message: str, entries: frozenset[str] = frozenset(), *, half: bool = False) -> None:
        super().__init__(message)
        self.entries = entries
        self.half = half


class Stuck(Refused):
    """The server will not take these entries out for as long as the instance has its present init."""


class ServerPort(Protocol):
    """The calls of the reconciler. Each may raise any ServerError."""

    async def get(self, name: InstanceName) -> Instance:
        """The instance as it is now, not `known` where its server cannot tell."""

    async def apply(
        self,
        name: InstanceName,
        put: Sequence[Entry],
        remove: Sequence[str],
        sealed: Instance | None = None,
        leases: str | None = None,
    ) -> Instance:
        """Put these entries into the instance and take those names out, in one request, all or nothing.

        Never touches an entry that is not ours, nor anything else of the instance. Raises Busy where an entry
        that is to go has gone by itself, Changed where its node is another than the one that was sealed, and
        LeftBehind.
        Returns the instance as it is then.

        sealed  the instance as the nodes that go were sealed in it, or would have been; None for whichever
        leases  what its configuration is to say of its leases; empty: nothing; None: what it says now
        """

    async def clear(self, name: InstanceName, left: Sequence[Entry]) -> None:
        """Take away what the server may have left of these entries, which it does not have any more."""

    async def link(self, name: InstanceName, path: str, target: str) -> None:
        """Make a symbolic link inside the running instance, in place of a link that is there, and the folders
        above it; an empty target takes the link away. Both are paths inside.
        """

    async def put_file(self, name: InstanceName, file: PoolFile, content: bytes) -> None:
        """Have a file inside the instance, in place of one that is there, and the folders above it."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of a command inside.

    code    what it exited with; None where it was killed, since it took too long or wrote too much
    output  the first bytes that it wrote, to its output and its errors: whatever those inside want
    why     why it was killed; empty where it was not
    """

    code: int | None
    output: bytes
    why: str = ""


class CommandPort(Protocol):
    """Runs commands inside running instances."""

    async def run(self, name: InstanceName, command: Sequence[str], within: float, given: bytes = b"") -> Ran:
        """Run a command as root inside, without a shell. After so many seconds it is killed.

        given  what it reads
        Raises Refused where there is no such command, or the server runs none here, and any ServerError.
        """


class InspectorPort(Protocol):
    """Looks into running instances."""

    async def look(
        self, name: InstanceName, paths: Sequence[str], interfaces: Sequence[str] | None = None
    ) -> Inside:
        """What is inside the running instance at these paths, and the ids of the names that rules use.

        interfaces  the names of network interfaces that matter; None where nobody asks which they are
        """


class Untold(Exception):
    """A uevent did not reach those inside. The text is fit to be shown."""


class Unfit(Untold):
    """What the device is called cannot be told; what others are called can."""


class InjectorPort(Protocol):
    """Tells those inside running instances of devices."""

    async def inject(self, name: InstanceName, uevent: Uevent) -> Uevent:
        """Have those inside the instance hear this. Raises Untold.

        Returns what was told: for `add`, `kernel` is what the kernel says of the device now.
        """


class UdevDatabasePort(Protocol):
    """Keeps udev's records of devices inside running instances."""

    async def keep(self, name: InstanceName, records: Iterable[UdevRecord]) -> None:
        """Have these devices' records inside the instance, and no others of ours; leave all as it is where a
        udevd runs inside. Raises Untold.
        """
