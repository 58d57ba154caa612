"""hotplugd explain"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hotplugd.app.find import named
from hotplugd.app.host_drivers import held_by_drivers
from hotplugd.app.with_hints import goes_in_whole, takes_nothing
from hotplugd.cli.common import (
    ask_daemon,
    in_force,
    instance_of,
    kept,
    print_json,
    say,
    show_claims,
    show_holds,
    show_problems,
    told_override,
    with_config,
    with_json,
)
from hotplugd.cli.which import find
from hotplugd.model.text import plain
from hotplugd.plan.kinds.registry import kind_for
from hotplugd.rules.keys import KEYS, MatchKey

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hotplugd.app.device_documents import ExplainJson, VerdictJson
    from hotplugd.app.documents import PlaceJson, ProblemJson
    from hotplugd.app.in_force import Settings
    from hotplugd.app.pool_documents import LeaseJson
    from hotplugd.rules.ruleset import RuleSet


@click.command()
@click.argument("device", required=False)
@click.option(
    "--as",
    "as_text",
    metavar="KEYS",
    help="A device that is not there: 'id=18d1:4ee7 serial=X port=1-4', by the names of match keys.",
)
@with_config
@with_json
def command(device: str | None, as_text: str | None, config: Path, *, as_json: bool) -> None:
    """Say what each rule makes of DEVICE, where it goes, and what holds it up.

    DEVICE is a node (/dev/ttyUSB0), a path in /sys, the kernel's name (1-4.2), a serial number, an identity
    (serial:…), or the location of a USB device (shelf-1/4). Needs no daemon; one that runs is asked what it
    has tried, and what it holds back until when. With --as the rules alone are asked, about a device with
    these values.
    """
    if (device is None) == (as_text is None):
        both = "" if device is None else ", not both"
        raise click.UsageError(f"expected DEVICE, or --as with the values of one{both}")
    found, by = in_force(config)
    if as_text is not None:
        document = _made_up(as_text, found.rules)
    else:
        assert device is not None
        document = _there(device, found)
    document["by"] = by
    if as_json:
        print_json(document)
    else:
        show(document, found.rules.keys)


def _made_up(text: str, rules: RuleSet) -> ExplainJson:
    from hotplugd.app.device_documents import explain_json, inside_json
    from hotplugd.app.snapshot import survey_devices
    from hotplugd.rulefile.made_up import MadeUpError, made_up, values_of

    try:
        one = made_up(values_of(text), hubs=rules.hubs)
    except MadeUpError as error:
        raise click.UsageError(f"--as: {error}" + (f"; {error.hint}" if error.hint else "")) from None
    document = explain_json(one, rules.explain(one), survey_devices(rules, [one]).of(one), [], {}, rules.keys)
    document["device"], document["syspath"] = text, ""
    document["inside"] = inside_json(rules, one)
    for place in (*document["wants"], *filter(None, [document["inside"]])):
        # Its node's number is made up, too.
        place["path"] = "" if place["path"] == one.node else place["path"]
    return document


def _there(device: str, found: Settings) -> ExplainJson:
    from hotplugd.app.device_documents import concerns, explain_json, holds_up, inside_json
    from hotplugd.app.documents import problem_json
    from hotplugd.app.naming import by_name
    from hotplugd.app.snapshot import survey, survey_devices
    from hotplugd.host.device_reader import without_node
    from hotplugd.host.list_once import listed
    from hotplugd.host.open_files import holders
    from hotplugd.host.sysfs import usb_controllers
    from hotplugd.host.usb_interfaces import interfaces
    from hotplugd.model.ports import ServerError
    from hotplugd.model.problem import Problem

    devices, unprocessed = listed(found.rules.attrs)
    unasked, state = "", kept(found.config.state)
    try:
        seen = survey(found.rules, devices, unprocessed, found.config.server, os.environ, state)
    except (ServerError, OSError) as error:
        seen = survey_devices(found.rules, devices, state.overrides)
        unasked = f"the server cannot be asked: {error}"
    there = (*devices, *seen.away)
    is_known = named(device, (*there, *unprocessed), os.path.realpath(device), found.rules.hubs)
    nodeless = () if is_known else tuple(without_node(device, found.rules.attrs))
    one = find(device, (*there, *nodeless), unprocessed, found)
    away = [problem_json(Problem(str(one), "", unasked), by_name([one]), found.rules.hubs)] if unasked else []
    holding = holders(one.devnum) if one.devnum is not None else []
    verdicts, keys = found.rules.explain(one), found.rules.keys
    fate = survey_devices(found.rules, nodeless).of(one) if nodeless else seen.of(one)
    document = explain_json(one, verdicts, fate, holding, usb_controllers(), keys, seen.leasing)
    document["inside"] = inside_json(found.rules, one) if not document["wants"] else None
    if (rule := fate.wants.rule) is not None:
        document["warnings"] += takes_nothing(rule, one, devices)
    if nodeless and rule is None:
        document["warnings"].append(f"no rule can put it anywhere: {kind_for(one, None).fault(one)}")
    document["warnings"] += held_by_drivers(fate.wants, interfaces(one.syspath), seen.wants.values())
    document["warnings"] += goes_in_whole(one, seen.wants.values()) if rule is None else []
    tried: list[ProblemJson] = []
    if (status := ask_daemon(found.config.control)) is not None:
        tried = [each for each in status["problems"] if concerns(each, one, document["pool"])]
        document["holds"] = [each for each in status["holds"] if holds_up(each, one)]
    document["problems"] += [each for each in (*away, *tried) if each not in document["problems"]]
    return document


def show(document: ExplainJson, keys: Iterable[MatchKey] = KEYS) -> None:
    """Print what `explain_json` says, with the device's values of these keys."""
    say(plain(document["device"]), bold=True)
    for key in ("syspath", "identity", "model", *(each.name for each in keys)):
        value = document.get(key)
        if value:
            text = " ".join(value) if isinstance(value, list) else str(value)
            say(f"  {key}: {plain(text)}")
    for each in document["rules"]:
        _show_verdict(each)
    _show_rule(document)
    if (override := document["override"]) is not None:
        say(f"by hand: {told_override(override)}", "green")
    for warning in document["warnings"]:
        say(f"warning: {plain(warning)}", "yellow")
    _show_places(document)
    for holder in document["holders"]:
        who = f"{plain(holder['command'])}, process {holder['pid']}"
        where = f" in {plain(holder['instance'])}" if holder["instance"] else " of the host"
        say(f"open in {who}{where}", None if holder["instance"] else "yellow")
    show_claims(document["claims"], document["problems"])
    show_holds(document["holds"])
    because = {each["why"] for each in document["holds"]}
    show_problems([each for each in document["problems"] if each["message"] not in because])


def _show_verdict(verdict: VerdictJson) -> None:
    where = f"{verdict['name']} ({verdict['file']}:{verdict['line']})"
    failed = verdict["failed"]
    if not verdict["enabled"]:
        would = "it would match" if failed is None else "it would not match"
        say(f"rule {plain(where)}: off (`enabled: false`); {would}", "yellow")
    elif failed is None:
        say(f"rule {plain(where)}: matches", "green")
        if verdict["description"]:
            say(f"  {plain(verdict['description'])}")
    else:
        text = f"{failed['key']}: wants {failed['wanted']}, has {failed['found']}"
        say(f"rule {plain(where)}: no; {text}")


def _show_lease(lease: LeaseJson | None, pool: str, *, by_hand: bool, waits: bool) -> None:
    """Print whose a device of a pool is.

    pool     the one that it is of; empty: none
    by_hand  whether somebody decided where it goes
    waits    whether a claim on the pool is not met
    """
    unasked = "" if waits else ", and no claim on the pool waits for a device"
    name = lease["pool"] if lease is not None else pool
    if not name:
        return
    pool = f"pool {plain(name)}"
    if by_hand and (lease is None or lease["state"] != "leased"):
        say(f"{pool}: leased to nobody while it is attached or detached by hand")
    elif lease is None:
        say(f"{pool}: goes to the instance that it is leased to")
    elif lease["state"] == "leased":
        say(f"{pool}: leased to {plain(instance_of(lease))} by claim {plain(lease['claim'])}")
    elif lease["state"] == "releasing":
        say(f"{pool}: its lease is over: {plain(lease['reason'])}", "yellow")
    else:
        why = f", and given to nobody: {plain(lease['reason'])}" if lease["reason"] else ""
        say(f"{pool}: {lease['state']}{why or unasked}")


def _show_places(document: ExplainJson) -> None:
    """Where it should be, is, and is about to be."""
    by_hand, waits = document["override"] is not None, bool(document["claims"])
    _show_lease(document["lease"], document["pool"], by_hand=by_hand, waits=waits)
    if len(document["wants"]) > 1:
        say(f"goes into each of {len(document['wants'])} instances, since `to` names them all:")
    for want in document["wants"]:
        path = f" as {want['path']}" if want["path"] else ""
        say(f"goes to {want['project']}/{want['instance']}{path}")
        _show_inside(want)
    if document["inside"] is not None and not document["wants"]:
        _show_inside(document["inside"])
    for attachment in document["attachments"]:
        seen = {True: "seen inside", False: "not seen inside", None: "which nobody looks into now"}
        place = f"{attachment['project']}/{attachment['instance']}"
        say(f"attached to {place}, {seen[attachment['verified']]}", "green")
    for change in document["changes"]:
        place = f"{change['project']}/{change['instance']}"
        say(f"to do: {change['action']} in {place}, since {plain(change['why'])}", "yellow")


def _show_inside(place: PlaceJson) -> None:
    found = (("link", place["link"]), ("mode", place["mode"]), ("owner", place["owner"].rstrip(":")))
    if told := [f"{key} {plain(text)}" for key, text in found if text]:
        say(f"  with {', '.join(told)}")


def _show_rule(document: ExplainJson) -> None:
    if document["along"] is not None:
        say(f"goes along with {plain(document['along'])}, by `with` in rule {document['rule']}", "green")
    elif document["rule"] is None:
        say("no rule takes it")
    elif document["ignored"]:
        say(f"rule {document['rule']} ignores it")
