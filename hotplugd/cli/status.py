"""hotplugd status"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import click

from hotplugd.app import settings as configuration
from hotplugd.app.narrow import narrowed
from hotplugd.cli.common import (
    NAMED,
    NOT_RUNNING,
    fail,
    instance_of,
    names_of,
    patiently,
    print_json,
    say,
    say_broken,
    show,
    show_claims,
    show_holds,
    show_problems,
    table,
    with_config,
    with_json,
)
from hotplugd.model.text import counted, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hotplugd.app.cluster_json import ClusterJson
    from hotplugd.app.documents import AttachmentJson, StatusJson
    from hotplugd.app.override_json import OverrideJson
    from hotplugd.app.reports import RulesJson

_VERIFIED: Final = {True: "yes", False: "no", None: "unknown"}


@click.command()
@click.option("--cluster", "everywhere", is_flag=True, help="What all cluster members have attached.")
@click.option("--rules", "of_rules", is_flag=True, help="Each rule: what it takes now, and took so far.")
@click.option("--instance", metavar="NAME", help="What is about this instance alone.")
@click.option("--rule", metavar="NAME", help="What is about this rule alone.")
@click.option("--by-hand", "hand", is_flag=True, help="What people decided by hand alone.")
@click.option("--problems", "only_problems", is_flag=True, help="Problems, and what has to wait, alone.")
@with_config
@with_json
def command(
    config: Path,
    *,
    everywhere: bool,
    of_rules: bool,
    instance: str | None,
    rule: str | None,
    only_problems: bool,
    hand: bool,
    as_json: bool,
) -> None:
    """Ask the running daemon how things are: problems first, then what is attached.

    With --cluster the server is asked instead, what is attached on all of its members; no daemon is needed.

    Exit code 0 if all is well, 1 if there are problems or a member is away, 3 if no daemon runs. What is left
    out does not count.
    """
    from hotplugd.app.control import ControlError, NotRunning, ask

    found, wrong = configuration.load(config)
    if everywhere:
        if wrong:
            show(wrong)
            raise SystemExit(1)
        _cluster(found.server, as_json=as_json)
        return
    try:
        if of_rules:
            _rules(cast("RulesJson", ask(found.control, "rules")), as_json=as_json)
            return
        status = cast(
            "StatusJson", {"holds": [], "claims": [], "overrides": [], **ask(found.control, "status")}
        )
    except NotRunning as error:
        raise fail(error, NOT_RUNNING, _cannot_start(config)) from None
    except ControlError as error:
        raise fail(error) from None
    if wrong:
        say_broken(wrong)
    status = narrowed(status, instance, rule, only_problems=only_problems, by_hand=hand)
    if as_json:
        print_json(status)
    else:
        _show(status, short=only_problems)
    raise SystemExit(1 if status["problems"] else 0)


def _cannot_start(config: Path) -> list[str]:
    """Why the daemon cannot be started by its files, where they have errors."""
    from hotplugd.app.in_force import load

    errors = patiently(partial(load, config)).errors
    if not errors:
        return []
    many, first = counted(len(errors), "error"), f"{errors[0].place}: {errors[0].message}"
    return [f"it cannot start: {many} in its files, the first {first}; `hotplugd check` shows all"]


def _rules(document: RulesJson, *, as_json: bool) -> None:
    if as_json:
        print_json(document)
        return
    rows = [
        [
            each["name"],
            str(each["devices"]) if each["enabled"] else "off",
            str(each["taken"]),
            f"{each['file']}:{each['line']}",
            each["description"],
        ]
        for each in document["rules"]
    ]
    if rows:
        table(("rule", "devices now", "taken so far", "place", "description"), rows)
    never = [each for each in document["rules"] if each["enabled"] and not each["taken"]]
    since = document["since"][:19].replace("T", " ")
    say(f"{counted(len(never), 'rule')} took nothing since {since} UTC, of {len(rows)}")


def _decider(each: AttachmentJson) -> str:
    """What put it there: a rule, or somebody by hand."""
    return f"{each['rule']}, by hand" if each.get("by_hand") and each["rule"] != "by hand" else each["rule"]


def _show_overrides(overrides: Sequence[OverrideJson]) -> None:
    if not overrides:
        return
    rows = [
        [
            f"{each['decision']}ed",
            each["device"] if each["present"] else f"{each['device']} (not there)",
            *names_of(each),
            instance_of(each),
            each["since"][:19].replace("T", " "),
            each["login"] or each["user"] or f"uid {each['uid']}",
            each["identity"],
        ]
        for each in overrides
    ]
    table(("by hand", "device", *NAMED, "instance", "since (UTC)", "by", "identity"), rows)


def _cluster(server: str, *, as_json: bool) -> None:
    from hotplugd.app.cluster import cluster
    from hotplugd.app.cluster_json import cluster_json
    from hotplugd.model.ports import ServerError

    try:
        found = cluster(server, os.environ)
    except (ServerError, OSError) as error:
        raise fail(error) from None
    document = cluster_json(found)
    if as_json:
        print_json(document)
    else:
        _show_cluster(document)
    raise SystemExit(0 if all(each.is_online for each in found.members) else 1)


def _show_cluster(document: ClusterJson) -> None:
    for each in document["members"]:
        unknown = f"; nobody knows what {', '.join(each['unknown'])} has" if each["unknown"] else ""
        if each["status"].lower() != "online":
            say(plain(f"{each['name']} is {each['status'].lower()}: {each['message']}{unknown}"), "red")
    rows = [
        [
            each["member"],
            instance_of(each),
            each["device"],
            each["identity"],
            each["rule"],
            each["path"],
            each["since"][:19].replace("T", " "),
        ]
        for each in document["attachments"]
    ]
    if rows:
        table(("member", "instance", "device", "identity", "rule", "path", "since (UTC)"), rows)
    where = f" on {counted(len(document['members']), 'member')}" if document["members"] else ", no cluster"
    say(f"{len(rows)} attached{where}")


def _show(status: StatusJson, *, short: bool = False) -> None:
    show_problems(status["problems"])
    rows = [
        [
            each["device"],
            *names_of(each),
            _decider(each),
            instance_of(each),
            each["path"],
            each["since"][:19].replace("T", " "),
            _VERIFIED[each["verified"]],
        ]
        for each in status["attachments"]
    ]
    if rows:
        head = ["device", *NAMED, "rule", "instance", "path", "since (UTC)", "verified"]
        if any(each.get("pool") for each in status["attachments"]):
            head += ["pool", "claim"]
            leases = [(each.get("pool", ""), each.get("claim", "")) for each in status["attachments"]]
            rows = [[*row, *lease] for row, lease in zip(rows, leases, strict=True)]
        if any(locations := [each.get("location", "") for each in status["attachments"]]):
            head.append("location")
            rows = [[*row, location] for row, location in zip(rows, locations, strict=True)]
        table(head, rows)
    _show_overrides(status["overrides"])
    if status["pending"]:
        table(
            ("pending", "instance", "device", *NAMED, "rule", "why"),
            [
                [
                    each["action"],
                    instance_of(each),
                    each["device"],
                    *names_of(each),
                    each["rule"],
                    each["why"],
                ]
                for each in status["pending"]
            ],
        )
    show_claims(status["claims"])
    show_holds(status["holds"], status["problems"])
    if short:
        say(counted(len(status["problems"]), "problem"))
        return
    server = status["server"]
    who = " ".join(each for each in (server["software"], server["version"], server["address"]) if each)
    say(
        f"{'ready' if status['ready'] else 'starting'}; "
        f"{len(rows)} attached, {len(status['pending'])} pending, "
        f"{counted(len(status['problems']), 'problem')}; "
        f"{counted(status['rules'], 'rule')}, {counted(status['devices'], 'device')}; "
        f"{plain(who) or 'no server found'}{'' if server['connected'] else ' (away)'}"
    )
