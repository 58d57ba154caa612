"""The table of the devices of pools that are in no instance, as `status` and `plan` show it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hotplugd.cli.common import NAMED, located, names_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hotplugd.app.pool_documents import LeaseJson


def show_unleased(unleased: Sequence[LeaseJson]) -> None:
    """Print the devices of pools that are in no instance, if there are any."""
    if unleased:
        rows = [
            [
                each["device"],
                *names_of(each),
                each["pool"],
                each["state"],
                each["health"],
                each["reason"] or each["health_reason"],
            ]
            for each in unleased
        ]
        located(("leased to nobody", *NAMED, "pool", "state", "health", "reason"), rows, unleased)
