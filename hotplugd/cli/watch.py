"""`status --watch`: asks the daemon again whenever its events tell of a change."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn, Protocol, cast

import click

from hotplugd.cli.common import fail, is_terminal, say

if TYPE_CHECKING:
    from hotplugd.app.documents import StatusJson


class Show(Protocol):
    """Shows a status, if it is another than the one before; again: also if it is not."""

    def __call__(self, status: StatusJson, *, again: bool) -> None:
        """Show it."""


# How often a daemon that is away is looked for, and one that has no room for whoever waits is asked.
_PAUSE: Final = 1.0
# One plug is several events: what comes within so many seconds is shown at once.
_TOGETHER: Final = 0.1
# What the daemon has answered from the first version on.
_NEEDED: Final = ("ready", "server", "rules", "devices", "attachments", "pending", "problems")
# The cursor goes home, and what is below it goes (ECMA-48: CUP, ED).
_HOME: Final = "\x1b[H\x1b[J"


def parsed(answer: Mapping[str, object]) -> StatusJson:
    """A daemon's answer to `status`; an older one's lacks some keys. Raises ControlError for other ones."""
    from hotplugd.app.control_client import Answer

    for key in _NEEDED:
        answer[key]
    lacks = {key: list[object]() for key in ("holds", "claims", "overrides", "unmatched", "unleased")}
    return cast("StatusJson", Answer({**lacks, **answer}))


def begin_anew(*, quietly: bool) -> None:
    """Begin to show something, with the time: in place of what was there, or below it. quietly: not so"""
    if quietly:
        return
    if is_terminal(sys.stdout) and os.environ.get("TERM") != "dumb":
        click.echo(_HOME, nl=False, color=True)
    say(f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S %z}", bold=True)


def follow(control: Path, show: Show) -> NoReturn:
    """Have each status shown until somebody interrupts it. Where no daemon runs it is waited for."""
    from hotplugd.app.control_client import ControlError, NotRunning, get

    away = heard = False
    try:
        while True:
            try:
                status = parsed(get(control, "status"))
                show(status, again=away)
                away, heard = False, True
                _wait(control, status.get("cursor", "end"))
            except ControlError as error:
                if not (away or heard or isinstance(error, NotRunning)):
                    raise fail(error) from None
                if not away:
                    _say_away(control, heard=heard, why=str(error))
                away = True
                time.sleep(_PAUSE)
    except (KeyboardInterrupt, BrokenPipeError):
        raise SystemExit(0) from None


def _wait(control: Path, cursor: str) -> None:
    """Wait for the next event after this one, or for some time. Raises ControlError."""
    from hotplugd.app.control_client import get

    began = time.monotonic()
    page = get(control, "events", {"after": cursor, "wait": "20"}, long=True)
    if page.get("events"):
        time.sleep(_TOGETHER)
    elif time.monotonic() - began < _PAUSE:
        time.sleep(_PAUSE)


def _say_away(control: Path, *, heard: bool, why: str) -> None:
    from hotplugd.app.exit_reason import exit_reason

    at = f"{datetime.now().astimezone():%H:%M:%S}"
    words = exit_reason(control)
    told = f"{at} it has ended{f' ({words})' if words else ''}" if heard else why
    click.echo(f"hotplugd: {told}; waiting for it", err=True)
