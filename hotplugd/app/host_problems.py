"""Problems of udev, of slots from before and of sealing, which no instance's worker knows: told as events."""

from __future__ import annotations

from structlog.typing import FilteringBoundLogger

from hotplugd.container.seal_problems import Unsealed
from hotplugd.model.problem import Problem
from hotplugd.plan.about import Fields, about_entry


class HostProblems:
    """Tells of them when they begin and when they are over."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        self._log = log
        # Why slots cannot be kept from udev's rule, and what udevd has not done, by device.
        self._unheld: dict[str, str] = {}
        self._unprocessed: dict[str, str] = {}

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
        """It is known of the slot."""
        if (reason := self._unheld.pop(slot, None)) is not None:
            self._log.info("problem.over", device=slot, slot=slot, reason=reason)

    def unsealed(self, unsealed: Unsealed) -> None:
        """A node could not be sealed, or none can be."""
        if unsealed.entry is not None:
            self._log.error("node.unsealed", **_fields(unsealed))
        else:
            self._log.error("seal.problem", **_fields(unsealed))

    def seal_over(self, unsealed: Unsealed) -> None:
        """That is over."""
        self._log.info("problem.over", **_fields(unsealed))

    def problems(self) -> list[Problem]:
        """Which slots cannot be kept. Udev and sealing say their own."""
        why = "udev's rule may take its links away, though an entry may name them, until the server answers"
        return [Problem(slot, "", f"{why}: {reason}") for slot, reason in self._unheld.items()]


def _fields(unsealed: Unsealed) -> Fields:
    fields: Fields = about_entry(unsealed.entry) if unsealed.entry is not None else {}
    if unsealed.instance is not None:
        fields["instance"] = str(unsealed.instance)
    if rule := unsealed.problem.rule:
        fields["rule"] = rule
    return fields | {"reason": unsealed.problem.message}
