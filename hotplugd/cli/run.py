"""hotplugd run"""

from __future__ import annotations

import asyncio
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hotplugd.cli.common import AS_ROOT, BAD_CONFIGURATION, first, patiently, show, with_config
from hotplugd.model.text import counted

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from hotplugd.app.exit_reason import ExitReason
    from hotplugd.app.in_force import Settings
    from hotplugd.app.systemd import LogFormat


@click.command()
@with_config
@click.option("--once", is_flag=True, help="Converge and end: exit code 0 if all is as it should be, else 1.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option(
    "-v", "--verbose", is_flag=True, help="Also log devices that no rule could be about, and each look."
)
@click.option(
    "--log-format",
    type=click.Choice(("json", "console", "journal")),
    help="How to log; else to the journal under systemd, for people on a terminal, as JSON lines elsewhere.",
)
def command(config: Path, log_format: LogFormat | None, *, once: bool, dry_run: bool, verbose: bool) -> None:
    """Attach devices to running instances as they come, and take them out as they go.

    Runs in the foreground, as root. SIGHUP reloads rules and configuration; SIGTERM ends it and leaves
    attached devices attached. With --dry-run it listens as usual and logs each change instead of making it.
    """
    from hotplugd.app.control_client import ControlError
    from hotplugd.app.daemon import Daemon
    from hotplugd.app.event_buffer import EventBuffer
    from hotplugd.app.exit_reason import ExitReason, with_crashes
    from hotplugd.app.in_force import load
    from hotplugd.app.run_once import converge
    from hotplugd.app.systemd import log_format as default_format
    from hotplugd.app.systemd import logger
    from hotplugd.host.server_lock import AlreadyRunning
    from hotplugd.host.sysfs import boot
    from hotplugd.model.ports import ServerError

    form, events = log_format or default_format(), EventBuffer(boot())
    try:
        log = logger(form, verbose=verbose, buffer=events)
    except ImportError:
        raise click.UsageError("--log-format journal needs Python's systemd module") from None
    found = patiently(partial(load, config))
    # Programs read events alone: with their formats, errors in files are events, too.
    if form == "console":
        show(found.diagnostics)
    else:
        _tell(log, found)
    words = None if once or dry_run else ExitReason(found.config.control)
    if found.errors:
        _end(words, f"{counted(len(found.errors), 'error')} in its files, the first {first(found.errors)}")
        raise SystemExit(BAD_CONFIGURATION)

    async def work() -> int:
        if once:
            return await converge(found, log, dry_run=dry_run)
        return await Daemon(config, found, log, dry_run=dry_run, events=events).run()

    def failed(reason: str) -> SystemExit:
        log.critical("failed", reason=reason)
        _end(words, reason)
        return SystemExit(1)

    with with_crashes(words):
        try:
            code = asyncio.run(work())
        except AlreadyRunning as error:
            raise failed(str(error)) from None
        except (ControlError, ServerError, OSError) as error:
            raise failed(f"{error}{AS_ROOT if os.geteuid() else ''}") from None
    _end(words, f"a defect: {events.worst()}" if code else "")
    raise SystemExit(code)


def _end(words: ExitReason | None, reason: str) -> None:
    if words is not None:
        words.ended(reason)


def _tell(log: FilteringBoundLogger, found: Settings) -> None:
    """Log what is wrong with the files."""
    for diagnostic in found.diagnostics:
        hint = {"hint": diagnostic.hint} if diagnostic.hint else {}
        if diagnostic.severity == "error":
            log.error("config.error", place=diagnostic.place, reason=diagnostic.message, **hint)
        else:
            log.warning("config.warning", place=diagnostic.place, reason=diagnostic.message, **hint)
