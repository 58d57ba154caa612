"""hotplugd explain"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hotplugd.cli.absent import absent_device
from hotplugd.cli.common import (
    ask_daemon,
    fail,
    print_json,
    say,
    settings,
    show_holds,
    show_problems,
    with_config,
    with_json,
)
from hotplugd.model.text import plain
from hotplugd.model.values import Device
from hotplugd.plan.identity import identity
from hotplugd.rules.keys import KEYS, SERIAL, MatchKey

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hotplugd.app.documents import ExplainJson, HoldJson, ProblemJson


@click.command()
@click.argument("device")
@with_config
@with_json
def command(device: str, config: Path, *, as_json: bool) -> None:
    """Say what each rule makes of DEVICE, where it goes, and what holds it up.

    DEVICE is a node (/dev/ttyUSB0), a path in /sys, the kernel's name (1-4.2), a serial number, or an
    identity as `status` shows it (serial:…). Needs no daemon; one that runs is asked what it has tried, and
    what it holds back until when.
    """
    found = settings(config)
    from hotplugd.app.documents import explain_json, problem_json
    from hotplugd.app.snapshot import survey, survey_devices
    from hotplugd.host.open_files import holders
    from hotplugd.host.present import listed
    from hotplugd.host.sysfs import usb_controllers
    from hotplugd.model.ports import ServerError
    from hotplugd.model.problem import Problem

    devices, unsettled = listed(found.rules.attrs)
    unasked = ""
    try:
        seen = survey(found.rules, devices, unsettled, found.config.server, os.environ)
    except (ServerError, OSError) as error:
        seen = survey_devices(found.rules, devices)
        unasked = f"the server cannot be asked: {error}"
    one = _find(device, (*devices, *seen.away), unsettled, found.config.control)
    if one in unsettled:
        raise fail(
            f"{one} is there, but udevd has not processed it (yet); `udevadm trigger {one}` asks for it"
        )
    away = [problem_json(Problem(str(one), "", unasked))] if unasked else []
    holding = holders(one.devnum) if one.devnum is not None else []
    document = explain_json(one, found.rules.explain(one), seen.of(one), holding, usb_controllers())
    tried: list[ProblemJson] = []
    if (status := ask_daemon(found.config.control)) is not None:
        tried = [each for each in status["problems"] if each["device"] in (str(one), "")]
        document["holds"] = [each for each in status["holds"] if _is_of(each, one)]
    document["problems"] += [each for each in (*away, *tried) if each not in document["problems"]]
    if as_json:
        print_json(document)
    else:
        show(document)


def _find(name: str, devices: Iterable[Device], unsettled: Iterable[Device], control: Path) -> Device:
    """The device that is meant by a node or a link to one, a path in sysfs, or the kernel's name."""
    real = os.path.realpath(name) if name.startswith("/") else name
    everything = (*devices, *unsettled)
    found = [each for each in everything if real in (each.node, each.syspath, each.kernel)]
    found = found or [each for each in everything if name in (identity(each), *SERIAL.values(each))]
    if not found:
        if told := absent_device(control, name):
            raise fail(f"{name}: {told}; `hotplugd history {name}` says more")
        expected = "expected a node, a path in /sys, the kernel's name or a serial number"
        advice = "`hotplugd devices --all` lists them"
        raise fail(f"no device {name}: {expected}; {advice}")
    if len(found) > 1:
        paths = ", ".join(each.syspath for each in found)
        raise fail(f"several devices are called {name}; name one by its path in /sys: {paths}")
    return found[0]


def _is_of(hold: HoldJson, device: Device) -> bool:
    """Whether this holds the device. What is held off at a place may have another node by now."""
    place = hold["place"]
    return hold["device"] == str(device) or (place != "" and f"{device.syspath}/".startswith(f"{place}/"))


def show(document: ExplainJson, keys: Iterable[MatchKey] = KEYS) -> None:
    """Print what `explain_json` says, with the device's values of these keys."""
    say(plain(document["device"]), bold=True)
    for key in ("syspath", "identity", *(each.name for each in keys)):
        value = document.get(key)
        if value is not None:
            text = " ".join(value) if isinstance(value, list) else str(value)
            say(f"  {key}: {plain(text)}")
    for each in document["rules"]:
        where = f"{each['name']} ({each['file']}:{each['line']})"
        failed = each["failed"]
        if failed is None:
            say(f"rule {plain(where)}: matches", "green")
        else:
            text = f"{failed['key']}: wants {failed['wanted']}, has {failed['found']}"
            say(f"rule {plain(where)}: no; {text}")
    _show_rule(document)
    for warning in document["warnings"]:
        say(f"warning: {plain(warning)}", "yellow")
    for want in document["wants"]:
        say(f"goes to {want['project']}/{want['instance']} as {want['path']}")
    for attachment in document["attachments"]:
        seen = {True: "seen inside", False: "not seen inside", None: "which does not run"}
        place = f"{attachment['project']}/{attachment['instance']}"
        say(f"attached to {place}, {seen[attachment['verified']]}", "green")
    for change in document["changes"]:
        place = f"{change['project']}/{change['instance']}"
        say(f"to do: {change['action']} in {place}, since {plain(change['why'])}", "yellow")
    for holder in document["holders"]:
        who = f"{plain(holder['command'])}, process {holder['pid']}"
        where = f" in {plain(holder['instance'])}" if holder["instance"] else " of the host"
        say(f"open in {who}{where}", None if holder["instance"] else "yellow")
    show_holds(document["holds"])
    because = {each["why"] for each in document["holds"]}
    show_problems([each for each in document["problems"] if each["message"] not in because])


def _show_rule(document: ExplainJson) -> None:
    if document["along"] is not None:
        say(f"goes along with {plain(document['along'])}, by `with` in rule {document['rule']}", "green")
    elif document["rule"] is None:
        say("no rule takes it")
    elif document["ignored"]:
        say(f"rule {document['rule']} ignores it")
