"""hotplugd run"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import click

from hotplugd.cli.common import AS_ROOT, BAD_CONFIGURATION, fail, settings, with_config


@click.command()
@with_config
@click.option("--once", is_flag=True, help="Converge and end: exit code 0 if all is as it should be, else 1.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
def command(config: Path, *, once: bool, dry_run: bool) -> None:
    """Attach devices to running instances as they come, and take them out as they go.

    Runs in the foreground, as root. SIGHUP reloads rules and configuration; SIGTERM ends it and leaves
    attached devices attached. With --dry-run it listens as usual and logs each change instead of making it.
    """
    found = settings(config, BAD_CONFIGURATION)
    from hotplugd.app.control import ControlError
    from hotplugd.app.daemon import Daemon
    from hotplugd.app.once import converge
    from hotplugd.app.systemd import logger
    from hotplugd.host.slots import AlreadyRunning
    from hotplugd.model.ports import ServerError

    log = logger()

    async def work() -> int:
        if once:
            return await converge(found, log, dry_run=dry_run)
        return await Daemon(config, found, log, dry_run=dry_run).run()

    try:
        code = asyncio.run(work())
    except AlreadyRunning as error:
        raise fail(error) from None
    except (ControlError, ServerError, OSError) as error:
        raise fail(f"{error}{AS_ROOT}" if os.geteuid() else error) from None
    raise SystemExit(code)
