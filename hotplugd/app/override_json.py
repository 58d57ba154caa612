"""The JSON of what people decide by hand: overrides, and what came of asking for one. The keys stay."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypedDict

from hotplugd.app.naming import NamedJson, named_json
from hotplugd.model.values import Device
from hotplugd.plan.overrides import Lasting, Override, Overrides


class OverrideJson(NamedJson):
    """What somebody decided about a device. decision: `attach`, into `instance`, or `detach`. present: the
    device is there; else device is what it was called then. since: ISO 8601. uid, user: who asked; login: who
    had logged in.
    """

    decision: str
    device: str
    present: bool
    identity: str
    project: str
    instance: str
    since: str
    uid: int
    user: str
    login: str


class AskedJson(TypedDict):
    """`attach --json`, `detach DEVICE --json` and `undo --json`. taken: whether the decision holds now; else
    nothing was changed. done: whether it is so already, in the instance too. message: what came of it, or why
    nothing did; more: devices that may be meant. overrides: the decision, or those that were undone.
    """

    taken: bool
    done: bool
    message: str
    more: list[str]
    overrides: list[OverrideJson]


def override_json(override: Override, device: Device | None) -> OverrideJson:
    """An override. device: the one that it is about, where that is there."""
    named = named_json(device, override.of.identity)
    if device is None:
        named["serial"] = named["serial"] or override.of.serial
        named["model"], named["port"] = override.model, override.port
    to = override.instance
    return {
        **named,
        "decision": "attach" if override.attaches else "detach",
        "device": str(device) if device is not None else override.device,
        "present": device is not None,
        "identity": override.of.identity,
        "project": to.project if to is not None else "",
        "instance": to.name if to is not None else "",
        "since": override.since,
        "uid": override.by.uid,
        "user": override.by.user,
        "login": override.by.login,
    }


def overrides_json(overrides: Overrides, devices: Iterable[Device]) -> list[OverrideJson]:
    """All overrides, the oldest first. devices: all that are there."""
    there: dict[Lasting, Device] = {}
    for device in devices if overrides else ():
        if (override := overrides.of(device)) is not None:
            there.setdefault(override.of, device)
    return [
        override_json(each, there.get(each.of)) for each in sorted(overrides, key=lambda each: each.since)
    ]
