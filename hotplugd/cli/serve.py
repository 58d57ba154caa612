"""hotplugd serve"""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from hotplugd.cli.common import fail, say, with_config

if TYPE_CHECKING:
    from hotplugd.web.server import Listen

_DEFAULT: Final = "127.0.0.1:9417"


@click.command()
@click.option(
    "--listen", default=_DEFAULT, show_default=True, metavar="WHERE",
    help="Where to listen: HOST:PORT, [IPv6]:PORT, or the path of a unix socket.",
)  # fmt: skip
@click.option(
    "--name", "names", multiple=True, metavar="HOST",
    help="A name by which this host may be asked, besides localhost and addresses. May be given again.",
)  # fmt: skip
@click.option(
    "--serials", is_flag=True, help="Show serial numbers on the page; else masks are there instead."
)
@with_config
def command(listen: str, names: tuple[str, ...], config: Path, *, serials: bool) -> None:
    """Serve a page of all ports, and metrics for Prometheus at /metrics, from what the running daemon says.

    It needs no privilege but to read the daemon's control socket, as members of the group `hotplugd` may, or
    of a group to which `allow` in the configuration grants `read`. It changes nothing, and no metric has the
    name of a device or an instance.
    """
    from hotplugd.app import settings as configuration
    from hotplugd.web.server import Listen

    found, wrong = configuration.load(config)
    if wrong:
        raise fail(f"{wrong[0].place}: {wrong[0].message}")
    try:
        where = Listen.of(listen)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--listen") from None
    try:
        asyncio.run(_serve(found.control, where, frozenset(each.lower() for each in names), serials=serials))
    except OSError as error:
        raise fail(f"cannot listen on {listen}: {error.strerror or error}") from None


async def _serve(control: Path, where: Listen, names: frozenset[str], *, serials: bool) -> None:
    from hotplugd.web.server import application, serving

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with serving(application(control, names, serials=serials), where):
        say(f"the page is at {where}/, and metrics are at {where}/metrics")
        await stop.wait()
