"""The JSON of a device and of what the rules say to it: `devices --json` and `explain --json`. Keys stay.

Keys that rules can match on have the rule language's names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypedDict, cast

from hotplugd.app.device_status import DeviceStatus
from hotplugd.app.documents import (
    AttachmentJson,
    ChangeJson,
    HoldJson,
    PlaceJson,
    ProblemJson,
    attachment_json,
    change_json,
    place_json,
    problem_json,
)
from hotplugd.app.naming import by_name
from hotplugd.app.override_json import OverrideJson, override_json
from hotplugd.app.pool_documents import ClaimJson, LeaseJson, lease_json, unmet_json
from hotplugd.app.snapshot import Fate
from hotplugd.host.open_files import Holder
from hotplugd.model.lease import Lease
from hotplugd.model.text import quoted
from hotplugd.model.values import Device, InstanceName
from hotplugd.plan.desired import wants
from hotplugd.plan.identity import identity, model
from hotplugd.plan.overrides import Override
from hotplugd.pools.leasing import Leasing
from hotplugd.rulefile.bus_numbers import bus_warning, lasting_paths
from hotplugd.rules.keys import GROUPS, KEYS, MatchKey
from hotplugd.rules.ruleset import Rule, RuleSet, Verdict


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

    rule: the one that takes the device, be it to ignore it; null where none does. pool: the one that it is
    of, or empty. parents: the devices above, the nearest first.
    override: what somebody decided by hand instead, or null.
    """

    device: str
    rule: str | None
    identity: str
    model: str
    syspath: str
    instances: list[str]
    missing: list[str]
    pool: str
    parents: list[ValuesJson]
    override: OverrideJson | None


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
    lease: of a device of a pool, whose it is; null for others, and where no server was asked.
    claims: those on its pool that are not met, where it is leased to nobody.
    inside: how a device of a pool that nobody has would be in an instance, whose name is empty; else null.
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
    lease: LeaseJson | None
    claims: list[ClaimJson]
    inside: PlaceJson | None
    by: str


class DevicesJson(TypedDict):
    """The documents of `devices --json`, in the order of sysfs."""

    devices: list[DeviceJson]


def concerns(problem: ProblemJson, device: Device, pool: str) -> bool:
    """Whether it is about the device, its pool, or everything. pool: the one that it is of; empty: none"""
    if problem.get("claim") or problem.get("pool"):
        return bool(pool) and problem.get("pool") == pool
    return problem["device"] in (str(device), "")


def holds_up(hold: HoldJson, device: Device) -> bool:
    """Whether this holds the device. What is held off at a place may have another node by now."""
    place = hold["place"]
    return hold["device"] == str(device) or (place != "" and f"{device.syspath}/".startswith(f"{place}/"))


def device_json(
    device: Device,
    rule: Rule | None,
    keys: Iterable[MatchKey] = KEYS,
    where: DeviceStatus | None = None,
    override: Override | None = None,
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
        "pool": _pool_of(rule),
        "parents": [_values(above, keys) for above in device.ancestors()],
        "override": override_json(override, device) if override is not None else None,
    }


def explain_json(
    device: Device,
    verdicts: Sequence[Verdict],
    status: Fate,
    holding: Sequence[Holder],
    controllers: Mapping[str, str],
    keys: Iterable[MatchKey] = KEYS,
    leasing: Leasing | None = None,
) -> ExplainJson:
    """What the rules say to a device, and what becomes of it.

    controllers  the host's USB controllers by the number of each bus
    leasing      who has which device of a pool; None where no server was asked
    """
    rule = status.wants.rule
    lease = lease_json(status.wants.anchor or device, leasing) if leasing is not None else None
    # What somebody decided by hand alters nothing about which pool's device it is.
    taken = next((each.rule for each in verdicts if each.failed is None and each.rule.enabled), rule)
    return {
        **device_json(device, rule, keys, override=status.wants.override),
        "pool": _pool_of(taken),
        "rules": [_verdict(each) for each in verdicts],
        "along": str(status.wants.anchor) if status.wants.anchor is not None else None,
        "ignored": rule is not None and rule.attach is None,
        "wants": [place_json(each) for each in status.wants.wants],
        "attachments": [attachment_json(each) for each in status.attachments],
        "changes": [change_json(each) for each in status.changes],
        "holds": [],
        "problems": [problem_json(each, by_name([device])) for each in status.problems],
        "holders": [
            {"pid": each.pid, "command": each.command, "instance": each.instance} for each in holding
        ],
        "warnings": [*_warnings(device, rule, controllers)],
        "lease": lease,
        "claims": waiting_claims(lease, leasing) if lease is not None and leasing is not None else [],
        "inside": None,
        "by": "files",
    }


def inside_json(rules: RuleSet, device: Device) -> PlaceJson | None:
    """How a device of a pool would be in an instance, whoever gets it; None where it is of none, or unfit."""
    somebody = Lease(InstanceName("", ""), "")
    found = wants(rules, device, holder=lambda _: somebody).wants
    return place_json(found[0]) if found and found[0].attach.pool else None


def waiting_claims(lease: LeaseJson, leasing: Leasing) -> list[ClaimJson]:
    """The claims that a device could be for that is leased to nobody, and that are not met."""
    if lease["instance"]:
        return []
    return [each for each in unmet_json(leasing) if each["pool"] == lease["pool"]]


def _pool_of(rule: Rule | None) -> str:
    return rule.attach.pool if rule is not None and rule.attach is not None else ""


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
