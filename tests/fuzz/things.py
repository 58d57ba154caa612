"""Devices that say anything, through the matcher, the planner, the forms, uevents and documents."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from io import StringIO
from typing import Final

from hotplugd.app.device_documents import explain_json
from hotplugd.app.documents import attachment_json, change_json, hold_json, problem_json
from hotplugd.app.override_json import overrides_json
from hotplugd.app.selection import Selection
from hotplugd.app.snapshot import Fate
from hotplugd.cli import common, explain, status
from hotplugd.container.uevent_message import kernel_form, libudev_form
from hotplugd.host.list_once import restored
from hotplugd.host.open_files import Holder
from hotplugd.model.asker import Asker
from hotplugd.model.entry import is_ours, links_of
from hotplugd.model.names import is_instance_name
from hotplugd.model.nic_snapshot import recall
from hotplugd.model.uevent import Uevent
from hotplugd.model.values import Device, Entry, Instance, InstanceName
from hotplugd.plan.change import Plan
from hotplugd.plan.desired import Wants, wants
from hotplugd.plan.identity import identity
from hotplugd.plan.overrides import Lasting, Override, Overrides, lasting
from hotplugd.plan.ownership import Owners, withheld
from hotplugd.plan.planner import plan_instance
from hotplugd.reconcile.holds import Held, Wait
from hotplugd.rules.ruleset import RuleSet, Verdict
from tests.fuzz import holds, made
from tests.fuzz.feed import Feed
from tests.support.lab.uevents import KERNEL, LIBUDEV, parse

# One for all: click keeps each stream that it has ever written to.
_INTERFACE: Final = "n-1a2b3c4d-1-2"
_SCREEN: Final = StringIO()


def devices(data: bytes) -> None:
    """A device under rules that use what it says; the entries that come of that, and how it is shown."""
    feed = Feed(data)
    judge(feed, made.ruleset(feed), made.device(feed))


def judge(feed: Feed, rules: RuleSet, device: Device) -> None:
    """What comes of a device, in instances of all kinds."""
    holds.agree(rules, device)
    holds.can_be_shown(identity(device))
    found = wants(rules, device)
    for problem in found.problems:
        holds.can_be_shown(problem.message)
    for want in found.wants:
        assert is_instance_name(want.instance.name)
    owners = Owners()
    owners.learned(made.BOX, made.instance(feed, device))
    for problem in withheld(found, owners).problems:
        holds.can_be_shown(problem.message)
    plans = []
    for name in dict.fromkeys(want.instance for want in found.wants):
        wanted = [want for want in found.wants if want.instance == name]
        box = made.instance(feed, device, name)
        seen = made.inside(feed, {want.target: device for want in wanted})
        plan = plan_instance(name, box, wanted, seen, present={device.slot})
        for change in plan.changes:
            if change.action != "remove":
                holds.is_legal(change, name.name)
        plans.append(plan)
    _show(rules.explain(device), device, found, plans)


def plans(data: bytes) -> None:
    """An instance that has anything in its configuration and in its file system."""
    feed = Feed(data)
    rules = made.ruleset(feed)
    found = {each.syspath: each for each in feed.several(lambda: made.device(feed), 3)}.values()
    wanted = [want for each in found for want in wants(rules, each).wants if want.instance == made.BOX]
    box = made.instance(feed, next(iter(found), None))
    seen = made.inside(feed, {want.target: want.device for want in wanted})
    unprocessed = [made.usb_device(feed)] if feed.chance(3) else []
    plan = plan_instance(made.BOX, box, wanted, seen, unprocessed, {each.slot for each in found})
    theirs = {each.name for each in box.entries.values() if not is_ours(each)} | box.inherited.keys()
    for change in plan.changes:
        assert change.entry.name not in theirs
        assert is_ours(change.entry)
        holds.can_be_shown(change.why)
        if change.action != "remove":
            holds.is_legal(change, "box")
    for problem in plan.problems:
        holds.can_be_shown(problem.message)
    for each in box.entries.values():
        _read(each, rules.attrs)


def _read(entry: Entry, attrs: frozenset[str]) -> None:
    """What the daemon makes of marks, which anybody may write who may edit an instance."""
    for link in links_of(entry):
        assert link.startswith("/dev/")
        assert ".." not in link.split("/")
    remembered = recall(entry)
    if remembered is not None:
        assert remembered.syspath.startswith("/sys/devices/")
        assert ".." not in remembered.syspath.split("/")
        restored(attrs, remembered)
        # Its slot, which can be edited too, decides whether the host is asked for its path.
        restored(attrs, replace(remembered, slot=_INTERFACE))
        found = wants(made.ALL, remembered).wants
        plan_instance(made.BOX, Instance(made.BOX, running=True), found, None)


def uevents(data: bytes) -> None:
    """What is told of a device to those inside: read as strictly as the strictest reader does."""
    feed = Feed(data)
    device = made.device(feed)
    kernel = "\n".join(f"{key}={text}" for key, text in feed.texts(made.PROPERTIES, 6).items()) + feed.text()
    path = feed.pick((device.node, "/dev/x", "/dev/" + feed.text()))
    uevent = Uevent(feed.pick(("add", "remove")), device, path, kernel)
    for group, form, most in ((KERNEL, kernel_form, 2048 - 48), (LIBUDEV, _libudev, 8192)):
        try:
            raw = form(uevent)
        except ValueError as error:
            holds.can_be_shown(str(error))
            continue
        assert len(raw) <= most
        pairs = parse(group, raw)
        holds.keys_are_told_once(pairs)
        told = dict(pairs)
        assert told["ACTION"] == uevent.action
        assert told["DEVPATH"] == device.syspath.removeprefix("/sys")
        assert told["SUBSYSTEM"] == device.subsystem
        assert told["DEVNAME"] in (path, path.removeprefix("/dev/"))
        number = device.devnum
        assert (told.get("MAJOR"), told.get("MINOR")) == (
            (str(number.major), str(number.minor)) if number else (None, None)
        )
        for text in told.values():
            holds.can_be_shown(text)


def _libudev(uevent: Uevent) -> bytes:
    return libudev_form(uevent, 7)


def _by_hand(device: Device, name: str) -> Overrides:
    """What somebody decided about a device, and about another one that is not there."""
    by, to = Asker(0, name, name), InstanceName("default", "box")
    keys = (*lasting(device), Lasting(f"serial:{name}", "usb"))
    return Overrides.made_of(Override(each, to, name, by, str(device), name, name) for each in keys)


def _show(verdicts: Sequence[Verdict], device: Device, found: Wants, plans: list[Plan]) -> None:
    """All that commands print of it, for people and as JSON."""
    changes = tuple(each for plan in plans for each in plan.changes)
    attached = tuple(each for plan in plans for each in plan.attachments)
    problems = (*found.problems, *(each for plan in plans for each in plan.problems))
    fate = Fate(found, attached, changes, problems)
    name = device.properties.get("NAME", "sh")
    document = explain_json(device, verdicts, fate, [Holder(7, name, "box")], {"1": name, "2": ""})
    _SCREEN.seek(0)
    _SCREEN.truncate()
    with redirect_stdout(_SCREEN), redirect_stderr(_SCREEN):
        explain.show(document)
        common.print_json(document)
        rows = [[str(each.instance), each.device, each.rule, each.why] for each in changes]
        common.table(("instance", "device", "rule", "why"), [*rows, [str(device), name, "", ""]])
        status._show(
            {
                "ready": True, "rules": 1, "devices": 1, "failed_reloads": 0, "lost_events": 0,
                "unmatched": [], "cursor": "",
                "server": {"address": name, "software": "lxd", "version": name, "connected": True},
                "attachments": [attachment_json(each) for each in attached],
                "pending": [change_json(each) for each in changes],
                "holds": [
                    hold_json(Held(each.device, each.rule, Wait(9.0, each.message), None, name), "2026-01-01")
                    for each in problems
                ],
                "claims": [
                    {
                        "project": "default", "instance": name, "claim": name, "pool": name, "count": 2,
                        "selector": name, "state": "waiting", "reason": name, "has": [name],
                    }
                ],
                "overrides": overrides_json(_by_hand(device, name), (device,)),
                "unleased": [],
                "problems": [problem_json(each) for each in problems],
            },
            Selection(),
        )  # fmt: skip
    shown = _SCREEN.getvalue()
    holds.can_be_shown(shown, lines=True)
    shown.encode()
    json.loads(json.dumps(document))
