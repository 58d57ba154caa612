"""hotplugd status"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import click

from hotplugd.app import settings as configuration
from hotplugd.app.selection import Selection, narrowed
from hotplugd.cli.common import (
    NAMED,
    NOT_RUNNING,
    fail,
    first,
    instance_of,
    local_time,
    located,
    names_of,
    patiently,
    print_json,
    say,
    say_broken,
    show,
    show_claims,
    show_holds,
    show_problems,
    show_unmatched,
    table,
    with_config,
    with_json,
)
from hotplugd.cli.filters import with_filters
from hotplugd.cli.unleased import show_unleased
from hotplugd.cli.watch import Show, begin_anew, follow, parsed
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
@with_filters
@click.option("--by-hand", "by_hand", is_flag=True, help="What people decided by hand alone.")
@click.option("--watch", is_flag=True, help="Show it again whenever something changed, until interrupted.")
@with_config
@with_json
def command(
    config: Path,
    *,
    everywhere: bool,
    of_rules: bool,
    by_hand: bool,
    watch: bool,
    selection: Selection,
    as_json: bool,
) -> None:
    """Ask the running daemon how things are: problems first, then what is attached.

    With --watch it is shown anew as soon as an event tells of a change: on a terminal in place of what was
    shown, elsewhere below it, with --json as a line each. A daemon that ends is waited for.

    With --cluster the server is asked instead, what is attached on all of its members; no daemon is needed.

    Exit code 0 if all is well, 1 if there are problems or a member is away, 3 if no daemon runs. What is left
    out does not count.
    """
    from hotplugd.app.control_client import ControlError, NotRunning, get

    if watch and (everywhere or of_rules):
        raise click.UsageError("--watch is about the state of the daemon: neither --cluster nor --rules")
    selection = replace(selection, by_hand=by_hand)
    found, wrong = configuration.load(config)
    if everywhere:
        if wrong:
            show(wrong)
            raise SystemExit(1)
        _cluster(found.server, as_json=as_json)
        return
    if watch:
        follow(found.control, _shower(selection, as_json=as_json))
    try:
        if of_rules:
            _rules(cast("RulesJson", get(found.control, "rules")), as_json=as_json)
            return
        status = parsed(get(found.control, "status"))
    except NotRunning as error:
        raise fail(error, NOT_RUNNING, _cannot_start(config)) from None
    except ControlError as error:
        raise fail(error) from None
    if wrong:
        say_broken(wrong)
    status = narrowed(status, selection)
    if as_json:
        print_json(status)
    else:
        _show(status, selection)
    raise SystemExit(1 if status["problems"] else 0)


def _shower(selection: Selection, *, as_json: bool) -> Show:
    """What shows a status where that is another than was shown before."""
    last: list[StatusJson] = []

    def show_if_new(status: StatusJson, *, again: bool) -> None:
        part = narrowed(status, selection)
        # Changes outside the selection are not shown.
        same: StatusJson = {**part, "cursor": ""}
        if selection.instance is not None or selection.rule is not None or selection.location is not None:
            same["devices"] = 0
        if last == [same] and not again:
            return
        last[:] = [same]
        begin_anew(quietly=as_json)
        if as_json:
            click.echo(json.dumps(part))
        else:
            _show(part, selection)

    return show_if_new


def _cannot_start(config: Path) -> list[str]:
    """Why the daemon ended, or could not start, and why it cannot be started by its files, if it cannot."""
    from hotplugd.app.exit_reason import exit_reason
    from hotplugd.app.in_force import load

    found = patiently(partial(load, config))
    more = [words] if (words := exit_reason(found.config.control)) else []
    if found.errors:
        many = f"{counted(len(found.errors), 'error')} in its files"
        more.append(f"it cannot start: {many}, the first {first(found.errors)}; `hotplugd check` shows all")
    return more


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
    since = local_time(document["since"])
    say(plain(f"{counted(len(never), 'rule')} took nothing since {since}, of {len(rows)}"))


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
            local_time(each["since"]),
            each["login"] or each["user"] or f"uid {each['uid']}",
            each["identity"],
        ]
        for each in overrides
    ]
    table(("by hand", "device", *NAMED, "instance", "since", "by", "identity"), rows)


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
            local_time(each["since"]),
        ]
        for each in document["attachments"]
    ]
    if rows:
        table(("member", "instance", "device", "identity", "rule", "path", "since"), rows)
    where = f" on {counted(len(document['members']), 'member')}" if document["members"] else ", no cluster"
    say(f"{len(rows)} attached{where}")


def _show(status: StatusJson, selection: Selection) -> None:
    show_problems(status["problems"])
    if selection.unmatched:
        show_unmatched(status["unmatched"])
        return
    rows = [
        [
            each["device"],
            *names_of(each),
            _decider(each),
            instance_of(each),
            each["path"],
            local_time(each["since"]),
            _VERIFIED[each["verified"]],
        ]
        for each in status["attachments"]
    ]
    if rows:
        head = ["device", *NAMED, "rule", "instance", "path", "since", "verified"]
        more = [
            key for key in ("link", "mode", "owner") if any(each.get(key) for each in status["attachments"])
        ]
        head += more
        for row, each in zip(rows, status["attachments"], strict=True):
            row += [str(each.get(key, "")).rstrip(":") for key in more]
        if any(each.get("pool") for each in status["attachments"]):
            head += ["pool", "claim"]
            leases = [(each.get("pool", ""), each.get("claim", "")) for each in status["attachments"]]
            rows = [[*row, *lease] for row, lease in zip(rows, leases, strict=True)]
        located(head, rows, status["attachments"])
    _show_overrides(status["overrides"])
    if status["pending"]:
        located(
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
            status["pending"],
        )
    show_claims(status["claims"], status["problems"])
    show_holds(status["holds"], status["problems"])
    if selection.problems:
        if status["unmatched"]:
            show_unmatched(status["unmatched"])
        show_unleased(status["unleased"])
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
