"""hotplugd health"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from hotplugd.app import settings as configuration
from hotplugd.cli.common import print_json, say, with_config, with_json
from hotplugd.model.text import plain

if TYPE_CHECKING:
    from hotplugd.app.documents import StatusJson

_COLOURS = {"well": "green", "degraded": "yellow", "down": "red"}


@click.command()
@with_config
@with_json
def command(config: Path, *, as_json: bool) -> None:
    """Say whether the daemon does its work, for probes: one line a finding.

    Exit code 0 if it is well, 1 if it is degraded (it starts, a reload failed, something is attached and not
    seen inside, udevd does not answer), 2 if it is down (it does not run, or the server is away). What rules
    and claims ask for and cannot have is no matter of health: `hotplugd status` has it.
    """
    from hotplugd.app.control_client import ControlError, get
    from hotplugd.app.exit_reason import exit_reason
    from hotplugd.app.health import EXIT_CODES, health

    found, _ = configuration.load(config)
    try:
        document = health(cast("StatusJson", get(found.control, "status")))
    except ControlError as error:
        words = exit_reason(found.control)
        document = health(None, f"{error}; {words}" if words else str(error))
    if as_json:
        print_json(document)
    else:
        for each in document["findings"]:
            say(f"{each['health']}: {plain(each['message'])}", _COLOURS[each["health"]])
        if not document["findings"]:
            say("well", _COLOURS["well"])
    raise SystemExit(EXIT_CODES[document["health"]])
