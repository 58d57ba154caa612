"""Devices whose events wait, since they are held off or change all the time. Each is read again later."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from hotplugd.aio.pace import Pace
from hotplugd.model.values import Device

# A device that changes is read so often in a row, and then once in so many seconds.
_FREE_CHANGES: Final = 20
_CHANGE: Final = 0.5


class Gate(Protocol):
    """Holds off a device that comes and goes all the time. Times are the event loop's, in seconds."""

    def heard(self, syspath: str, now: float, *, plugged: bool) -> float:
        """Take note of an event; plugged: of a new device. Returns until when the device is held off."""

    def plugged(self, device: Device, now: float) -> float:
        """Take note of a device that was read. Returns until when it is held off from now on, if it is."""

    def gone(self, syspath: str) -> None:
        """A device is gone."""


class Waiting:
    """The devices that wait, by syspath. Removals never do.

    read  called with each once its time has come
    gate  None where nothing is held off
    """

    def __init__(self, read: Callable[[str], None], gate: Gate | None) -> None:
        self._read = read
        self._gate = gate
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._paces: dict[str, Pace] = {}

    def __contains__(self, syspath: object) -> bool:
        return syspath in self._timers

    def said(self, syspath: str, *, plugged: bool, known: bool) -> bool:
        """Something is said of a device. Returns whether it is read later, and not now.

        plugged  it says that the device is new
        known    it was read before
        """
        now = asyncio.get_running_loop().time()
        until = self._gate.heard(syspath, now, plugged=plugged) if self._gate is not None else now
        if known:
            pace = self._paces.setdefault(syspath, Pace(_FREE_CHANGES, _CHANGE))
            until = max(until, pace.due)
            if until <= now:
                pace.done(now)
        return self._waits(syspath, until, now)

    def was_read(self, device: Device) -> bool:
        """A device was read. Returns whether it is held off, and nothing is to be told of it."""
        if self._gate is None:
            return False
        now = asyncio.get_running_loop().time()
        until = self._gate.heard(device.syspath, now, plugged=False)
        if until <= now:
            until = self._gate.plugged(device, now)
        return self._waits(device.syspath, until, now)

    def gone(self, syspath: str) -> None:
        """A device is gone."""
        self._paces.pop(syspath, None)
        if (timer := self._timers.pop(syspath, None)) is not None:
            timer.cancel()
        if self._gate is not None:
            self._gate.gone(syspath)

    def clear(self) -> None:
        """Read nothing any more."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _waits(self, syspath: str, until: float, now: float) -> bool:
        # When it has come the gate is asked again: a timer that each event moves on would be one an event.
        if until > now and syspath not in self._timers:
            self._timers[syspath] = asyncio.get_running_loop().call_at(until, self._ring, syspath)
        return until > now

    def _ring(self, syspath: str) -> None:
        del self._timers[syspath]
        self._read(syspath)
