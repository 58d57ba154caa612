"""hotplugd monitor"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from hotplugd.app import settings as configuration
from hotplugd.cli.common import fail, say, show, with_config

if TYPE_CHECKING:
    from hotplugd.app.event_views import Event, Filter

# How often a daemon that is away is looked for, and one that has no room for whoever waits is asked.
_PAUSE: Final = 1.0
# An answer that is empty sooner than that was not waited for.
_SOON: Final = 1.0


@click.command()
@click.argument("filters", metavar="[FILTER]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Begin with what the daemon keeps: its last events.")
@with_config
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each event.")
def command(filters: tuple[str, ...], config: Path, *, everything: bool, as_json: bool) -> None:
    """Show what happens to devices and instances, as it happens, until interrupted.

    FILTER is KEY=PATTERN, or PATTERN for whatever names a device or an instance: `R5C*`, `serial=R5C*`,
    `port=1-4*`, `instance=runner-1`, `event=device.*`. Keys: device, serial, port, location, model, identity,
    instance, rule, event, cause. Of several with one key any may hold; every key has to.

    Waits where no daemon runs, and goes on with the next one.
    """
    from hotplugd.app.event_buffer import END
    from hotplugd.app.event_views import parse_filter

    try:
        meant = [parse_filter(each) for each in filters]
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    # Errors in the configuration do not keep events from being shown.
    settings, wrong = configuration.load(config)
    show(wrong)
    try:
        _follow(settings.control, "" if everything else END, meant, as_json=as_json)
    except (KeyboardInterrupt, BrokenPipeError):
        raise SystemExit(0) from None


def _follow(control: Path, cursor: str, filters: list[Filter], *, as_json: bool) -> None:
    from hotplugd.app.control_client import ControlError, NotRunning, get
    from hotplugd.app.history import parse_page

    away = heard = False
    while True:
        began = time.monotonic()
        try:
            page = get(control, "events", {"after": cursor, "wait": "20"}, long=True)
        except ControlError as error:
            # One that was heard before has ended while it was listened to.
            if not (away or heard or isinstance(error, NotRunning)):
                raise fail(error) from None
            if not away:
                why = "it has ended, or has no room for one more who asks" if heard else error
                click.echo(f"hotplugd: {why}; waiting for it", err=True)
            away = True
            time.sleep(_PAUSE)
            continue
        away, heard = False, True
        if page.get("lost") is True:
            click.echo(
                "hotplugd: more happened than the daemon keeps: some events are missing here", err=True
            )
        events, cursor = parse_page(page)
        for event in events:
            _show(event, filters, as_json=as_json)
        if not events and time.monotonic() - began < _SOON:
            time.sleep(_PAUSE)


def _show(event: Event, filters: list[Filter], *, as_json: bool) -> None:
    from hotplugd.app.event_views import is_meant, line

    if is_meant(event, filters):
        if as_json:
            click.echo(json.dumps(event))
        else:
            level = event.get("level")
            say(line(event), {"warning": "yellow", "error": "red", "critical": "red"}.get(str(level)))
