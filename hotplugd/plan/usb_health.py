"""Ports and buses of USB that do not do well: over-current, and buses that have no room for more. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from hotplugd.model.problem import Problem
from hotplugd.model.values import Device
from hotplugd.rules.hubs import Hubs

ADDRESSES: Final = 127
"""So many devices a bus can have, its hubs among them (USB 2.0, 8.1)."""

NEAR: Final = 115
"""With so many devices on a bus that is told: a farm's next hub would not fit."""

LASTS: Final = 3600.0
"""So many seconds after its last over-current a port is a problem."""


@dataclass(frozen=True, slots=True)
class OverCurrents:
    """Which ports were switched off for drawing too much power.

    counts  how often since the boot, by the name of a device in the port; None before the first look
    since   by the same, when it was noticed last, and how often since the daemon looks
    """

    counts: Mapping[str, int] | None = None
    since: Mapping[str, tuple[float, int]] = field(default_factory=dict)

    def seen(self, counts: Mapping[str, int], now: float) -> OverCurrents:
        """With these counts. What was counted before the first look is nobody's news."""
        if self.counts is None:
            return OverCurrents(dict(counts))
        since = {port: noted for port, noted in self.since.items() if now - noted[0] < LASTS}
        for port, count in counts.items():
            # A hub that is plugged in anew counts from zero.
            before = self.counts.get(port, 0)
            more = count - before if count >= before else count
            if more > 0:
                since[port] = now, since.get(port, (now, 0))[1] + more
        return OverCurrents(dict(counts), since)

    def problems(self, devices: Iterable[Device], hubs: Hubs) -> Iterator[Problem]:
        """A problem for each port, which names the place."""
        by_name = {each.kernel: each for each in devices if each.is_usb_device}
        for port, (_, times) in sorted(self.since.items()):
            device = by_name.get(port)
            location = hubs.location(device) if device is not None else ""
            place = f"{location} (port {port})" if location else f"port {port}"
            often = "once" if times == 1 else f"{times} times"
            message = (
                f"over-current at USB {place}, {often} within the last hour: what is in it draws more power "
                f"than the hub gives, or the cable has a short; the hub may have switched it off"
            )
            yield Problem(str(device) if device is not None else "", "", message, place=location or port)


def full_buses(devices: Iterable[Device]) -> Iterator[Problem]:
    """A problem for each bus that has few addresses left."""
    buses = Counter(
        each.kernel.removeprefix("usb").partition("-")[0] for each in devices if each.is_usb_device
    )
    for bus, number in sorted(buses.items()):
        if number >= NEAR:
            message = (
                f"USB bus {bus} has {number} devices, hubs among them, and {ADDRESSES} are the most: what is "
                f"plugged in beyond that does not appear; controllers may have room for fewer: put hubs on "
                f"another one"
            )
            yield Problem("", "", message, place=f"usb{bus}")
