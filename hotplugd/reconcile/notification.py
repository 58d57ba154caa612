"""One uevent for those inside one instance."""

from __future__ import annotations

from dataclasses import dataclass

from hotplugd.model.uevent import Uevent


@dataclass(frozen=True, slots=True)
class Notification:
    """One uevent for one instance, and the entry and rule on whose behalf it is told."""

    uevent: Uevent
    entry: str
    rule: str

    @property
    def key(self) -> tuple[str, str]:
        """An entry's name stands for one enumeration of a device; moved elsewhere inside it is another."""
        return (self.entry, self.uevent.path)
