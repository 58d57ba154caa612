"""What the state file says of leases and cordons. Reading raises ValueError where it is of another shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

from hotplugd.app.state_values import asker, asker_json, fields, items, seconds, some_instance, text
from hotplugd.model.values import InstanceName
from hotplugd.plan.away_leases import Away, KeptLeases, Moment
from hotplugd.plan.cordons import MOST_CORDONS, Cordon, Cordons
from hotplugd.plan.flaps import MOST as MOST_QUARANTINES
from hotplugd.plan.flaps import MOST_QUIET, Quarantine
from hotplugd.plan.lease import Lease
from hotplugd.rules.pattern import Pattern

# Who may edit instances may write claims, and is not to fill the file: of more the oldest are kept.
_MOST_CLAIMS: Final = 5_000
_MOST_AWAY: Final = 1_000
# In seconds, and so many plugs: the largest numbers of a quarantine.
_LONGEST_QUIET: Final = MOST_QUIET

_LEASE: Final = {"key", "pool", "project", "instance", "claim", "place", "since", "boottime"}
_CLAIM: Final = ("project", "instance", "claim")


def leases_json(kept: KeptLeases) -> dict[str, object]:
    """As `leases` reads it."""
    return {
        "boot": kept.boot,
        "away": [_away_json(each) for each in kept.away if _can_be_kept(each)][:_MOST_AWAY],
        "order": [f"{of.project} {of.name} {claim}" for of, claim in kept.order[:_MOST_CLAIMS]],
        "quarantines": [asdict(each) for each in kept.quarantines if _can_be_read(each)],
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
    return [
        {
            "kind": each.kind,
            "name": each.name,
            "reason": each.reason,
            "since": each.since,
            "by": asker_json(each.by),
        }
        for each in cordons
    ]


def cordons(found: object) -> Cordons:
    """What is cordoned."""
    return Cordons(items(found, MOST_CORDONS, "cordon", _cordon))


def _cordon(found: object) -> Cordon:
    told = fields(found, {"kind", "name", "reason", "since", "by"})
    name, kind = text(told["name"]), text(told["kind"])
    if kind == "location":
        # Raises PatternError.
        Pattern.of(name)
        return Cordon("location", name, text(told["reason"]), text(told["since"]), asker(told["by"]))
    if kind == "instance":
        some_instance(*name.partition("/")[::2])
        return Cordon("instance", name, text(told["reason"]), text(told["since"]), asker(told["by"]))
    if kind != "device" or not name:
        raise ValueError("expected `device`, `location` or `instance` as `kind`, and a name")
    return Cordon("device", name, text(told["reason"]), text(told["since"]), asker(told["by"]))


def _can_be_kept(away: Away) -> bool:
    """Whether it can be read again: what a device says of itself keeps nothing else from being written."""
    try:
        return _away(_away_json(away)) == away
    except ValueError:
        return False


def _can_be_read(quarantine: Quarantine) -> bool:
    """As `_can_be_kept`."""
    try:
        return _quarantine(asdict(quarantine)) == quarantine
    except ValueError:
        return False


def _quarantine(found: object) -> Quarantine:
    told = fields(found, set(Quarantine.__dataclass_fields__))
    texts = {name: text(told[name]) for name in ("key", "pool", "place", "since")}
    spans = {name: seconds(told[name]) for name in ("count", "within", "quiet")}
    if not texts["key"]:
        raise ValueError("expected `key` of a device")
    if not spans["quiet"] or max(spans.values()) > _LONGEST_QUIET:
        raise ValueError(f"expected no number above {_LONGEST_QUIET:.0f}, and a `quiet` of some seconds")
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
    }


def _away(found: object) -> Away:
    told = fields(found, _LEASE)
    lease = Lease(some_instance(told["project"], told["instance"]), text(told["claim"]))
    since = Moment(seconds(told["boottime"]), text(told["since"]))
    return Away(text(told["key"]), text(told["pool"]), lease, text(told["place"]), since)


def _claim(found: object) -> tuple[InstanceName, str]:
    parts: Sequence[str] = text(found).split(" ")
    if len(parts) != len(_CLAIM):
        raise ValueError(f"expected {', '.join(_CLAIM)}, with a space between them")
    return some_instance(parts[0], parts[1]), parts[2]
