"""Tracks the entries of ours with which an instance could not be started. Pure.

A server does not start an instance if a network interface, a GPU or a PCI device of an entry is missing, or
cannot be set up: a CAN interface without a bit rate. The server names the entry, or none where the start of
the container itself failed. Entries that are to blame, or may be, stay out until the instance runs.
"""

from __future__ import annotations

import re
from typing import Final

from hotplugd.model.entry import is_ours
from hotplugd.model.values import Instance
from hotplugd.plan.change import Barred

# The types that the server requires at the start; entries of nodes say that they are not required.
_NEEDED: Final = ("nic", "gpu", "pci")
# So many answers may be older than the failure: one under way, one to a request of ours.
_OLDER: Final = 3
_BLAMED: Final = re.compile(r'device "([^"]*)"')


class FailedStarts:
    """The failed starts of one instance.

    barred  the entries that stay out while it does not run, by name
    """

    def __init__(self) -> None:
        self.barred: dict[str, Barred] = {}
        # The last reason, and how many further answers of the server may be older than it.
        self._reason = self._operation = ""
        self._older = 0
        # Entries that are out though the server named none, and those without which the start failed, too.
        self._suspected: set[str] = set()
        self._cleared: set[str] = set()

    def failed(self, reason: str, operation: str) -> None:
        """Take note that this operation could not start it, and why. The server may report it twice."""
        if operation != self._operation:
            self._operation = operation
            self._reason, self._older = reason, _OLDER

    def forget(self) -> None:
        """The cause may be gone."""
        self.barred = {}
        self._suspected.clear()
        self._cleared.clear()

    def learned(self, instance: Instance | None) -> None:
        """The instance is like this now; None if it is gone."""
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
        ours = {name: entry for name, entry in instance.entries.items() if is_ours(entry)}
        named = set(_BLAMED.findall(reason))
        needed = {name for name, entry in ours.items() if entry.config.get("type") in _NEEDED}
        blamed = named & ours.keys() if named else needed - self._cleared
        # A new mapping: the last plan was made from the old one.
        self.barred = self.barred | {
            name: Barred(ours[name], _why(instance, name, reason)) for name in blamed
        }
        if not named and blamed:
            self._suspected |= blamed
        elif not named:
            # The start failed without them, too.
            self.barred = {
                name: barred for name, barred in self.barred.items() if name not in self._suspected
            }
            self._cleared |= self._suspected
            self._suspected.clear()


def _why(instance: Instance, name: str, reason: str) -> str:
    who = instance.id
    return (
        f"{who} could not be started with its entry '{name}' ({reason}); the entry is out while {who} does "
        f"not run, and goes in again once it does. To have it in from the start, set the device up on the "
        f"host first, and then have hotplugd reload its rules"
    )
