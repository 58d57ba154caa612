"""Checks right before an attach whether the host uses the device: a mount or a route sends no uevent.

The planner stays pure: the answer goes to the reconciler, and the next plan is made with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from hotplugd.aio.backoff import LONG_AGO
from hotplugd.model.values import Device
from hotplugd.plan.kinds.kind import Want
from hotplugd.reconcile.ports import Ports

# An answer is valid for one request, which has to follow within this many seconds: enough for another plan.
_FRESH: Final = 2.0


class HostUse:
    """Checks for one instance's worker.

    used  called with a device that the host uses, and how
    free  until when each slot's device is known to be free; to be cleared once the request was sent, or is
          not needed: the answers count for one
    """

    def __init__(self, ports: Ports, used: Callable[[Device, str], None]) -> None:
        self._ports = ports
        self._used = used
        self.free: dict[str, float] = {}

    def unchecked(self, wants: Iterable[Want], now: float) -> list[Want]:
        """The devices that were not checked for the next request."""
        return [want for want in wants if self.free.get(want.slot, LONG_AGO) <= now]

    async def ask(self, wants: Iterable[Want], now: Callable[[], float]) -> None:
        """Ask of each device whether the host uses it.

        All are asked at once, and all answers count from the last one on: otherwise the first could expire
        before a slow last one comes, and no device would ever go in.
        """
        self.free = {slot: until for slot, until in self.free.items() if until > now()}
        asked = list(wants)
        answers = await asyncio.gather(*map(self._ports.in_use, asked))
        until = now() + _FRESH
        for want, how in zip(asked, answers, strict=True):
            if how:
                self._used(want.device, how)
            else:
                self.free[want.slot] = until
