"""The JSON that commands print. The keys stay: later versions add some, and rename or remove none.

An instance is given by its project and its name. A device is called by its node, or by its syspath where it
has none. Keys that rules can match on have the rule language's names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypedDict, cast

from hotplugd.aio.backoff import NEVER
from hotplugd.app.naming import NONE, Devices, NamedJson, by_name, named_json
from hotplugd.app.snapshot import Fate
from hotplugd.host.open_files import Holder
from hotplugd.model.entry import MARK_SINCE
from hotplugd.model.problem import Problem
from hotplugd.model.text import natural, quoted
from hotplugd.model.values import Device
from hotplugd.plan.change import Attachment, Change
from hotplugd.plan.fates import Fates
from hotplugd.plan.identity import identity, model
from hotplugd.plan.kinds.kind import Want
from hotplugd.reconcile.holds import Held
from hotplugd.rulefile.bus_numbers import bus_warning, lasting_paths
from hotplugd.rules.keys import GROUPS, KEYS, MatchKey
from hotplugd.rules.ruleset import Rule, Verdict


class ProblemJson(NamedJson):
    """device and rule are empty where none is concerned."""

    device: str
    rule: str
    message: str


class ChangeJson(NamedJson):
    """action: add, update, repair or remove. entry: the device entry's name in the instance.

    location: as in AttachmentJson; empty for what goes.
    """

    action: str
    project: str
    instance: str
    device: str
    identity: str
    rule: str
    entry: str
    why: str
    location: str


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
    """path: inside. since: ISO 8601. verified: whether the node was seen inside; null if it does not run.

    location: the hub's port where that has a name, else empty.
    """

    device: str
    identity: str
    rule: str
    since: str
    verified: bool | None
    location: str


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


class StatusJson(TypedDict):
    """`status --json`. rules and devices: how many. pending: changes that wait for their next try.

    holds: until when these wait and why, and what waits before it becomes a change.
    """

    ready: bool
    server: ServerJson
    rules: int
    devices: int
    attachments: list[AttachmentJson]
    pending: list[ChangeJson]
    holds: list[HoldJson]
    problems: list[ProblemJson]
    failed_reloads: int
    lost_events: int


def problem_json(problem: Problem, devices: Devices = NONE) -> ProblemJson:
    """A problem, as `plan`, `explain` and `status` have it. devices: as `by_name` gives them."""
    named = named_json(devices.get(problem.device))
    return {**named, "device": problem.device, "rule": problem.rule, "message": problem.message}


def hold_json(held: Held, until: str, devices: Devices = NONE) -> HoldJson:
    """What has to wait, as `plan`, `explain` and `status` have it.

    until    the time that the wait says
    devices  as `by_name` gives them
    """
    timed = held.wait.until != NEVER and not held.wait.event
    return {
        **named_json(devices.get(held.device)),
        "device": held.device,
        "rule": held.rule,
        "project": held.instance.project if held.instance is not None else "",
        "instance": held.instance.name if held.instance is not None else "",
        "place": held.place,
        "until": until if timed else None,
        "event": "" if timed else held.wait.event,
        "why": held.wait.why,
    }


def change_json(change: Change, devices: Devices = NONE) -> ChangeJson:
    """A change, as `plan`, `explain` and `status` have it. devices: as `by_name` gives them."""
    device = change.want.device if change.want is not None else devices.get(change.device)
    # Another may have the node by now.
    if device is not None and change.want is None and identity(device) != change.identity:
        device = None
    return {
        **named_json(device, change.identity),
        "action": change.action,
        "project": change.instance.project,
        "instance": change.instance.name,
        "device": change.device,
        "identity": change.identity,
        "rule": change.rule,
        "entry": change.entry.name,
        "why": change.why,
        "location": change.want.location if change.want is not None else "",
    }


def attachment_json(attachment: Attachment) -> AttachmentJson:
    """An attachment, as `explain` and `status` have it."""
    want = attachment.want
    return {
        **named_json(want.device),
        **_place(want),
        "device": str(want.device),
        "identity": identity(want.device),
        "rule": want.rule.name,
        "since": attachment.entry.config.get(MARK_SINCE, ""),
        "verified": attachment.verified,
        "location": want.location,
    }


def in_order(attachments: Iterable[Attachment]) -> list[AttachmentJson]:
    """Attachments by instance and device, as people count."""
    found = map(attachment_json, attachments)
    return sorted(
        found, key=lambda each: (each["project"], natural(each["instance"]), natural(each["device"]))
    )


class FailedJson(TypedDict):
    """The first condition of a rule that a device does not meet. key: dotted where it is nested."""

    key: str
    wanted: str
    found: str


class VerdictJson(TypedDict):
    """What a rule says to a device. failed: null where it matches. enabled: false where the rule is switched
    off, and takes no device though it may match.
    """

    name: str
    file: str
    line: int
    failed: FailedJson | None
    description: str
    enabled: bool


class ValuesJson(TypedDict, total=False):
    """What a rule can match on, by the names of match keys and groups; a key without a value is left out."""

    subsystem: str
    devtype: str
    kernel: str
    driver: str
    id: str
    vendor_id: str
    product_id: str
    serial: str
    port: list[str]
    path: str
    location: str
    interface: list[str]
    mac: str
    property: dict[str, str]
    attr: dict[str, str]


class DeviceJson(ValuesJson):
    """`devices --json` is a list of these. model: as udev has it, or empty. instances: that have it, as the
    running daemon says; missing: that should have it and do not. Both are empty in `explain --json`.

    rule: the one that takes the device, be it to ignore it; null where none does. parents: the devices above,
    the nearest first.
    """

    device: str
    rule: str | None
    identity: str
    model: str
    syspath: str
    instances: list[str]
    missing: list[str]
    parents: list[ValuesJson]


class HolderJson(TypedDict):
    """A process that has the node open. instance: the container that it runs in; empty: the host."""

    pid: int
    command: str
    instance: str


class ExplainJson(DeviceJson):
    """`explain --json`. rules: in order, up to the first that takes it, which is `rule`.

    holds: what the running daemon says of it, if one runs.
    along: the device above that it goes along with, by `with` in that one's rule, which is `rule`; or null.
    warnings: what is doubtful about the rule that takes it, on this host.
    by: `files`, or `daemon` where these have errors and it is what the running daemon has in force.
    """

    rules: list[VerdictJson]
    along: str | None
    ignored: bool
    wants: list[PlaceJson]
    attachments: list[AttachmentJson]
    changes: list[ChangeJson]
    holds: list[HoldJson]
    problems: list[ProblemJson]
    holders: list[HolderJson]
    warnings: list[str]
    by: str


def device_json(
    device: Device, rule: Rule | None, keys: Iterable[MatchKey] = KEYS, where: Fates | None = None
) -> DeviceJson:
    """A device with every value that a rule can match on, the rule that takes it, and where it is."""
    keys = tuple(keys)
    return {
        **_values(device, keys),
        "device": str(device),
        "rule": rule.name if rule is not None else None,
        "identity": identity(device),
        "model": model(device),
        "syspath": device.syspath,
        "instances": [*where.instances] if where is not None else [],
        "missing": [*where.missing] if where is not None else [],
        "parents": [_values(above, keys) for above in device.ancestors()],
    }


def explain_json(
    device: Device,
    verdicts: Sequence[Verdict],
    fate: Fate,
    holding: Sequence[Holder],
    controllers: Mapping[str, str],
    keys: Iterable[MatchKey] = KEYS,
) -> ExplainJson:
    """What the rules say to a device, and what becomes of it.

    controllers  the host's USB controllers by the number of each bus
    """
    rule = fate.wants.rule
    return {
        **device_json(device, rule, keys),
        "rules": [_verdict(each) for each in verdicts],
        "along": str(fate.wants.anchor) if fate.wants.anchor is not None else None,
        "ignored": rule is not None and rule.attach is None,
        "wants": [_place(each) for each in fate.wants.wants],
        "attachments": [attachment_json(each) for each in fate.attachments],
        "changes": [change_json(each) for each in fate.changes],
        "holds": [],
        "problems": [problem_json(each, by_name([device])) for each in fate.problems],
        "holders": [
            {"pid": each.pid, "command": each.command, "instance": each.instance} for each in holding
        ],
        "warnings": [*_warnings(device, rule, controllers)],
        "by": "files",
    }


def _place(want: Want) -> PlaceJson:
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


def _warnings(device: Device, rule: Rule | None, controllers: Mapping[str, str]) -> Iterator[str]:
    if rule is None:
        return
    below = rule.attach.companions if rule.attach is not None else ()
    for match in (rule.match, *(each.match for each in below)):
        if message := bus_warning(match, controllers):
            paths = ", ".join(f'"{quoted(each)}"' for each in lasting_paths(device))
            yield f"rule '{rule.name}' {message}" + (f"; here `path: [{paths}]` stays" if paths else "")
            return


def _verdict(verdict: Verdict) -> VerdictJson:
    failed = verdict.failed
    return {
        "name": verdict.rule.name,
        "file": verdict.rule.file,
        "line": verdict.rule.line,
        "description": verdict.rule.description,
        "enabled": verdict.rule.enabled,
        "failed": None
        if failed is None
        else {"key": failed.key, "wanted": failed.wanted, "found": failed.found},
    }


def _values(device: Device, keys: Iterable[MatchKey]) -> ValuesJson:
    values = {
        key.name: list(texts) if key.listed else texts[0] for key in keys if (texts := key.values(device))
    }
    groups = {group.name: dict(group.texts(device)) for group in GROUPS}
    return cast("ValuesJson", {**values, **groups})
