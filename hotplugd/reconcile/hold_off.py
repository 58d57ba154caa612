"""When a device that is plugged and pulled all the time is held off. Pure: times are passed in.

It counts plugs at a place, which a device cannot change, and moves of an identity from place to place. A
place is the syspath of a USB device, also for all devices below it; for other devices it is their own
syspath. Removals are never held off.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from hotplugd.model.names import is_serial
from hotplugd.model.values import Device
from hotplugd.rules.keys import SERIAL

# A phone that is being flashed appears about ten times in two minutes; so does a device plugged by hand.
MOST: Final = 40
WINDOW: Final = 120.0
# The hold-off ends once there was no plug for this many seconds. Only a part of the plugs counts from then
# on, so that a user can try again.
CALM: Final = 15.0
_LEFT: Final = 4
# A device with a copied serial number must not hold off the other: its own place must count this many.
_TAKES_PART: Final = 3
# A bound on memory, since serial numbers can be made up.
_MOST_KNOWN: Final = 4096
_LONG_AGO: Final = float("-inf")


@dataclass(frozen=True, slots=True)
class Plug:
    """One enumeration of a device.

    place     the path in sysfs of the USB device that it is or hangs from; its own otherwise
    token     differs for each enumeration at the place; empty for devices that cannot be attached
    identity  its serial number or address; empty where it has none
    """

    place: str
    token: str
    identity: str = ""


@dataclass(frozen=True, slots=True)
class Hold:
    """A place at which everything is held off. count: how often it was plugged there, or with its identity.

    until  when it will have been calm for long enough, at the earliest
    """

    place: str
    count: int
    until: float


def plug_of(device: Device) -> Plug:
    """The enumeration of this device."""
    usb = device.usb
    if usb is None:
        return Plug(device.syspath, device.slot, _identity(device))
    return Plug(usb.syspath, str(usb.devnum or ""), _identity(usb))


def _identity(device: Device) -> str:
    serial = next(iter(SERIAL.values(device)), "") or device.attrs.get("permanent_address", "")
    return serial if is_serial(serial) else ""


@dataclass(slots=True)
class _Count:
    """The plugs of one place or identity.

    since     the times of the plugs within the window
    token     the token of the last plug; identity: its identity
    count     the number of plugs, those during a hold-off included
    at, here  of an identity: the place of its last plug, and all places where it is now
    shared    the identity was at two places at once: several devices have it, and it identifies none
    """

    since: deque[float] = field(default_factory=deque)
    token: str = ""
    identity: str = ""
    count: int = 0
    until: float = _LONG_AGO
    at: str = ""
    here: set[str] = field(default_factory=set)
    shared: bool = False

    def plugged(self, now: float) -> None:
        self.since.append(now)
        while now - self.since[0] > WINDOW:
            self.since.popleft()
        self.count = len(self.since)

    def hold(self, now: float, left: int) -> None:
        """From now on until it is calm. left: how many of its plugs count from then on."""
        self.until = now + CALM
        while len(self.since) > left:
            self.since.popleft()


class HoldOff:
    """Counts plugs. most: more than these within the window are too many; 0 for no limit."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._places: dict[str, _Count] = {}
        self._identities: dict[str, _Count] = {}
        self._held: set[str] = set()

    def heard(self, syspath: str, now: float, *, plugged: bool) -> float:
        """An event concerns a device that exists. Returns until when it is held off; long ago if not.

        plugged  it says that the device is new
        """
        place = syspath if self._held else ""
        while place:
            if place in self._held:
                count = self._places[place]
                if count.until <= now:
                    self._held.discard(place)
                else:
                    count.count += plugged and place == syspath
                    count.until = max(count.until, now + CALM) if plugged else count.until
                    return count.until
            place = place.rpartition("/")[0]
        return _LONG_AGO

    def plugged(self, plug: Plug, now: float) -> Hold | None:
        """A device was read. Returns its hold-off if it was plugged in too often."""
        if not self._most or not plug.token:
            return None
        place = self._count(self._places, plug.place, now)
        if place.token == plug.token:
            return None
        self._leaves(plug.place, place)
        place.token, place.identity = plug.token, plug.identity
        place.plugged(now)
        moves = self._moves(plug, now) if plug.identity else 0
        if moves > self._most and len(place.since) > _TAKES_PART:
            place.count = moves
        elif len(place.since) <= self._most:
            return None
        place.hold(now, self._most - self._most // _LEFT)
        self._held.add(plug.place)
        return self._hold(plug.place)

    def gone(self, syspath: str) -> None:
        """The device at this place is gone."""
        if (place := self._places.get(syspath)) is not None:
            self._leaves(syspath, place)

    def is_near(self, place: str) -> bool:
        """Whether the place has half of the plugs of a hold-off."""
        return place in self._places and len(self._places[place].since) >= self._most // 2

    def holds(self, now: float) -> list[Hold]:
        """The hold-offs in force."""
        return [self._hold(place) for place in sorted(self._held) if self._places[place].until > now]

    def _hold(self, place: str) -> Hold:
        count = self._places[place]
        return Hold(place, count.count, count.until)

    def _moves(self, plug: Plug, now: float) -> int:
        """How often the identity came to another place within the window."""
        identity = self._count(self._identities, plug.identity, now)
        if identity.at != plug.place:
            identity.plugged(now)
        identity.at = plug.place
        identity.here.add(plug.place)
        identity.shared = identity.shared or len(identity.here) > 1
        return 0 if identity.shared else len(identity.since)

    def _leaves(self, syspath: str, place: _Count) -> None:
        if (identity := self._identities.get(place.identity)) is not None:
            identity.here.discard(syspath)

    def _count(self, known: dict[str, _Count], key: str, now: float) -> _Count:
        """The count for this key, marked as the most recently used."""
        count = known.pop(key, None) or _Count()
        if len(known) >= _MOST_KNOWN:
            oldest = next((name for name, count in known.items() if count.until <= now), next(iter(known)))
            del known[oldest]
            if known is self._places:
                self._held.discard(oldest)
        known[key] = count
        return count
