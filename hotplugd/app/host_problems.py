"""Problems of udev, USB ports, slots from before and sealing, which no worker knows: told as events."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from structlog.typing import FilteringBoundLogger

from hotplugd.app.usb_health import (
    OverCurrents,
    Standing,
    UsbPorts,
    failed_ports,
    full_buses,
    full_controllers,
    unconfigured_devices,
)
from hotplugd.container.seal_problems import Unsealed
from hotplugd.host.usb_signs import UsbSigns
from hotplugd.model.problem import Problem
from hotplugd.model.values import Device
from hotplugd.plan.about import Fields, about_entry
from hotplugd.reconcile.problem_log import ProblemLog
from hotplugd.rules.hubs import Hubs


class HostProblems:
    """Tells of them when they begin and when they are over."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        self._log = log
        # Why slots cannot be kept from udev's rule, and what udevd has not done, by device.
        self._unheld: dict[str, str] = {}
        self._unprocessed: dict[str, str] = {}
        self._over_currents = OverCurrents()
        self._unfinished, self._unconfigured = Standing(), Standing()
        self._usb: list[Problem] = []
        self._usb_log = ProblemLog(log, "usb.problem")

    def udev(self, device: str, what: str) -> None:
        """What is the matter with udevd, or with what it does not do for a device; empty: that is over."""
        if what:
            self._unprocessed[device] = what
            self._log.warning("udev.problem", device=device, reason=what)
        elif device:
            self._log.info("problem.over", device=device, reason=self._unprocessed.pop(device, ""))
        else:
            self._unprocessed.pop(device, None)
            self._log.info("udev.back")

    def unheld(self, slot: str, reason: str) -> None:
        """A slot cannot be kept, of which it is not known yet whether an entry names it."""
        self._unheld[slot] = reason
        self._log.warning("slot.problem", device=slot, slot=slot, reason=reason)

    def settled(self, slot: str) -> None:
        """The problem of this slot is over."""
        if (reason := self._unheld.pop(slot, None)) is not None:
            self._log.info("problem.over", device=slot, slot=slot, reason=reason)

    def unsealed(self, unsealed: Unsealed) -> None:
        """A node could not be sealed, or none can be."""
        if unsealed.entry is not None:
            self._log.error("node.unsealed", **_fields(unsealed))
        else:
            self._log.error("seal.problem", **_fields(unsealed))

    def seal_over(self, unsealed: Unsealed) -> None:
        """The problem of a node that could not be sealed is over."""
        self._log.info("problem.over", **_fields(unsealed))

    def usb(self, signs: UsbSigns | None, devices: Sequence[Device], hubs: Hubs) -> None:
        """Somebody looked how USB ports, devices and buses do. signs: None where nobody could tell"""
        now, ports = asyncio.get_running_loop().time(), UsbPorts(devices, hubs)
        if signs is not None:
            self._over_currents = self._over_currents.seen(signs.over_currents, now)
            self._unfinished = self._unfinished.seen(signs.unfinished, now)
            self._unconfigured = self._unconfigured.seen(signs.unconfigured, now)
        self._usb = [
            *self._over_currents.problems(devices, hubs),
            *failed_ports(self._unfinished, ports, now),
            *unconfigured_devices(self._unconfigured, ports, devices, now),
            *full_controllers(devices),
            *full_buses(devices),
        ]
        self._usb_log.are(self._usb, devices)

    def problems(self) -> list[Problem]:
        """Which slots cannot be kept, and how USB does. Udev and sealing say their own."""
        why = "udev's rule may take its links away, though an entry may name them, until the server answers"
        slots = [Problem(slot, "", f"{why}: {reason}") for slot, reason in self._unheld.items()]
        return slots + self._usb


def _fields(unsealed: Unsealed) -> Fields:
    fields: Fields = about_entry(unsealed.entry) if unsealed.entry is not None else {}
    if unsealed.instance is not None:
        fields["instance"] = str(unsealed.instance)
    if rule := unsealed.problem.rule:
        fields["rule"] = rule
    return fields | {"reason": unsealed.problem.message}
