"""Which of the reconciler's methods each lifecycle event of the server leads to."""

from __future__ import annotations

from structlog.typing import FilteringBoundLogger

from hotplugd.app.instance_listing import InstanceListing
from hotplugd.reconcile.reconciler import Reconciler
from hotplugd.server.events import START_FAILED, Lifecycle


def tell_lifecycle(
    event: Lifecycle, reconciler: Reconciler, listing: InstanceListing, log: FilteringBoundLogger
) -> None:
    """Tell the reconciler what happened to an instance; have instances listed where it concerns many."""
    if event.name is None:
        listing.soon(event.project)
    elif listing.is_for_many(event.name):
        listing.soon()
    elif event.action == "instance-restarted":
        # A restart: the instance runs before and after it, so its state shows no change.
        if reconciler.knows(event.name):
            log.info("instance.restarted", instance=str(event.name))
        reconciler.refresh(event.name)
    elif event.action == START_FAILED:
        reconciler.start_failed(event.name, event.reason, event.operation)
    elif event.action in ("instance-stopped", "instance-shutdown"):
        is_asked = event.asked or event.action == "instance-stopped"
        reconciler.refresh(event.name, "asked" if is_asked else "own")
    elif event.action == "instance-updated":
        reconciler.updated(event.name)
    elif event.action == "instance-migrated":
        reconciler.moved(event.name)
    else:
        reconciler.refresh(event.name)
