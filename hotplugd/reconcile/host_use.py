"""What the host uses is asked right before a device is put in: a mount, a route or a session sends no uevent.

The planner stays pure: who is asked here tells the reconciler, and the next plan is made with the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from hotplugd.aio.backoff import LONG_AGO
from hotplugd.model.values import Device
from hotplugd.plan.desired import Want
from hotplugd.reconcile.ports import Tools

# An answer holds for so many seconds: where more became known meanwhile the plan is made anew.
_FRESH: Final = 0.2


class HostUse:
    """Asks for one instance's worker.

    found  called with a device that the host uses, and how
    """

    def __init__(self, tools: Tools, found: Callable[[Device, str], None]) -> None:
        self._tools = tools
        self._found = found
        # Until when each slot's device is known to be free.
        self._free: dict[str, float] = {}

    def unchecked(self, wants: Iterable[Want], now: float) -> list[Want]:
        """Those of the devices of which it is not known that the host does not use them now."""
        return [want for want in wants if self._free.get(want.slot, LONG_AGO) <= now]

    async def ask(self, wants: Iterable[Want], now: Callable[[], float]) -> None:
        """Ask of each device whether the host uses it."""
        self._free = {slot: until for slot, until in self._free.items() if until > now()}
        for want in wants:
            if used := await self._tools.in_use(want):
                self._found(want.device, used)
            else:
                self._free[want.slot] = now() + _FRESH
