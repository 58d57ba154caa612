"""A request about a device on the control socket: which device, and which instance."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from hotplugd.model.text import plain, quoted

_LONGEST_REASON: Final = 200
_LONGEST: Final = 4096  # PATH_MAX: a node or a path in sysfs is the longest that may be meant


def see_short(*words: str) -> None:
    """See that no word is longer than one may be that is looked for. Raises ValueError."""
    if any(len(each) > _LONGEST for each in words):
        raise ValueError(f"expected words of at most {_LONGEST} characters, and found a longer one")


def object_in(text: str) -> Mapping[str, object]:
    """The JSON object that a client sent. Raises ValueError where the text is anything else."""
    with suppress(RecursionError):
        found = json.loads(text)
        if isinstance(found, dict):
            return found
    raise ValueError("expected an object")


@dataclass(frozen=True, slots=True)
class DeviceRequest:
    """What somebody asks for.

    device      its node, serial, location or path in sysfs
    real        where that leads, links followed; of a client that sends none the same
    everything  all that were decided about by hand are meant
    reason      why
    yes         it is done; otherwise the answer says what would be done
    """

    device: str
    real: str
    project: str
    instance: str
    everything: bool
    reason: str = ""
    yes: bool = False

    @classmethod
    def of(cls, text: str) -> DeviceRequest:
        """What a client sent. Raises ValueError."""
        found = object_in(text)
        told = {key: str(found.get(key) or "") for key in ("device", "real", "project", "instance")}
        everything = found.get("all") is True
        if not told["device"] and not everything:
            raise ValueError("expected `device`: a node, a serial number, a location, or a path in sysfs")
        see_short(*told.values())
        for key in ("project", "instance"):
            if plain(told[key]) != told[key]:
                raise ValueError(f"expected the name of a server's {key}, and found '{quoted(told[key])}'")
        return cls(
            told["device"], told["real"] or told["device"], told["project"] or "default", told["instance"],
            everything, str(found.get("reason") or "")[:_LONGEST_REASON], found.get("yes") is True,
        )  # fmt: skip
