"""Network interfaces that have left the host for an instance, until they are back or gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from hotplugd.model import Device

# One that is in no instance that runs is gone after so many seconds.
_UNHELD: Final = 10.0


class Away:
    """Which devices are away. All state belongs to the event loop.

    held  whether an instance that runs has the device of this slot
    gone  called with the syspath that a device left from once it is in no instance and not back
    """

    def __init__(self, held: Callable[[str], bool], gone: Callable[[str], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._held = held
        self._gone = gone
        self._left_from: dict[str, str] = {}
        self._unheld: dict[str, asyncio.TimerHandle] = {}

    def leave(self, device: Device) -> Device:
        """Take note that this device is not on the host any more. Returns it as it is now."""
        self._left_from[device.slot] = device.syspath
        return replace(device, away=True, in_use="")

    def back(self, device: Device) -> str:
        """Take note that this device is on the host, perhaps under another name than it had.

        Returns the syspath that it left from, or empty where it was not away.
        """
        return self._forget(device.slot) if device.slot else ""

    def end(self, device: Device) -> None:
        """Take note that this device is gone, or that another is at the syspath that it had."""
        if self._left_from.get(device.slot) == device.syspath:
            self._forget(device.slot)

    def below(self, syspath: str) -> list[str]:
        """The syspaths of devices that left from below this one."""
        return [each for each in self._left_from.values() if each.startswith(syspath + "/")]

    def watch(self) -> None:
        """See what is held now: what no instance that runs has any more is back on the host soon, or in an
        instance that starts.
        """
        for slot in self._left_from:
            if self._held(slot):
                self._wait_no_more(slot)
            elif slot not in self._unheld:
                self._unheld[slot] = self._loop.call_later(_UNHELD, self._give_up, slot)

    def close(self) -> None:
        """Wait for nothing any more."""
        for timer in self._unheld.values():
            timer.cancel()

    def _forget(self, slot: str) -> str:
        self._wait_no_more(slot)
        return self._left_from.pop(slot, "")

    def _wait_no_more(self, slot: str) -> None:
        if (timer := self._unheld.pop(slot, None)) is not None:
            timer.cancel()

    def _give_up(self, slot: str) -> None:
        del self._unheld[slot]
        if not self._held(slot):
            self._gone(self._left_from[slot])
