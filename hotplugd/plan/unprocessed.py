"""Devices that udevd has not processed, and the entries that may have been made for one of them. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from hotplugd.model.entry import slot_of, slot_prefix
from hotplugd.model.values import Device, Entry


class Unsettled:
    """The devices of which nothing is known yet but that they exist."""

    def __init__(self, devices: Sequence[Device]) -> None:
        self._numbers = {slot_prefix(each.devnum) for each in devices if each.devnum is not None}
        self._interfaces = {each.kernel for each in devices if each.subsystem == "net"}
        self._parts = {part for each in devices for part in each.syspath.split("/")}

    def may_have(self, entry: Entry) -> bool:
        """Whether the entry may have been made for one of them."""
        if not self._parts:
            return False
        if "-".join(slot_of(entry).split("-", 3)[:3]) + "-" in self._numbers:
            return True
        if entry.config.get("type") == "nic":
            return entry.config.get("parent") in self._interfaces
        address = entry.config.get("pci") or entry.config.get("address")
        return address is not None and address in self._parts
