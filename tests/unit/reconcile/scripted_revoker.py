"""What the bench has revoked, and sees to it that no instance has it meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from hotplugd.model.values import Device
from tests.support.virtual import later, now


@dataclass(slots=True)
class ScriptedRevoker:
    """What was revoked.

    asked  what was to be revoked, by the kernel's name, and when
    takes  how long it takes, in seconds
    open   why it is open still, by the kernel's name
    begun  called with each device when it is begun, and `done` once it is revoked
    """

    asked: list[tuple[float, str]] = field(default_factory=list)
    takes: float = 0.0
    open: dict[str, str] = field(default_factory=dict)
    begun: Callable[[Device], None] = lambda _: None
    done: Callable[[Device], None] = lambda _: None

    async def revoke(self, device: Device) -> str:
        self.asked.append((now(), device.kernel))
        self.begun(device)
        await later(self.takes)
        why = self.open.get(device.kernel, "")
        if not why:
            self.done(device)
        return why

    @property
    def names(self) -> list[str]:
        """What was to be revoked, in order."""
        return [name for _, name in self.asked]
