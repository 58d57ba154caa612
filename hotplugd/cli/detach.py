"""hotplugd detach"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hotplugd.app import settings as configuration
from hotplugd.cli.common import (
    AS_ROOT,
    NAMED,
    fail,
    instance_of,
    named_by,
    names_of,
    order,
    print_json,
    say,
    show,
    show_problems,
    table,
    with_config,
    with_json,
)
from hotplugd.model.text import counted

if TYPE_CHECKING:
    from hotplugd.app.command_json import DetachAllJson


@click.command()
@click.argument("device", required=False)
@click.option("--all", "everything", is_flag=True, help="Everything of ours, out of every instance.")
@with_config
@with_json
def command(device: str | None, config: Path, *, everything: bool, as_json: bool) -> None:
    """Take DEVICE out of its instance, and keep it out of all until `hotplugd undo` or `hotplugd attach`.

    DEVICE is named as in `hotplugd explain`. The running daemon does it, and keeps the decision, for this
    device wherever it is plugged in: over replugs, reloads, restarts and reboots. Exit code 0 if it is out, 1
    if it is not or nothing was done, 3 if no daemon runs.

    With --all everything that hotplugd attached is taken out of every instance, for uninstalling. The daemon
    must not run. Then takes away what hotplugd has on the host: its files in /dev/hotplugd, and its udev
    rules in /run/udev/rules.d. With a second server on this host the other's stay. Entries that hotplugd did
    not make stay as they are, and so does what was decided by hand. Exit code 1 if something could not be
    taken out.
    """
    if (device is None) != everything:
        both = "" if device is None else ", not both"
        raise click.UsageError(f"expected DEVICE, or --all for everything of ours in every instance{both}")
    if device is not None:
        order(config, "detach", named_by(device), as_json=as_json)
    # Not the rules: whoever uninstalls need not mend them first.
    found, wrong = configuration.load(config)
    if wrong:
        show(wrong)
        raise SystemExit(1)
    from hotplugd.app.detach import detach
    from hotplugd.app.documents import change_json, problem_json
    from hotplugd.host.server_lock import AlreadyRunning
    from hotplugd.model.ports import ServerError

    try:
        changes, problems = asyncio.run(detach(found))
    except AlreadyRunning as error:
        raise fail(f"{error}; end it first, or it attaches everything again") from None
    except (ServerError, OSError) as error:
        raise fail(f"{error}{AS_ROOT}" if os.geteuid() else error) from None
    told, wrong_ones = [change_json(each) for each in changes], [problem_json(each) for each in problems]
    if as_json:
        document: DetachAllJson = {"changes": told, "problems": wrong_ones}
        print_json(document)
        raise SystemExit(1 if problems else 0)
    show_problems(wrong_ones)
    if changes:
        table(
            ("instance", "device", *NAMED, "rule", "entry"),
            [
                [instance_of(each), each["device"], *names_of(each), each["rule"], each["entry"]]
                for each in told
            ],
        )
    say(f"{counted(len(changes), 'entry')} taken out")
    raise SystemExit(1 if problems else 0)
