"""hotplugd status"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import click

from hotplugd.app import settings as configuration
from hotplugd.cli.common import (
    fail,
    print_json,
    say,
    show,
    show_holds,
    show_problems,
    table,
    with_config,
    with_json,
)
from hotplugd.model.text import counted, plain

if TYPE_CHECKING:
    from hotplugd.app.documents import AttachmentJson, ChangeJson, ClusterJson, HeldJson, StatusJson

_NOT_RUNNING: Final = 3
_VERIFIED: Final = {True: "yes", False: "no", None: "not running"}


@click.command()
@click.option("--cluster", "everywhere", is_flag=True, help="What all cluster members have attached.")
@with_config
@with_json
def command(config: Path, *, everywhere: bool, as_json: bool) -> None:
    """Ask the running daemon how things are: problems first, then what is attached.

    With --cluster the server is asked instead, what is attached on all of its members; no daemon is needed.

    Exit code 0 if all is well, 1 if there are problems or a member is away, 3 if no daemon runs.
    """
    from hotplugd.app.control import ControlError, NotRunning, ask

    found, wrong = configuration.load(config)
    if wrong:
        show(wrong)
        raise SystemExit(1)
    if everywhere:
        _cluster(found.server, as_json=as_json)
        return
    try:
        status = cast("StatusJson", {"holds": [], **ask(found.control, "status")})
    except NotRunning as error:
        raise fail(error, _NOT_RUNNING) from None
    except ControlError as error:
        raise fail(error) from None
    if as_json:
        print_json(status)
    else:
        _show(status)
    raise SystemExit(1 if status["problems"] else 0)


def _cluster(server: str, *, as_json: bool) -> None:
    from hotplugd.app.cluster import cluster
    from hotplugd.app.documents import cluster_json
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
            _instance(each),
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


def _show(status: StatusJson) -> None:
    show_problems(status["problems"])
    rows = [
        [
            each["device"],
            each["identity"],
            each["rule"],
            _instance(each),
            each["path"],
            each["since"][:19].replace("T", " "),
            _VERIFIED[each["verified"]],
        ]
        for each in status["attachments"]
    ]
    if rows:
        head = ["device", "identity", "rule", "instance", "path", "since (UTC)", "verified"]
        if any(locations := [each.get("location", "") for each in status["attachments"]]):
            head.append("location")
            rows = [[*row, location] for row, location in zip(rows, locations, strict=True)]
        table(head, rows)
    if status["pending"]:
        table(
            ("pending", "instance", "device", "rule", "why"),
            [
                [each["action"], _instance(each), each["device"], each["rule"], each["why"]]
                for each in status["pending"]
            ],
        )
    show_holds(status["holds"], status["problems"])
    server = status["server"]
    who = " ".join(each for each in (server["software"], server["version"], server["address"]) if each)
    say(
        f"{'ready' if status['ready'] else 'starting'}; "
        f"{len(rows)} attached, {len(status['pending'])} pending, "
        f"{counted(len(status['problems']), 'problem')}; "
        f"{counted(status['rules'], 'rule')}, {counted(status['devices'], 'device')}; "
        f"{plain(who) or 'no server found'}{'' if server['connected'] else ' (away)'}"
    )


def _instance(each: AttachmentJson | ChangeJson | HeldJson) -> str:
    return each["instance"] if each["project"] == "default" else f"{each['project']}/{each['instance']}"
