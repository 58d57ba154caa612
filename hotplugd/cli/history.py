"""hotplugd history"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hotplugd.cli.common import fail, in_force, say, with_config
from hotplugd.model.text import quoted

if TYPE_CHECKING:
    from hotplugd.app.event_views import Event
    from hotplugd.rules.ruleset import RuleSet


@click.command()
@click.argument("name", metavar="DEVICE|INSTANCE|LOCATION")
@click.option("--since", metavar="TIME", help="02:00, yesterday, '2026-11-27 21:12', or 3h (30min, 2d) ago.")
@with_config
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each event.")
def command(name: str, since: str | None, config: Path, *, as_json: bool) -> None:
    """Show what happened to a device, in an instance or at a place, the oldest first.

    DEVICE is a serial number, a node, a port (1-4.2) or an identity; LOCATION the name of a port (shelf-1/4);
    an instance of another project than `default` is PROJECT/NAME. Patterns are globs: `R5C*`. Read from the
    journal, and from what the running daemon keeps: its last ten thousand events.

    With --since, what was so then comes first: what was attached, and the problems that were not over. With
    --json these have `before: true`.

    Exit code 1 if nothing is known.
    """
    from hotplugd.app.event_views import Filter, standing
    from hotplugd.app.history import past

    begin = _begin(since)
    # What happened is told also where no rules are in force, and nobody knows what they would do.
    found, by = in_force(config, needed=False)
    rules = found.rules if by != "nothing" else None
    meant = Filter("", name)
    known = past(found.config.control, meant)
    for gap in known.gaps:
        click.echo(f"hotplugd: {gap}", err=True)
    if not any(map(meant.meets, known.events)):
        raise _unknown(name, rules)
    earlier, later = _parted(known.events, begin)
    before, later = standing(earlier), [each for each in later if meant.meets(each)]
    if as_json:
        for each in (*({**one, "before": True} for one in before), *later):
            click.echo(json.dumps(each))
    else:
        _show(before, later, _where_now(name, known.events, rules))


def _begin(since: str | None) -> datetime | None:
    from hotplugd.app.since import parse_since

    try:
        now = datetime.now().astimezone()
        return parse_since(since, now, datetime.astimezone) if since is not None else None
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--since") from None


def _unknown(name: str, rules: RuleSet | None) -> SystemExit:
    from hotplugd.cli.absent import told

    absent = told(name, (), rules) if rules is not None else ""
    more = [f"it is {absent}"] if absent else []
    return fail(
        f"nothing is known of {quoted(name)}: expected a serial number, a node, a port, a location or an "
        f"instance of which the journal or the running daemon has an event; "
        f"`hotplugd devices --all` lists what is there",
        more=more,
    )


def _parted(events: Iterable[Event], begin: datetime | None) -> tuple[list[Event], list[Event]]:
    """The events before a time, and those from the first on that was not before it.

    What comes after that became so later, also where the clock was set back meanwhile.
    """
    from hotplugd.app.event_views import when

    every = list(events)
    if begin is None:
        return [], every
    later = (number for number, each in enumerate(every) if (at := when(each)) is None or at >= begin)
    first = next(later, len(every))
    return every[:first], every[first:]


def _where_now(name: str, events: Sequence[Event], rules: RuleSet | None) -> str:
    """Where the device that is called so was last seen, and which rule would take it; empty: it is there, or
    nobody knows the rules.
    """
    from hotplugd.cli.absent import told, whose_plug_is_over

    mine = whose_plug_is_over(name, events)
    return told(name, mine, rules) if mine and rules is not None else ""


def _show(before: Iterable[Event], later: Sequence[Event], now: str) -> None:
    from hotplugd.app.event_views import line

    for each in before:
        say(f"before: {line(each)}", bold=True)
    for each in later:
        level = str(each.get("level"))
        say(line(each), {"warning": "yellow", "error": "red", "critical": "red"}.get(level))
    if not later:
        say("nothing since")
    if now:
        say(f"now: {now}", bold=True)
