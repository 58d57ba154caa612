"""The workers of all instances: of those that are known, and of those in which something should be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Final, TypeVar

from hotplugd.aio.backoff import LONG_AGO
from hotplugd.aio.slices import slices
from hotplugd.aio.tasks import Activity
from hotplugd.model.values import InstanceName
from hotplugd.plan.kinds.kind import Want
from hotplugd.reconcile.device_log import Cause
from hotplugd.reconcile.inventory import Inventory
from hotplugd.reconcile.moved_devices import MovedDevices
from hotplugd.reconcile.ports import Ports
from hotplugd.reconcile.worker import Listener, Worker

T = TypeVar("T")

# So many instances are seen to in one turn of the event loop: some 0.2 ms each, with what their workers do at
# once. A plug takes some ten turns.
SLICE: Final = 10


class Workers:
    """Has one worker for each instance.

    all       the workers by their instances' names
    unlisted  the projects of which the server could not tell at last
    listener  is told what they find out
    """

    def __init__(
        self,
        by_name: dict[InstanceName, Worker],
        ports: Ports,
        activity: Activity,
        inventory: Inventory,
        moved: MovedDevices,
        listener: Listener,
    ) -> None:
        self.all = by_name
        self.unlisted: Collection[str] = ()
        self._ports = ports
        self._activity = activity
        self._inventory = inventory
        self._moved = moved
        self._listener = listener
        # When, in the loop's time, an instance was last found to be missing.
        self._forgotten = LONG_AGO

    def of(self, name: InstanceName) -> Worker:
        """The instance's worker, also where there is no such instance (yet)."""
        if name not in self.all:
            self.all[name] = Worker(
                name,
                self._ports,
                self._activity,
                self._inventory,
                self._moved,
                self._listener,
                self._forgotten,
            )
        return self.all[name]

    def want(self, key: str, wants: Sequence[Want], before: Sequence[Want], cause: Cause, was: str) -> None:
        """Have the instances concerned have a device as these say, and no more as it was before.

        was  what the device was known by before
        """
        for name in {want.instance for want in (*before, *wants)}:
            worker = self.of(name)
            if was != key:
                worker.want(was, (), cause)
            worker.want(key, tuple(want for want in wants if want.instance == name), cause)
            if name.project in self.unlisted:
                worker.find()

    def gather(self, what: Callable[[Worker], Sequence[T]]) -> list[T]:
        """What all workers have of something, by instance, as people count; most have nothing."""
        found = [(name, some) for name, worker in self.all.items() if (some := what(worker))]
        return [each for _, some in sorted(found, key=lambda each: each[0].order) for each in some]

    def for_all(self, *acts: Callable[[Worker], None]) -> None:
        """Do these for all instances, one after the other. Those without devices follow, a few in each turn
        of the loop.
        """
        workers = list(self.all.values())
        for act in acts:
            for worker in workers:
                if worker.is_wanted:
                    act(worker)
        rest = [worker for worker in workers if not worker.is_wanted]
        if rest:
            self._activity.start(partial(self._for_rest, rest, acts), lambda _: None)

    def is_idle(self, worker: Worker) -> None:
        """Nothing is under way for an instance: forget one that is none, and let those go on that waited."""
        self._forget_if_over(worker)
        for other in self._inventory.handovers.idle(worker.name):
            self.of(other).kick()

    def _forget_if_over(self, worker: Worker) -> None:
        if self.all.get(worker.name) is not worker:
            # It was forgotten before its last step ended.
            return
        if worker.is_over:
            worker.close()
            self._forgotten = asyncio.get_running_loop().time()
            self.all.pop(worker.name, None)

    async def _for_rest(self, rest: Sequence[Worker], acts: Sequence[Callable[[Worker], None]]) -> None:
        for act in acts:
            async for some in slices(rest, SLICE):
                for worker in some:
                    if self.all.get(worker.name) is worker:
                        act(worker)
