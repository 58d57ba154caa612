"""What the host uses is asked right before a device is put in: a mount, a route or a session sends no uevent.

The planner stays pure: who is asked here tells the reconciler, and the next plan is made with the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from hotplugd.model.values import Device
from hotplugd.plan.desired import may_be_used
from hotplugd.plan.planner import Change
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

    async def ask(self, batch: Sequence[Change], now: Callable[[], float]) -> bool:
        """Ask of each device that these put in. Returns whether the host uses any of them."""
        self._free = {slot: until for slot, until in self._free.items() if until > now()}
        found = False
        for change in batch:
            want = change.want
            if want is None or change.action != "add" or not may_be_used(want) or want.slot in self._free:
                continue
            if used := await self._tools.in_use(want):
                found = True
                self._found(want.device, used)
            else:
                self._free[want.slot] = now() + _FRESH
        return found
