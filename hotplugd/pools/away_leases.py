"""Leases whose devices are absent: each is kept for as long as its pool says. Pure.

What is attached is recorded by its entry. That goes with its device, so what is absent is recorded here, and
`KeptLeases` is what a daemon keeps of it for the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from hotplugd.model.lease import Lease
from hotplugd.model.text import quoted
from hotplugd.model.values import Device, InstanceName
from hotplugd.pools.devices import PoolDevice
from hotplugd.pools.flaps import Quarantine
from hotplugd.pools.unit_key import place
from hotplugd.rules.duration import in_words
from hotplugd.rules.hubs import Hubs, sockets

_OF_ITSELF: Final = ("serial:", "mac:")
"""What a key begins with that a device has wherever it is plugged in."""
# No boot lasts so long, in seconds: of what is there the next daemon, if it finds it gone, says since when.
_NOT_YET: Final = float(1 << 53)


@dataclass(frozen=True, slots=True)
class Moment:
    """A time. boot: in seconds of CLOCK_BOOTTIME; day: ISO 8601."""

    boot: float = 0.0
    day: str = ""


@dataclass(frozen=True, slots=True)
class Away:
    """A lease whose device is absent.

    key    what the device is known by in leases
    place  where it was plugged in; empty where nobody knows
    since  since when it is absent
    socket  the names of the USB socket that it was in; none where nobody knows, and of a part of a USB device
    """

    key: str
    pool: str
    lease: Lease
    place: str
    since: Moment
    socket: tuple[str, ...] = ()

    @classmethod
    def of(cls, key: str, lease: Lease, was: PoolDevice | None, since: Moment) -> Away:
        """That of a device, as it was; None where nobody knows."""
        if was is None:
            return cls(key, "", lease, "", since)
        # A phone's modem, which is leased by itself, never is the phone.
        socket = sockets(was.device) if was.device.is_usb_device else ()
        return cls(key, was.pool, lease, place(was.device), since, socket)


@dataclass(frozen=True, slots=True)
class KeptLeases:
    """What outlives the daemon.

    boot   the first 8 digits of the boot's id in which `away` was written down
    away   the leases whose devices are absent
    order  the instances and names of all claims, in the order in which they were first seen
    quarantines  of devices that come and go too often
    """

    boot: str = ""
    away: tuple[Away, ...] = ()
    order: tuple[tuple[InstanceName, str], ...] = ()
    quarantines: tuple[Quarantine, ...] = ()

    def from_now(self, boot: str, now: Moment) -> KeptLeases:
        """The same in the boot with this id: in another one than before each lease is kept anew, and that of
        a device without a serial number has ended, since its place may have another name.
        """
        if self.boot == boot:
            since = (replace(each.since, boot=min(each.since.boot, now.boot)) for each in self.away)
            away = (replace(each, since=one) for each, one in zip(self.away, since, strict=True))
        else:
            away = (replace(each, since=now) for each in self.away if each.key.startswith(_OF_ITSELF))
        return replace(self, boot=boot, away=tuple(away))


NOTHING_KEPT: Final = KeptLeases()


class AwayLeases:
    """The leases whose devices are absent, by what these are known by.

    went  those whose device went since `begin` was called; back: the keys of those that came back
    in_edl  those whose phone is there in emergency download mode, where a restart of ours would not know it
    unrecorded  those whose device is there, and which no entry records: their instances do not run, or just
                started, and what the entry says is looked up in there
    """

    def __init__(self) -> None:
        self.went: list[Away] = []
        self.back: list[str] = []
        self.in_edl: tuple[Away, ...] = ()
        self.unrecorded: tuple[Away, ...] = ()
        self._away: dict[str, Away] = {}
        # What selectors were compared with before, where somebody knows that.
        self._were: dict[str, Device] = {}

    def __contains__(self, key: object) -> bool:
        return key in self._away

    def __iter__(self) -> Iterator[Away]:
        return iter(self._away.values())

    @property
    def with_edl(self) -> tuple[Away, ...]:
        """These, and those whose phone is there in emergency download mode."""
        return (*self._away.values(), *self.in_edl)

    def get(self, key: str) -> Away | None:
        """The lease of an absent device, if there is one."""
        return self._away.get(key)

    def was(self, key: str) -> Device | None:
        """An absent device as it was; None where nobody knows."""
        return self._were.get(key)

    def location(self, away: Away, hubs: Hubs) -> str:
        """The name of the port where an absent device was; empty where it has none, or nobody knows."""
        was = self._were.get(away.key)
        return (hubs.location(was) if was is not None else "") or hubs.at(away.socket)

    def taken(self, keys: Iterable[str]) -> dict[str, tuple[str, Device | None]]:
        """Those of these that are absent, as `PoolDevices` takes them."""
        return {key: (self._away[key].pool, self._were.get(key)) for key in keys if key in self._away}

    def kept(self, boot: str, order: tuple[tuple[InstanceName, str], ...]) -> KeptLeases:
        """What is to outlive the daemon. boot, order: as in `KeptLeases`"""
        away = (*self.with_edl, *self.unrecorded)
        return KeptLeases(boot if away else "", away, order)

    def next_end(self, keep: Callable[[str], float], now: Moment) -> float | None:
        """In how many seconds the next one ends; None where there is none. keep: of a pool, in seconds"""
        ends = (each.since.boot + keep(each.pool) for each in self)
        return max(end - now.boot, 0.0) if (end := min(ends, default=None)) is not None else None

    def begin(self) -> None:
        """Another allocation begins: forget what went and came back before."""
        self.went, self.back = [], []

    def restore(self, away: Away) -> None:
        """Take a lease that the daemon before has kept; where its device is there no entry records it yet."""
        self._away[away.key] = away
        self.unrecorded += (replace(away, since=Moment(_NOT_YET, away.since.day)),)

    def goes(self, key: str, lease: Lease, was: PoolDevice | None, since: Moment) -> Away:
        """A device that is leased, and was like this, is absent from now on. Returns its lease."""
        self._away[key] = away = Away.of(key, lease, was, since)
        if was is not None and was.lasting is not None:
            self._were[key] = was.lasting
        self.went.append(away)
        return away

    def comes(self, key: str, device: Device | None) -> str:
        """A leased device is there. Returns why its lease is over: what is there is another device."""
        away = self._away.pop(key, None)
        if away is None:
            return ""
        if (
            device is not None
            and away.place
            and not key.startswith(_OF_ITSELF)
            and place(device) != away.place
        ):
            return "another device has its name"
        self.back.append(key)
        return ""

    def why_over(self, key: str, keep: float, now: Moment) -> str:
        """Why the lease of an absent device is over; empty where it is kept. keep: seconds."""
        if now.boot - self._away[key].since.boot < keep:
            return ""
        return f"its device was away for longer than {in_words(keep)}" if keep else "its device is gone"

    def phone_at(
        self,
        device: Device,
        pool: str,
        before: Iterable[Away],
        went: Mapping[str, PoolDevice],
        leases: Mapping[str, Lease],
    ) -> str:
        """What the leased phone is known by that was the last one in a device's socket.

        Empty where there is none of this pool, or where there are several.

        before  what the daemon before has kept, while that was not looked at
        went    what is no more, and not noted yet; leases: those of before that
        """
        here = sockets(device)
        going = (Away.of(key, leases[key], was, Moment()) for key, was in went.items() if key in leases)
        were = {
            each.key
            for each in (*self._away.values(), *before, *going)
            if each.pool == pool and not {*each.socket}.isdisjoint(here)
        }
        return were.pop() if len(were) == 1 else ""

    def note_there(
        self,
        in_edl: Mapping[str, PoolDevice],
        unrecorded: Mapping[str, PoolDevice],
        leases: Mapping[str, Lease],
        now: Moment,
    ) -> None:
        """These devices are there in emergency download mode, and these without an entry.

        leases  all that there are
        """
        self.in_edl = _as_away(in_edl, leases, self.in_edl, now)
        others = {key: known for key, known in unrecorded.items() if key not in in_edl}
        self.unrecorded = _as_away(others, leases, self.unrecorded, now)

    def keep_only(self, leases: Iterable[str]) -> None:
        """Forget all but these: the others are over."""
        self._away = {key: self._away[key] for key in leases if key in self._away}
        self._were = {key: was for key, was in self._were.items() if key in self._away}


def _as_away(
    found: Mapping[str, PoolDevice], leases: Mapping[str, Lease], before: Iterable[Away], now: Moment
) -> tuple[Away, ...]:
    """The leases of these devices that are there. before: those that were noted last"""
    since, new = {each.key: each.since for each in before}, Moment(_NOT_YET, now.day)
    leased = ((key, known, leases[key]) for key, known in found.items() if key in leases)
    return tuple(Away.of(key, lease, known, since.get(key, new)) for key, known, lease in leased)


def pool_changed(away: Away, pool: str) -> str:
    """Why the lease of an absent device is over whose claim asks for devices of this pool now; or empty."""
    if away.pool == pool:
        return ""
    return f"claim '{quoted(away.lease.claim)}' asks for devices of pool '{quoted(pool)}' now"
