"""The keys of a pool that are about the health of its devices, as `grammar` has the others."""

from __future__ import annotations

from typing import Final

from hotplugd.rulefile import validate_pools
from hotplugd.rulefile.tables import Key

OF_POOLS: Final = (
    Key(
        "flap",
        "flap",
        "How often a device may be plugged in, and within what time; one that is more often is quarantined.",
    ),
)
"""Keys of a pool."""

FLAP: Final = (
    Key(
        "count",
        "text",
        "So many times: one more is too often.",
        text=validate_pools.flap_count,
        json=validate_pools.NUMBER_JSON,
        required=True,
    ),
    Key(
        "within",
        "text",
        "In so much time, from 1s to 1h.",
        text=validate_pools.flap_within,
        json=validate_pools.SPAN_JSON,
        required=True,
    ),
)
"""Keys of `flap`."""
