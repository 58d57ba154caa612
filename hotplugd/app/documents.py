"""The JSON that commands print. The keys stay: later versions add some, and rename or remove none.

An instance is given by its project and its name. A device is called by its node, or by its syspath where it
has none. Those of a device and of what the rules say to it are in `device_documents`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypedDict

from hotplugd.aio.backoff import NEVER
from hotplugd.app.naming import NONE, Devices, NamedJson, named_json
from hotplugd.app.override_json import OverrideJson
from hotplugd.app.pool_documents import ClaimJson, LeaseJson
from hotplugd.model.entry import MARK_SINCE
from hotplugd.model.problem import Problem
from hotplugd.model.text import natural
from hotplugd.model.values import Device, InstanceName
from hotplugd.plan.about import is_worth_telling
from hotplugd.plan.change import Attachment, Change
from hotplugd.plan.guard_rails import is_hub
from hotplugd.plan.identity import identity
from hotplugd.plan.kinds.kind import Want
from hotplugd.reconcile.holds import Held
from hotplugd.rules.hubs import NO_HUBS, Hubs


class ProblemJson(NamedJson):
    """device and rule are empty where none is concerned. instance, claim, pool: the claim that cannot be read
    or met, and whose it is (`name` or `project/name`); of a pool with too few devices, the pool; else empty.
    place: the USB port or bus that does not do well, else empty.
    """

    device: str
    rule: str
    message: str
    instance: str
    claim: str
    pool: str
    place: str


class ChangeJson(NamedJson):
    """action: add, update, repair or remove. entry: the device entry's name in the instance."""

    action: str
    project: str
    instance: str
    device: str
    identity: str
    rule: str
    entry: str
    why: str


class PlaceJson(TypedDict):
    """Where a device should go. link: several are parted by blanks. mode, owner (`user:group`): empty where
    the rule does not say.
    """

    project: str
    instance: str
    path: str
    link: str
    mode: str
    owner: str


class AttachmentJson(NamedJson, PlaceJson):
    """path: inside. since: ISO 8601. verified: whether the node was seen inside; null where nobody can look.
    pool, claim: of a device of a pool, else empty.

    by_hand: somebody put it there by `hotplugd attach`, whatever rules say; where no rule takes it, rule is
    `by hand`.
    """

    device: str
    identity: str
    rule: str
    since: str
    verified: bool | None
    pool: str
    claim: str
    by_hand: bool


class ServerJson(TypedDict):
    """software: `lxd` or `incus`. Empty strings where no server has answered yet."""

    address: str
    software: str
    version: str
    connected: bool


class HoldJson(NamedJson):
    """What has to wait. until: ISO 8601; null where not a time but `event` ends it.
    project, instance: in which it would be done; empty for a device that is held off wherever it would go.
    place: empty, or the syspath at which every device is held off.
    """

    device: str
    rule: str
    project: str
    instance: str
    place: str
    until: str | None
    event: str
    why: str


class UnmatchedJson(NamedJson):
    """A device that is plugged into a USB port and that no rule takes; hubs are left out."""

    device: str
    identity: str


class StatusJson(TypedDict):
    """`status --json`. rules and devices: how many. pending: changes that wait for their next try.

    holds: until when these wait and why, and what waits before it becomes a change. overrides: what people
    decided by hand. claims: those that are not met. unmatched: what no rule takes. unleased: devices of pools
    that are there, leased to nobody and in no instance. cursor: of the last event that is in it; `monitor`
    and `history` have those of events.
    """

    ready: bool
    server: ServerJson
    rules: int
    devices: int
    attachments: list[AttachmentJson]
    pending: list[ChangeJson]
    holds: list[HoldJson]
    claims: list[ClaimJson]
    overrides: list[OverrideJson]
    problems: list[ProblemJson]
    unmatched: list[UnmatchedJson]
    unleased: list[LeaseJson]
    failed_reloads: int
    lost_events: int
    cursor: str


def problem_json(problem: Problem, devices: Devices = NONE, hubs: Hubs = NO_HUBS) -> ProblemJson:
    """A problem, as `plan`, `explain` and `status` have it. devices: as `by_name` gives them."""
    named = named_json(devices.get(problem.device), hubs=hubs)
    return {
        **named,
        "device": problem.device,
        "rule": problem.rule,
        "message": problem.message,
        "instance": problem.instance,
        "claim": problem.claim,
        "pool": problem.pool,
        "place": problem.place,
    }


def hold_json(held: Held, until: str, devices: Devices = NONE, hubs: Hubs = NO_HUBS) -> HoldJson:
    """What has to wait, as `plan`, `explain` and `status` have it.

    until    the time that the wait says
    devices  as `by_name` gives them
    """
    timed = held.wait.until != NEVER and not held.wait.event
    return {
        **named_json(devices.get(held.device), hubs=hubs),
        "device": held.device,
        "rule": held.rule,
        "project": held.instance.project if held.instance is not None else "",
        "instance": held.instance.name if held.instance is not None else "",
        "place": held.place,
        "until": until if timed else None,
        "event": "" if timed else held.wait.event,
        "why": held.wait.why,
    }


def change_json(change: Change, devices: Devices = NONE, hubs: Hubs = NO_HUBS) -> ChangeJson:
    """A change, as `plan`, `explain` and `status` have it. devices: as `by_name` gives them."""
    device = change.want.device if change.want is not None else devices.get(change.device)
    # Another may have the node by now.
    if device is not None and change.want is None and identity(device) != change.identity:
        device = None
    return {
        **named_json(device, change.identity, hubs),
        "action": change.action,
        "project": change.instance.project,
        "instance": change.instance.name,
        "device": change.device,
        "identity": change.identity,
        "rule": change.rule,
        "entry": change.entry.name,
        "why": change.why,
    }


def attachment_json(attachment: Attachment) -> AttachmentJson:
    """An attachment, as `explain` and `status` have it."""
    want = attachment.want
    return {
        **named_json(want.device),
        **place_json(want),
        "device": str(want.device),
        "identity": identity(want.device),
        "rule": want.rule.name,
        "since": attachment.entry.config.get(MARK_SINCE, ""),
        "verified": attachment.verified,
        "location": want.location,
        "pool": want.attach.pool,
        "claim": want.claim,
        "by_hand": want.override is not None,
    }


def unmatched_json(devices: Iterable[Device], hubs: Hubs = NO_HUBS) -> list[UnmatchedJson]:
    """The devices in USB ports that no rule takes, in the order in which people count."""
    found = [each for each in devices if is_worth_telling(each) and not is_hub(each) and not each.away]
    return [
        {**named_json(each, hubs=hubs), "device": str(each), "identity": identity(each)}
        for each in sorted(found, key=lambda each: natural(each.kernel))
    ]


def changes_in_order(
    changes: Iterable[Change], devices: Devices = NONE, hubs: Hubs = NO_HUBS
) -> list[ChangeJson]:
    """Changes by instance, port and device, as people count."""
    return sorted((change_json(each, devices, hubs) for each in changes), key=_order)


def problems_in_order(
    problems: Iterable[Problem], devices: Devices = NONE, hubs: Hubs = NO_HUBS
) -> list[ProblemJson]:
    """Problems of no device, and then those of each device, as people count."""
    found = [problem_json(each, devices, hubs) for each in problems]
    return sorted(
        found, key=lambda each: (natural(each["port"]), natural(each["device"]), natural(each["instance"]))
    )


def in_order(attachments: Iterable[Attachment]) -> list[AttachmentJson]:
    """Attachments by instance, port and device, as people count."""
    return sorted(map(attachment_json, attachments), key=_order)


def holds_in_order(
    holds: Iterable[tuple[Held, str]], devices: Devices = NONE, hubs: Hubs = NO_HUBS
) -> list[HoldJson]:
    """What has to wait, with the time that each wait says, by instance, port and device, as people count."""
    return sorted((hold_json(held, until, devices, hubs) for held, until in holds), key=_order)


def _order(each: AttachmentJson | ChangeJson | HoldJson) -> tuple[object, ...]:
    instance = InstanceName(each["project"], each["instance"])
    return instance.order, natural(each["port"]), natural(each["device"])


def place_json(want: Want) -> PlaceJson:
    """Where a device should go, as `explain` and `status` have it."""
    attach = want.attach
    user = attach.user or ("" if attach.uid is None else str(attach.uid))
    group = attach.group or ("" if attach.gid is None else str(attach.gid))
    return {
        "project": want.instance.project,
        "instance": want.instance.name,
        "path": want.target,
        "link": " ".join(want.links),
        "mode": attach.mode or "",
        "owner": f"{user}:{group}" if user or group else "",
    }
