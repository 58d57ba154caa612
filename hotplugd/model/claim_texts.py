"""Where an instance's claims stand in its configuration, and how much of them is kept. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Final

CLAIM: Final = "user.hotplugd.claim."
"""What the keys of claims begin with, in an instance's own configuration or in a profile's."""

LEASES: Final = "user.hotplugd.leases"
"""The key under which an instance's own configuration says what it has of pools. Output, and never read as
truth.
"""

MOST_CLAIMS: Final = 16
"""Of one instance. Whoever may edit an instance may write any number of them."""

LONGEST_CLAIM: Final = 1024
"""In characters."""


def claim_texts(config: Mapping[str, object]) -> dict[str, str]:
    """The claims in an expanded configuration by their names, as they are written.

    No more than one over each limit is kept, by which whoever reads them tells that there were too many.
    """
    found = sorted(key for key in config if key.startswith(CLAIM))
    return {
        key.removeprefix(CLAIM)[: LONGEST_CLAIM + 1]: str(config[key])[: LONGEST_CLAIM + 1]
        for key in islice(found, MOST_CLAIMS + 1)
    }
