"""What an instance's configuration says of its leases, for people and for those inside. Pure.

It is written with the entries and never read as truth: whoever may edit an instance may write anything there.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable

from hotplugd.model import entry as entries
from hotplugd.plan.identity import identity
from hotplugd.plan.kinds.kind import Want
from hotplugd.pools.edl import mode


def leases_text(wants: Iterable[Want], names: Collection[str]) -> str:
    """The value of `user.hotplugd.leases`: a JSON list of the leased devices, or empty where there is none.

    wants  what should be in the instance
    names  those of the entries that it has, or will have in a moment
    """
    found = [
        {
            "pool": want.attach.pool,
            "claim": want.claim,
            "identity": want.unit if mode(want.device) else identity(want.device),
            "path": want.target,
            "link": next(iter(want.links), ""),
        }
        for want in wants
        if want.unit and not {*entries.names_for(want.slot)}.isdisjoint(names)
    ]
    return json.dumps(sorted(found, key=lambda each: (each["identity"], each["path"]))) if found else ""
