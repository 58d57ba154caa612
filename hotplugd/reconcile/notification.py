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
        """The entry's name, which means one enumeration of a device, and the path inside."""
        return (self.entry, self.uevent.path)
