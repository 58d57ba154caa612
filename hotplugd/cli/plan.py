"""hotplugd plan"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hotplugd.app.selection import Selection
from hotplugd.cli.common import (
    NAMED,
    ask_daemon,
    fail,
    in_force,
    instance_of,
    kept,
    located,
    names_of,
    print_json,
    say,
    show_claims,
    show_holds,
    show_problems,
    show_unmatched,
    with_config,
    with_json,
)
from hotplugd.cli.filters import with_filters
from hotplugd.cli.unleased import show_unleased

if TYPE_CHECKING:
    from hotplugd.app.command_json import PlanJson


@click.command()
@with_filters
@with_config
@with_json
def command(config: Path, *, selection: Selection, as_json: bool) -> None:
    """Say what the daemon would change now, and why. Changes nothing, and needs no daemon.

    Goes by the files on disk, which a running daemon may not have reloaded yet; where these have errors, by
    what it has in force. What people decided by hand counts, too. One that runs is asked what it holds back
    until when.
    """
    found, by = in_force(config)
    from hotplugd.app.documents import changes_in_order, problems_in_order, unmatched_json
    from hotplugd.app.naming import by_name
    from hotplugd.app.pool_documents import unleased_json, unmet_json
    from hotplugd.app.selection import narrowed_plan
    from hotplugd.app.snapshot import survey
    from hotplugd.host.list_once import listed
    from hotplugd.model.ports import ServerError

    try:
        devices, unprocessed = listed(found.rules.attrs)
        state = kept(found.config.state)
        seen = survey(found.rules, devices, unprocessed, found.config.server, os.environ, state)
    except (ServerError, OSError) as error:
        raise fail(error) from None
    hubs, known = found.rules.hubs, by_name((*devices, *seen.away))
    every = changes_in_order((each for plan in seen.plans.values() for each in plan.changes), known, hubs)
    problems = problems_in_order(seen.problems(), known, hubs)
    status = ask_daemon(found.config.control)
    holds = status["holds"] if status is not None else []
    free = unmatched_json((each for each in devices if not seen.is_taken(each)), hubs)
    whole: PlanJson = {
        "changes": every,
        "holds": holds,
        "claims": unmet_json(seen.leasing) if seen.leasing is not None else [],
        "problems": problems,
        "unmatched": free,
        "unleased": unleased_json(seen.leasing, seen.placed()) if seen.leasing is not None else [],
        "by": by,
    }
    document = narrowed_plan(whole, selection)
    if as_json:
        print_json(document)
    else:
        _show(document, selection)


def _show(plan: PlanJson, selection: Selection) -> None:
    show_problems(plan["problems"])
    show_claims(plan["claims"], plan["problems"])
    show_holds(plan["holds"])
    if selection.problems:
        show_unleased(plan["unleased"])
    if selection.unmatched or (selection.problems and plan["unmatched"]):
        show_unmatched(plan["unmatched"])
    elif plan["changes"]:
        located(
            ("action", "instance", "device", *NAMED, "rule", "why"),
            [
                [
                    each["action"],
                    instance_of(each),
                    each["device"],
                    *names_of(each),
                    each["rule"],
                    each["why"],
                ]
                for each in plan["changes"]
            ],
            plan["changes"],
        )
    elif not selection.problems:
        say("nothing to change")
