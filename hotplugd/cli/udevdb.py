"""hotplugd udevdb"""

from __future__ import annotations

import click

from hotplugd.container.udev_database_helper import main


@click.command()
def command() -> None:
    """Keep records of udev's database in containers. systemd starts this, for the daemon."""
    raise SystemExit(main())
