"""Builds what a pool says of its devices' health from nodes, as `build_pools` does it with pools."""

from __future__ import annotations

from hotplugd.rulefile.decode import Decoder, Field
from hotplugd.rulefile.tables import Table
from hotplugd.rules.duration import seconds
from hotplugd.rules.pool_health import Flap


def flap_of(decoder: Decoder, field: Field, table: Table) -> Flap | None:
    """How often a device may be plugged in; None where that is not said as it should be.

    table  the keys of `flap`
    """
    fields = decoder.fields(field.value, table, field.name)
    texts = [decoder.text(fields[key]) for key in ("count", "within") if key in fields]
    match texts:
        case [str(count), str(within)]:
            return Flap(int(count), seconds(within) or 0.0)
    return None
