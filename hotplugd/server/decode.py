"""What a server's answers say of instances. Pure.

What is not as LXD and Incus have it raises KeyError, TypeError, ValueError or AttributeError.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from hotplugd.model.claim_texts import LEASES, claim_texts
from hotplugd.model.entry import is_ours, read
from hotplugd.model.server_traits import ServerTraits
from hotplugd.model.values import Entry, Instance, InstanceName

_RUNNING: Final = frozenset({"running", "frozen", "freezing", "thawed", "ready"})
# Set at the end of making an instance until it is started, and from then on (LXD: lxd/storage/backend_lxd.go,
# DeferTemplateApply; doc/instances.md, volatile.last_state.power).
_MADE: Final = frozenset({"volatile.apply_template", "volatile.last_state.power"})
# Linux: include/linux/threads.h, PID_MAX_LIMIT.
_PID_MOST: Final = 1 << 22
# A time, as both servers write it (Go: time.RFC3339Nano).
_TIME_LONGEST: Final = 64
# Of a value of somebody else's entry: no path of a device is longer (Linux: PATH_MAX), and no other value.
_LONGEST: Final = 4096
_LONGEST_TIME: Final = 40


def instance(found: Mapping[str, Any], member: str, traits: ServerTraits) -> Instance:
    """An instance as it was read by itself, or in a listing where it is known there.

    member  the cluster member that answers, empty without a cluster
    traits  what the server does
    """
    own, where = _entries(found["devices"]), location(found)
    return Instance(
        id=_name(found),
        kind="virtual-machine" if found.get("type") == "virtual-machine" else "container",
        running=str(found["status"]).lower() in _RUNNING,
        started=_time(found.get("last_used_at")),
        made=not _MADE.isdisjoint(found["config"] or ()),
        description=str(found.get("description") or ""),
        entries=own,
        inherited={key: each for key, each in _entries(found["expanded_devices"]).items() if key not in own},
        here=not member or where == member,
        server=traits,
        location=where,
        claims=claim_texts(found.get("expanded_config") or {}),
        # Without the Z at its end, which would sort after the digits of a longer fraction.
        leases=str((found["config"] or {}).get(LEASES) or ""),
        created=str(found.get("created_at") or "")[:_LONGEST_TIME].removesuffix("Z"),
    )


def is_known(found: Mapping[str, Any]) -> bool:
    """Whether a listing says more of an instance than that there is one."""
    return str(found.get("status", "")).lower() != "error" and "devices" in found


def unknown(found: Mapping[str, Any]) -> Instance:
    """What is listed of an instance whose member is away: that says nothing of its devices."""
    return Instance(_name(found), here=False, location=location(found), known=False)


def location(found: Mapping[str, Any]) -> str:
    """The cluster member that the instance is on; empty without a cluster."""
    where = str(found.get("location") or "none")
    return "" if where == "none" else where


def process(found: object) -> int | None:
    """The number of a process, 0 for none (the servers say 0 or -1); None for what is no such number."""
    if not isinstance(found, int) or isinstance(found, bool) or found > _PID_MOST:
        return None
    return max(found, 0)


def _time(found: object) -> str:
    return found[:_TIME_LONGEST] if isinstance(found, str) else ""


def _name(found: Mapping[str, Any]) -> InstanceName:
    return InstanceName(str(found.get("project") or "default"), str(found["name"]))


def _entries(found: Mapping[str, Mapping[str, Any]] | None) -> dict[str, Entry]:
    return {str(name): _entry(str(name), config) for name, config in (found or {}).items()}


def _entry(name: str, config: Mapping[str, Any]) -> Entry:
    """An entry; of somebody else's without what means nothing to the server, which may be of any size."""
    entry = read(name, config)
    if is_ours(entry):
        return entry
    kept = {key: text[:_LONGEST] for key, text in entry.config.items() if not key.startswith("user.")}
    return Entry(name, kept)
