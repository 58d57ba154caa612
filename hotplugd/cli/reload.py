"""hotplugd reload"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from hotplugd.app import settings as configuration
from hotplugd.cli.common import NOT_RUNNING, fail, print_json, say, show, with_config, with_json
from hotplugd.model.text import counted, plain
from hotplugd.rulefile.diagnostics import Diagnostic

if TYPE_CHECKING:
    from hotplugd.app.reports import ReloadJson


@click.command()
@with_config
@with_json
def command(config: Path, *, as_json: bool) -> None:
    """Have the running daemon read its files again, wait until it has, and say what came of it.

    Exit code 0 if what the files say is in force, 1 if they have errors and what was in force still is, 3 if
    no daemon runs.
    """
    from hotplugd.app.control_client import ControlError, NotRunning, post

    found, _ = configuration.load(config)
    try:
        outcome = cast("ReloadJson", post(found.control, "reload"))
    except NotRunning as error:
        raise fail(error, NOT_RUNNING) from None
    except ControlError as error:
        raise fail(error) from None
    if as_json:
        print_json(outcome)
        raise SystemExit(0 if outcome["taken"] else 1)
    show(map(Diagnostic.of_json, outcome["diagnostics"]))
    if not outcome["taken"]:
        raise fail(outcome["message"])
    changes = [
        f"{what} {', '.join(names)}"
        for what, names in (
            ("new:", outcome["added"]),
            ("gone:", outcome["removed"]),
            ("changed:", outcome["changed"]),
        )
        if names
    ]
    told = [f"reloaded, {counted(outcome['rules'], 'rule')}", *(changes or ["no rule changed"])]
    say(plain("; ".join(told)))
