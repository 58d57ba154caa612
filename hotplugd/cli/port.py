"""hotplugd port"""

from __future__ import annotations

from pathlib import Path

import click

from hotplugd.cli.common import order, with_config, with_json


@click.command()
@click.argument("switch", type=click.Choice(["on", "off", "cycle"]))
@click.argument("location")
@click.option("--yes", is_flag=True, help="Also where a device is in it, or behind it, that no rule takes.")
@with_config
@with_json
def command(switch: str, location: str, config: Path, *, yes: bool, as_json: bool) -> None:
    """Switch the port at LOCATION of a USB hub `off` or `on`, or `cycle` it: off, and on after two seconds.

    LOCATION is a port's name, as `shelf-1/3`, or the kernel's, as `1-4.3`; `hotplugd topology` shows both.
    For a USB 3 socket both of its ports are switched. What is in it, and behind a hub in it, goes as if it
    was pulled; whether the power goes depends on the hub. Off lasts until it is switched on, or a reboot.

    Where the host uses a device there, nothing is done; where no rule takes one, only with --yes. One that
    an instance has is no obstacle: to bring it back is what this is for.

    The running daemon does it, with Linux 6.0 or newer. Exit code 0 if it was switched, 1 if it was not, 3
    if no daemon runs.
    """
    order(config, "port", {"port": location, "switch": switch, "yes": yes}, as_json=as_json)
