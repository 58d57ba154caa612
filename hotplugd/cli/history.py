"""hotplugd history"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import click

from hotplugd.app import settings as configuration
from hotplugd.cli.common import fail, say, show, with_config


@click.command()
@click.argument("name", metavar="DEVICE|INSTANCE")
@click.option("--since", metavar="TIME", help="02:00, yesterday, '2026-11-27 21:12', or 3h (30min, 2d) ago.")
@with_config
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each event.")
def command(name: str, since: str | None, config: Path, *, as_json: bool) -> None:
    """Show what happened to a device or an instance, the oldest first.

    DEVICE is a serial number, a node, a port (1-4.2) or an identity; an instance of another project than
    `default` is PROJECT/NAME. Patterns are globs: `R5C*`. Read from the journal, and from what the running
    daemon keeps: its last ten thousand events. With --since, what was attached then comes first.

    Exit code 1 if nothing is known.
    """
    from hotplugd.app.event_views import Event, Filter, attached, line, parse_since, when
    from hotplugd.app.history import past

    try:
        begin = parse_since(since, datetime.now().astimezone()) if since is not None else None
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--since") from None
    found, wrong = configuration.load(config)
    if wrong:
        show(wrong)
        raise SystemExit(1)
    meant = Filter("", name)
    events = [each for each in past(found.control, name) if meant.meets(each)]
    if not events:
        raise fail(
            f"nothing is known of {name}: expected a serial number, a node, a port or an instance of which "
            f"the journal or the running daemon has an event; `hotplugd devices --all` lists what is there"
        )
    earlier: list[Event] = []
    later: list[Event] = []
    for each in events:
        is_early = begin is not None and (at := when(each)) is not None and at < begin
        (earlier if is_early else later).append(each)
    if as_json:
        for each in later:
            click.echo(json.dumps(each))
        return
    for each in attached(earlier).values():
        say(f"before: {line(each)}", bold=True)
    for each in later:
        level = str(each.get("level"))
        say(line(each), {"warning": "yellow", "error": "red", "critical": "red"}.get(level))
    if not later:
        say("nothing since")
