"""hotplugd detach"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import click

from hotplugd.app import settings as configuration
from hotplugd.cli.common import (
    AS_ROOT,
    NAMED,
    fail,
    instance_of,
    names_of,
    say,
    show,
    show_problems,
    table,
    with_config,
)  # fmt: skip
from hotplugd.model.text import counted


@click.command()
@click.option("--all", "everything", is_flag=True, help="From every instance; the only way there is.")
@with_config
def command(config: Path, *, everything: bool) -> None:
    """Take everything of ours out of every instance, for uninstalling. The daemon must not run.

    Then takes away what hotplugd has on the host: its files in /dev/hotplugd, and its udev rules in
    /run/udev/rules.d. With a second server on this host the other's stay.

    Entries that hotplugd did not make stay as they are. Exit code 1 if something could not be taken out.
    """
    if not everything:
        raise click.UsageError("expected --all: detach takes everything of ours out of every instance")
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
    show_problems([problem_json(each) for each in problems])
    if changes:
        told = [change_json(each) for each in changes]
        table(
            ("instance", "device", *NAMED, "rule", "entry"),
            [
                [instance_of(each), each["device"], *names_of(each), each["rule"], each["entry"]]
                for each in told
            ],
        )
    say(f"{counted(len(changes), 'entry')} taken out")
    raise SystemExit(1 if problems else 0)
