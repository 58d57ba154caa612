"""hotplugd plan"""

from __future__ import annotations

import os
from pathlib import Path

import click

from hotplugd.cli.common import (
    ask_daemon,
    fail,
    print_json,
    say,
    settings,
    show_holds,
    show_problems,
    table,
    with_config,
    with_json,
)


@click.command()
@with_config
@with_json
def command(config: Path, *, as_json: bool) -> None:
    """Say what the daemon would change now, and why. Changes nothing, and needs no daemon.

    Goes by the files on disk, which a running daemon may not have reloaded yet. One that runs is asked what
    it holds back until when.
    """
    found = settings(config)
    from hotplugd.app.documents import change_json, problem_json
    from hotplugd.app.snapshot import survey
    from hotplugd.host.present import listed
    from hotplugd.model.ports import ServerError

    try:
        seen = survey(found.rules, *listed(found.rules.attrs), found.config.server, os.environ)
    except (ServerError, OSError) as error:
        raise fail(error) from None
    changes = [change for _, plan in sorted(seen.plans.items()) for change in plan.changes]
    problems = [problem_json(each) for each in seen.problems()]
    status = ask_daemon(found.config.control)
    holds = status["holds"] if status is not None else []
    if as_json:
        document = {"changes": [change_json(each) for each in changes], "holds": holds, "problems": problems}
        print_json(document)
        return
    show_problems(problems)
    show_holds(holds)
    if changes:
        head = ("action", "instance", "device", "rule", "why")
        table(head, [[each.action, str(each.instance), each.device, each.rule, each.why] for each in changes])
    else:
        say("nothing to change")
