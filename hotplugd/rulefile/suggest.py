"""What to write instead of a key that the rule language does not have: "did you mean". Pure."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Final

from hotplugd.rulefile.hints import INSTEAD
from hotplugd.rulefile.tables import Table

_LONGEST_KEY: Final = 64


def instead_of(name: str, table: Table) -> str:
    """What to write instead of an unknown key."""
    known = [key.name for key in table.keys]
    folded = name.strip().casefold().replace("-", "_")
    if name == "required":
        return "never set: a required device that is missing keeps its instance from starting"
    if folded in INSTEAD:
        return INSTEAD[folded]
    if where := table.elsewhere.get(name):
        return f"`{name}` goes {where}"
    close = get_close_matches(folded[:_LONGEST_KEY], known, 1)
    meant = folded if folded in known else table.aliases.get(folded)
    if meant not in known:
        meant = close[0] if close else meant
    if meant in known:
        return f"did you mean '{meant}'?"
    if meant is not None and (where := table.elsewhere.get(meant)):
        return f"did you mean '{meant}' {where}?"
    return f"keys: {', '.join(known)}"
