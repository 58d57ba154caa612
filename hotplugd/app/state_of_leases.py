"""What the state file says of leases and cordons. Reading raises ValueError where it is of another shape."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from itertools import islice
from typing import Final, TypeVar

from hotplugd.app.state_values import asker, fields, items, seconds, some_instance, text
from hotplugd.model.lease import Lease
from hotplugd.model.values import InstanceName
from hotplugd.pools.away_leases import Away, KeptLeases, Moment
from hotplugd.pools.cordons import MOST_CORDONS, Cordon, Cordons
from hotplugd.pools.flaps import MOST as MOST_QUARANTINES
from hotplugd.pools.flaps import MOST_QUIET, Quarantine
from hotplugd.rules.pattern import Pattern

T = TypeVar("T")

# Who may edit instances may write claims, and is not to fill the file: of more the oldest are kept.
_MOST_CLAIMS: Final = 5_000
_MOST_AWAY: Final = 1_000
# By USB 2 and by USB 3.
_MOST_NAMES: Final = 2

_LEASE: Final = {"key", "pool", "project", "instance", "claim", "place", "since", "boottime"}
_CLAIM: Final = ("project", "instance", "claim")


def leases_json(kept: KeptLeases) -> dict[str, object]:
    """As `leases` reads it."""
    return {
        "boot": kept.boot,
        "away": [*islice(_readable(kept.away, _away_json, _away), _MOST_AWAY)],
        "order": [f"{of.project} {of.name} {claim}" for of, claim in kept.order[:_MOST_CLAIMS]],
        "quarantines": [*_readable(kept.quarantines, asdict, _quarantine)],
    }


def leases(found: object) -> KeptLeases:
    """What is kept of leases."""
    told = fields(found, {"boot", "away", "order"}, frozenset({"quarantines"}))
    away = tuple(items(told["away"], _MOST_AWAY, "lease", _away))
    order = tuple(items(told["order"], _MOST_CLAIMS, "claim", _claim))
    quarantines = tuple(items(told.get("quarantines", []), MOST_QUARANTINES, "quarantine", _quarantine))
    return KeptLeases(text(told["boot"]), away, order, quarantines)


def cordons_json(cordons: Cordons) -> list[dict[str, object]]:
    """As `cordons` reads it."""
    return [asdict(each) for each in cordons]


def cordons(found: object) -> Cordons:
    """What is cordoned."""
    return Cordons.made_of(items(found, MOST_CORDONS, "cordon", _cordon))


def _cordon(found: object) -> Cordon:
    told = fields(found, {"kind", "name", "reason", "since", "by"})
    rest = text(told["reason"]), text(told["since"]), asker(told["by"])
    match text(told["kind"]), text(told["name"]):
        case "location", name:
            # Raises PatternError.
            Pattern.of(name)
            return Cordon("location", name, *rest)
        case "instance", name:
            some_instance(*name.partition("/")[::2])
            return Cordon("instance", name, *rest)
        case "device", name if name:
            return Cordon("device", name, *rest)
        case "pool", name if name:
            return Cordon("pool", name, *rest)
    raise ValueError("expected `device`, `location`, `instance` or `pool` as `kind`, and a name")


def _readable(
    values: Iterable[T], write: Callable[[T], dict[str, object]], read: Callable[[object], T]
) -> Iterator[dict[str, object]]:
    """The documents that can be read again: what a device says of itself keeps no other from the file."""
    for each in values:
        document = write(each)
        with suppress(ValueError):
            if read(document) == each:
                yield document


def _quarantine(found: object) -> Quarantine:
    told = fields(found, set(Quarantine.__dataclass_fields__))
    texts = {name: text(told[name]) for name in ("key", "pool", "place", "since")}
    spans = {name: seconds(told[name]) for name in ("count", "within", "quiet")}
    if not texts["key"]:
        raise ValueError("expected `key` of a device")
    # So many plugs, too, are the most.
    if not spans["quiet"] or max(spans.values()) > MOST_QUIET:
        raise ValueError(f"expected no number above {MOST_QUIET:.0f}, and a `quiet` of some seconds")
    return Quarantine(
        texts["key"],
        texts["pool"],
        texts["place"],
        int(spans["count"]),
        spans["within"],
        texts["since"],
        spans["quiet"],
    )


def _away_json(away: Away) -> dict[str, object]:
    return {
        "key": away.key,
        "pool": away.pool,
        "project": away.lease.instance.project,
        "instance": away.lease.instance.name,
        "claim": away.lease.claim,
        "place": away.place,
        "since": away.since.day,
        "boottime": away.since.boot,
        "socket": [*away.socket],
    }


def _away(found: object) -> Away:
    told = fields(found, _LEASE, frozenset({"socket"}))
    lease = Lease(some_instance(told["project"], told["instance"]), text(told["claim"]))
    since = Moment(seconds(told["boottime"]), text(told["since"]))
    socket = tuple(items(told.get("socket", []), _MOST_NAMES, "name of a socket", text))
    return Away(text(told["key"]), text(told["pool"]), lease, text(told["place"]), since, socket)


def _claim(found: object) -> tuple[InstanceName, str]:
    parts: Sequence[str] = text(found).split(" ")
    if len(parts) != len(_CLAIM):
        raise ValueError(f"expected {', '.join(_CLAIM)}, with a space between them")
    return some_instance(parts[0], parts[1]), parts[2]
