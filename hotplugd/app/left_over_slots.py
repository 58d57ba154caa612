"""The slots of which links exist when the daemon starts: those whose devices are gone are removed."""

from __future__ import annotations

from structlog.typing import FilteringBoundLogger

from hotplugd.container.seals import Seals
from hotplugd.host.server_lock import is_alone
from hotplugd.host.slots import Slots
from hotplugd.model.entry import names_for
from hotplugd.model.ports import Unreachable
from hotplugd.reconcile.reconciler import Reconciler


class LeftOverSlots:
    """The slots from before the start.

    address  of the server; a hotplugd of another server may use some of the slots
    left     the slots that `sweep` has not settled yet
    """

    def __init__(
        self,
        address: str,
        slots: Slots,
        seals: Seals,
        reconciler: Reconciler,
        log: FilteringBoundLogger,
    ) -> None:
        self._address = address
        self._slots = slots
        self._seals = seals
        self._reconciler = reconciler
        self._log = log
        self.left: list[str] = []

    def hold(self) -> None:
        """Keep the udev rule from removing any slot: which of them entries name is not known yet.

        Raises OSError.
        """
        self.left = sorted(self._slots.names())
        for slot in self.left:
            try:
                self._slots.hold(slot)
            except OSError as error:
                self._log.warning("slot.problem", device=slot, reason=str(error))

    async def sweep(self) -> None:
        """Remove slots whose devices are gone. Another hotplugd may still know a device by its older slot.

        Raises Unreachable where no file can be opened.
        """
        try:
            alone = is_alone(self._address) if self.left else False
            while self.left:
                slot = self.left[-1]
                is_replaced = alone and self._reconciler.inventory.is_of_another(slot)
                if self._slots.leads_nowhere(slot) or is_replaced:
                    for name in names_for(slot):
                        await self._seals.seal_everywhere(name)
                    self._reconciler.left_over(slot)
                    self._log.info("slot.swept", slot=slot)
                self.left.pop()
        except OSError as error:
            raise Unreachable(f"what is left from before cannot be looked at: {error}") from error
