"""What an update of an instance asks a server for, by what is known of the instance. Pure.

    Revision x entries -> Update     `planned`

See `api` for what it rests on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from hotplugd.model.claim_texts import LEASES
from hotplugd.model.entry import is_ours, written
from hotplugd.model.ports import Busy, Changed
from hotplugd.model.server_traits import ServerTraits
from hotplugd.model.values import Entry, Instance, InstanceName

Method = Literal["PUT", "PATCH"]
_WRITABLE: Final = ("architecture", "config", "devices", "ephemeral", "profiles", "stateful", "description")


@dataclass(frozen=True, slots=True)
class Revision:
    """An instance as the server has it.

    raw   in the server's own words
    etag  of that. Both are empty where it was not read by itself: after a listing, or an update of ours
    kept  whether it may be kept as it is
    """

    instance: Instance
    raw: Mapping[str, Any] = field(default_factory=dict)
    etag: str = ""
    kept: bool = True


@dataclass(frozen=True, slots=True)
class Update:
    """A request that changes an instance: its method, and what it is sent with. after: what comes of it"""

    method: Method
    request: Mapping[str, Any]
    after: Instance


def planned(
    name: InstanceName,
    put: Sequence[Entry],
    remove: Sequence[str],
    sealed: Instance | None,
    known: Revision,
    leases: str | None,
    traits: ServerTraits,
) -> Update | None:
    """What to ask for; None where everything is so. Raises Changed or Busy where it must not be."""
    instance = known.instance
    if sealed is not None and instance.has_other_nodes(sealed, (*remove, *(each.name for each in put))):
        raise Changed(f"{name} was started, or somebody changed an entry of ours in it, meanwhile")
    for each in put:
        if (now := instance.entries.get(each.name)) is not None and not is_ours(now):
            raise Busy(f"somebody else made an entry '{each.name}' in {name} meanwhile")
    if absent := [each for each in remove if each not in instance.entries]:
        # Whoever asked for this is to know that it was not this request that took it out.
        raise Busy(f"{name} has lost its entry '{absent[0]}' meanwhile")
    gone = {each for each in remove if is_ours(instance.entries[each])}
    after = {key: each for key, each in instance.entries.items() if key not in gone}
    after |= {each.name: each for each in put}
    leases = instance.leases if leases is None else leases
    if after == instance.entries and leases == instance.leases:
        return None
    request: dict[str, Any] = {"params": {"project": name.project}}
    if known.etag:
        request["headers"] = {"If-Match": known.etag}
    devices: dict[str, Any] = {each.name: written(each) for each in put}
    if gone and not traits.removes_by_patch:
        body = {key: known.raw[key] for key in _WRITABLE if key in known.raw}
        before = known.raw["devices"] or {}
        others = {key: config for key, config in before.items() if key not in gone}
        config = {key: value for key, value in (body.pop("config", None) or {}).items() if key != LEASES}
        body["config"] = config | ({LEASES: leases} if leases else {})
        method: Method = "PUT"
        body = {**body, "devices": others | devices}
    else:
        method = "PATCH"
        body = {} if traits.keeps_description else {"description": instance.description}
        # Null takes an entry out.
        body["devices"] = {**dict.fromkeys(gone), **devices}
        if leases != instance.leases:
            # Empty takes the key out.
            body["config"] = {LEASES: leases}
    return Update(method, {**request, "json": body}, replace(instance, entries=after, leases=leases))


def starts_from(known: Revision, put: Sequence[Entry], remove: Sequence[str]) -> bool:
    """Whether an update may be made of what is known, without asking first.

    What goes out goes by PUT, which writes down everything else too, or is nobody else's by the ETag; and no
    node is to go, or be made anew, in an instance that was started since.
    """
    return bool(known.etag) or not (remove or _replaces(known.instance, put))


def _replaces(instance: Instance, put: Sequence[Entry]) -> bool:
    """Whether the server would make a node anew that is there."""
    return any(each.name in instance.entries for each in put)
