"""hotplugd plan"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hotplugd.cli.common import (
    NAMED,
    ask_daemon,
    by_hand,
    fail,
    in_force,
    instance_of,
    names_of,
    print_json,
    say,
    show_claims,
    show_holds,
    show_problems,
    table,
    with_config,
    with_json,
)
from hotplugd.model.text import natural

if TYPE_CHECKING:
    from hotplugd.app.command_json import PlanJson


@click.command()
@with_config
@with_json
def command(config: Path, *, as_json: bool) -> None:
    """Say what the daemon would change now, and why. Changes nothing, and needs no daemon.

    Goes by the files on disk, which a running daemon may not have reloaded yet; where these have errors, by
    what it has in force. What people decided by hand counts, too. One that runs is asked what it holds back
    until when.
    """
    found, by = in_force(config)
    from hotplugd.app.documents import change_json, problem_json
    from hotplugd.app.naming import by_name
    from hotplugd.app.pool_documents import unmet_json
    from hotplugd.app.snapshot import survey
    from hotplugd.host.list_once import listed
    from hotplugd.model.ports import ServerError

    try:
        devices, unsettled = listed(found.rules.attrs)
        overrides = by_hand(found.config.state)
        seen = survey(found.rules, devices, unsettled, found.config.server, os.environ, overrides)
    except (ServerError, OSError) as error:
        raise fail(error) from None
    plans = sorted(seen.plans.items(), key=lambda item: (item[0].project, natural(item[0].name)))
    changes = [change for _, plan in plans for change in plan.changes]
    known = by_name((*devices, *seen.away))
    problems = [problem_json(each, known) for each in seen.problems()]
    status = ask_daemon(found.config.control)
    holds = status["holds"] if status is not None else []
    told = [change_json(each, known) for each in changes]
    claims = unmet_json(seen.leasing) if seen.leasing is not None else []
    if as_json:
        document: PlanJson = {
            "changes": told,
            "holds": holds,
            "claims": claims,
            "problems": problems,
            "by": by,
        }
        print_json(document)
        return
    show_problems(problems)
    show_claims(claims)
    show_holds(holds)
    if told:
        head = ("action", "instance", "device", *NAMED, "rule", "why")
        table(
            head,
            [
                [
                    each["action"],
                    instance_of(each),
                    each["device"],
                    *names_of(each),
                    each["rule"],
                    each["why"],
                ]
                for each in told
            ],
        )
    else:
        say("nothing to change")
