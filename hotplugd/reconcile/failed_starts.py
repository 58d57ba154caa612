"""With which entries of ours an instance could not be started. Pure.

A server starts no instance that lacks a network interface, a GPU or a PCI device of its entries, and none
with a device that cannot be set up by then: a CAN interface without a bit rate. It names the entry to blame,
or nothing at all where the container's own start failed. What is to blame, or may be, is out for as long as
the instance does not run, and goes in again once it runs.
"""

from __future__ import annotations

import re
from typing import Final

from hotplugd.model.entry import is_ours
from hotplugd.model.values import Instance
from hotplugd.plan.planner import Barred

# What is not there when the instance starts keeps it down; of nodes we say that they are not required.
_NEEDED: Final = ("nic", "gpu", "pci")
# One may be on its way, and one be of a request of ours.
_OLDER: Final = 3
_BLAMED: Final = re.compile(r'device "([^"]*)"')


class Starts:
    """Of one instance.

    barred  the entries that stay out while it does not run, by name
    """

    def __init__(self) -> None:
        self.barred: dict[str, Barred] = {}
        # The reason that was heard last, and how many answers of the server may still be older than it.
        self._reason = self._operation = ""
        self._older = 0
        # Those that are out since nobody was named, and those that turned out to be none of it.
        self._suspected: set[str] = set()
        self._cleared: set[str] = set()

    def failed(self, reason: str, operation: str) -> None:
        """It could not be started by this operation, for this reason. The server may say so twice."""
        if operation != self._operation:
            self._operation = operation
            self._reason, self._older = reason, _OLDER

    def forget(self) -> None:
        """What was in the way may have gone."""
        self.barred = {}
        self._suspected.clear()
        self._cleared.clear()

    def learned(self, instance: Instance | None) -> None:
        """It is like this now."""
        if instance is None:
            self.forget()
            self._reason = ""
        elif instance.running:
            self._cleared.clear()
            self._older -= 1
            if self._older <= 0:
                self._reason = ""
        elif self._reason:
            reason, self._reason = self._reason, ""
            self._judge(instance, reason)

    def _judge(self, instance: Instance, reason: str) -> None:
        ours = {name: each for name, each in instance.entries.items() if is_ours(each)}
        named = set(_BLAMED.findall(reason))
        needed = {name for name, each in ours.items() if each.config.get("type") in _NEEDED}
        blamed = named & ours.keys() if named else needed - self._cleared
        # The plan that was made by the one before is still at hand.
        self.barred = self.barred | {
            name: Barred(ours[name], _why(instance, name, reason)) for name in blamed
        }
        if not named and blamed:
            self._suspected |= blamed
        elif not named:
            # Without them it cannot be started either.
            self.barred = {name: each for name, each in self.barred.items() if name not in self._suspected}
            self._cleared |= self._suspected
            self._suspected.clear()


def _why(instance: Instance, name: str, reason: str) -> str:
    who = instance.id
    return (
        f"{who} could not be started with its entry '{name}' ({reason}); the entry is out while {who} does "
        f"not run, and goes in again once it does. To have it in from the start, set the device up on the "
        f"host first, and then have hotplugd reload its rules"
    )
