"""What the reconciler uses: the ports of the adapters, and the bundle that the workers get."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from structlog.typing import FilteringBoundLogger

from hotplugd.model.ports import CommandPort, InjectorPort, InspectorPort, ServerPort, UdevDatabasePort
from hotplugd.model.problem import Problem
from hotplugd.model.values import Device, Entry, Instance, InstanceName, Link
from hotplugd.plan.kinds.kind import Want
from hotplugd.pools.away_leases import KeptLeases


class SlotsPort(Protocol):
    """The slots' links below /dev/hotplugd."""

    def make(self, device: Device, *, alone: bool = False) -> None:
        """Make the device's links, or see that they are right. Raises OSError.

        alone  whether one instance has the device alone: of a pool, or by hand
        """

    def cut(self, slot: str) -> None:
        """Make the slot's links lead nowhere, which the server does not notice. Raises OSError."""

    def was_made(self, slot: str) -> bool:
        """Whether the slot has links: the device was, or is, attached since it was plugged in."""

    def was_alone(self, slot: str) -> bool:
        """Whether one instance had the device alone since it was plugged in."""

    def remove(self, slot: str) -> bool:
        """Remove the slot's links, which no entry of the server names any more. Raises OSError.

        Returns whether they are removed: if another hotplugd has locked the slot, they stay.
        """


class EntryJournal(Protocol):
    """The entries that are being put into instances. Survives a crash of ours, and no boot."""

    def names(self) -> Iterable[InstanceName]:
        """The instances with journal entries of the process before that were not taken yet."""

    def take(self, name: InstanceName) -> Mapping[str, Entry]:
        """What was being put into this instance when the process before ended, by the entries' names."""

    def note(self, name: InstanceName, entries: Sequence[Entry]) -> None:
        """Note that these are being put in; none removes the instance's journal."""


class LinkJournal(Protocol):
    """The symlinks inside instances. Survives a crash of ours, and no boot; the links do not, either.

    They are not in entries, since rules change them while a device is attached.
    """

    def names(self) -> Iterable[InstanceName]:
        """The instances with journal entries of the process before that were not taken yet."""

    def take(self, name: InstanceName) -> Mapping[str, Link]:
        """The links that were made in this instance by the process before, or about to be, by path."""

    def note(self, name: InstanceName, links: Mapping[str, Link]) -> None:
        """Note that these exist or are about to; none removes the instance's journal."""


class RecordJournal(Protocol):
    """In which instances there may be records of udev's that we put there. As that of links."""

    def names(self) -> Iterable[InstanceName]:
        """The instances with journal entries of the process before that nobody took yet."""

    def take(self, name: InstanceName) -> bool:
        """Whether the process before has put records into this instance, or was about to."""

    def note(self, name: InstanceName, *, there: bool) -> None:
        """Note whether there are records, or are about to be."""


class SealsPort(Protocol):
    """Seals a node before its device leaves an instance, so that no process inside can open it again.

    What goes by a request of ours is given to `seal` before. What a request replaces is given to `hold`
    before, and `has` seals it then, as it does what others have removed.
    """

    def has(self, name: InstanceName, instance: Instance | None) -> None:
        """The instance is as it is now."""

    def restarted(self, name: InstanceName) -> None:
        """The instance restarted or stopped."""

    async def seal(self, name: InstanceName, leaving: Iterable[Entry]) -> bool:
        """The nodes of these entries are about to go from this instance, which runs. Returns whether all are
        sealed.
        """

    async def hold(self, name: InstanceName, replaced: Iterable[Entry]) -> None:
        """The nodes of these entries are about to be made anew, if the server does as it is asked."""

    def missed(self, name: InstanceName, gone: Iterable[Entry]) -> None:
        """The instance was started while the server took out these entries, or made their nodes anew: nobody
        knows whether it had nodes of theirs, which nobody has sealed.
        """

    async def seal_everywhere(self, name: str) -> None:
        """The nodes of any entry of this name are about to go, from whichever instance."""

    async def unsealed(self, names: Collection[str]) -> str:
        """Why the node of an entry of these names that went is not sealed, once what is being sealed is;
        empty where all are.
        """

    async def kept(self, name: InstanceName, entries: Collection[str]) -> Collection[str]:
        """Of which of these entries the server keeps files, as far as anybody can see."""

    def problems(self) -> list[Problem]:
        """What could not be sealed."""


class LeaseKeeperPort(Protocol):
    """Keeps for the next daemon what no entry records of leases."""

    def before(self) -> KeptLeases:
        """What the daemon before has kept of leases."""

    def note(self, kept: KeptLeases) -> None:
        """Have this kept from now on."""

    async def written(self) -> None:
        """Return once what was noted is on the disk, or cannot be written, or not soon."""


class RevokerPort(Protocol):
    """Ends what processes have open of a device that was taken out of an instance."""

    async def revoke(self, device: Device) -> str:
        """Why a process may still have the device open; empty where none has."""


@dataclass(frozen=True, slots=True)
class Ports:
    """What workers work with.

    commands  runs commands inside
    restore  an interface that is away, with the devices above it as they are; None where they are gone.
             Raises OSError where nobody can tell now; then all devices are listed again soon
    log      where what was done is told
    now      the time of day, as an entry's mark is to tell it
    in_use   why the host uses a device that is about to be put in, as it is now; empty where it does not
    leases   keeps what no entry records of leases
    boottime how long ago the host booted, in seconds (CLOCK_BOOTTIME)
    trusted_file  what is in a file of root's on the host. Raises OSError, with a text fit to be shown
    unsure   called where it cannot be told whether the host uses a device that a rule takes: look again soon
    dry_run  tell what would be done, and change nothing
    boot     the first 8 digits of the present boot's id
    """

    server: ServerPort
    commands: CommandPort
    inspector: InspectorPort
    injector: InjectorPort
    udev_database: UdevDatabasePort
    slots: SlotsPort
    seals: SealsPort
    revoker: RevokerPort
    entry_journal: EntryJournal
    link_journal: LinkJournal
    record_journal: RecordJournal
    restore: Callable[[Device], Device | None]
    log: FilteringBoundLogger
    now: Callable[[], str]
    in_use: Callable[[Want], Awaitable[str]]
    unsure: Callable[[], None]
    leases: LeaseKeeperPort
    boottime: Callable[[], float]
    trusted_file: Callable[[str], Awaitable[bytes]]
    dry_run: bool = False
    boot: str = ""

    def noted(self) -> set[InstanceName]:
        """The instances of which a journal of the process before says something that nobody took yet."""
        journals = (self.entry_journal, self.link_journal, self.record_journal)
        return {name for journal in journals for name in journal.names()}
