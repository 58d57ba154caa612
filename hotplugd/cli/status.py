"""hotplugd status"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import click

from hotplugd import config as configuration
from hotplugd.cli.common import fail, print_json, say, show, show_problems, table, with_config, with_json
from hotplugd.model import plain

if TYPE_CHECKING:
    from hotplugd.documents import AttachmentJson, ChangeJson, StatusJson

_NOT_RUNNING: Final = 3
_VERIFIED: Final = {True: "yes", False: "no", None: "not running"}


@click.command()
@with_config
@with_json
def command(config: Path, *, as_json: bool) -> None:
    """Ask the running daemon how things are: problems first, then what is attached.

    Exit code 0 if all is well, 1 if there are problems, 3 if no daemon runs.
    """
    from hotplugd.control import ControlError, NotRunning, ask

    found, wrong = configuration.load(config)
    if wrong:
        show(wrong)
        raise SystemExit(1)
    try:
        status = cast("StatusJson", ask(found.control, "status"))
    except NotRunning as error:
        raise fail(error, _NOT_RUNNING) from None
    except ControlError as error:
        raise fail(error) from None
    if as_json:
        print_json(status)
    else:
        _show(status)
    raise SystemExit(1 if status["problems"] else 0)


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
        table(("device", "identity", "rule", "instance", "path", "since (UTC)", "verified"), rows)
    if status["pending"]:
        table(
            ("pending", "instance", "device", "rule", "why"),
            [
                [each["action"], _instance(each), each["device"], each["rule"], each["why"]]
                for each in status["pending"]
            ],
        )
    server = status["server"]
    who = " ".join(each for each in (server["software"], server["version"], server["address"]) if each)
    say(
        f"{'ready' if status['ready'] else 'starting'}; "
        f"{len(rows)} attached, {len(status['pending'])} pending, {len(status['problems'])} problems; "
        f"{status['rules']} rules, {status['devices']} devices; "
        f"{plain(who) or 'no server found'}{'' if server['connected'] else ' (away)'}"
    )


def _instance(each: AttachmentJson | ChangeJson) -> str:
    return each["instance"] if each["project"] == "default" else f"{each['project']}/{each['instance']}"
