"""What a stream of events says is attached."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

_COMES: Final = {"device.add", "device.update", "device.repair", "device.attached"}
_GOES: Final = {"device.asked", "device.remove", "device.detached"}


def replay(events: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], tuple[str, str, str]]:
    """What is attached once these have happened: device, identity and rule by instance and entry."""
    attached = {}
    for each in events:
        name = each["event"]
        if name in _COMES:
            key = each["instance"], each["entry"]
            attached[key] = each["device"], each["identity"], each["rule"]
        elif name in _GOES:
            attached.pop((each["instance"], each["entry"]), None)
    return attached
