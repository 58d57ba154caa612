"""hotplugd hooks"""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hotplugd.cli.common import BAD_CONFIGURATION, fail, show, with_config

if TYPE_CHECKING:
    from hotplugd.hooks.settings import Hook


@click.command()
@click.option(
    "--cursor", type=click.Path(path_type=Path), metavar="FILE",
    help="Where to keep up to which event everything is done, to go on there after a restart. Without it, or "
    "the first time, hooks run for what happens from now on.",
)  # fmt: skip
@with_config
def command(cursor: Path | None, config: Path) -> None:
    """Run commands when something happens to a device, by hooks.yaml beside the daemon's configuration.

    hotplugd-hooks(7) says what is in that file; `hotplugd check` checks it. It needs no privilege but those
    of the group `hotplugd-hooks`, or of one to which `allow` in the configuration grants `read` and `hooks`.
    A command that fails is a problem in `hotplugd status`.

    Exit code 78 where the files have errors.
    """
    from hotplugd.app import settings as configuration
    from hotplugd.hooks import settings as hook_settings

    found, wrong = configuration.load(config)
    file = config.with_name(configuration.HOOKS)
    if not _is_there(file):
        click.echo(f"hotplugd: there is no {file}; hotplugd-hooks(7) says what is in it", err=True)
        raise SystemExit(BAD_CONFIGURATION)
    hooks, wrong_there = hook_settings.load(file)
    show((*wrong, *wrong_there))
    if wrong or wrong_there:
        raise SystemExit(BAD_CONFIGURATION)
    try:
        asyncio.run(_serve(hooks, found.control, cursor))
    except OSError as error:
        raise fail(f"cannot keep the cursor in {cursor}: {error.strerror or error}") from None


def _is_there(file: Path) -> bool:
    """Whether there is such a file; also where that cannot be known, and reading it says why."""
    try:
        file.stat()
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return True


async def _serve(hooks: tuple[Hook, ...], control: Path, cursor: Path | None) -> None:
    from hotplugd.hooks.service import serve

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await serve(hooks, control, cursor, lambda text: click.echo(f"hotplugd: {text}", err=True), stop)
