"""What others' entries take of the devices, kept current, and who is told when that changes.

All state belongs to the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Final

from hotplugd.model.values import Instance, InstanceName
from hotplugd.plan.desired import Wants
from hotplugd.plan.foreign_entries import Claim
from hotplugd.plan.ownership import Claims, withheld

# A restart takes no longer than this between the stop and the start.
_RESTART: Final = 10.0


class OwnershipWatch:
    """The claims of all instances, and the devices that are withheld for them.

    changed  called with the claims that changed, while none are gathered
    """

    def __init__(self, changed: Callable[[AbstractSet[Claim]], None]) -> None:
        self.claims = Claims()
        self._loop = asyncio.get_running_loop()
        self._changed = changed
        self._gathered: set[Claim] | None = None
        # Where the devices that are withheld would be, by key.
        self._withheld: dict[str, Wants] = {}
        # Instances that have just stopped, and may be about to start again.
        self._restarting: dict[InstanceName, asyncio.TimerHandle] = {}

    def gather(self) -> None:
        """Say nothing before `tell`: many instances are told of at once."""
        self._gathered = set()

    def tell(self) -> None:
        """Say what was gathered."""
        changed, self._gathered = self._gathered, None
        if changed:
            self._changed(changed)

    def learned(self, name: InstanceName, instance: Instance | None) -> None:
        """Take note of an instance as it is, None where it is gone."""
        changed = self.claims.learned(name, instance, restarts=self._restarts(name, instance))
        if self._gathered is not None:
            self._gathered |= changed
        elif changed:
            self._changed(changed)

    def judge(self, found: Wants, *, attached: bool) -> Wants:
        """The wants of a device with regard to what others have."""
        judged = withheld(found, self.claims, attached=attached)
        self.forget(found.device.key)
        if found.wants and not judged.wants:
            self._withheld[found.device.key] = found
        return judged

    def forget(self, key: str) -> None:
        """The device is gone, has another key, or is judged anew."""
        self._withheld.pop(key, None)

    def withheld(self, name: InstanceName) -> list[Wants]:
        """Where the devices would be that are withheld, of those that would be in this instance."""
        return [each for each in self._withheld.values() if any(name == want.instance for want in each.wants)]

    def close(self) -> None:
        """Wait for nothing any more."""
        for timer in self._restarting.values():
            timer.cancel()

    def _restarts(self, name: InstanceName, instance: Instance | None) -> bool:
        """Whether the instance may be in the middle of a restart.

        It would not start again if another had got meanwhile what only one can have.
        """
        timer = self._restarting.pop(name, None)
        if timer is not None:
            timer.cancel()
        if instance is None or instance.running or not instance.known:
            return False
        if timer is None and not self.claims.has_alone(instance):
            return False
        until = timer.when() if timer is not None else self._loop.time() + _RESTART
        self._restarting[name] = self._loop.call_at(until, self._has_stopped, name, instance)
        return True

    def _has_stopped(self, name: InstanceName, instance: Instance) -> None:
        del self._restarting[name]
        if changed := self.claims.learned(name, instance):
            self._changed(changed)
