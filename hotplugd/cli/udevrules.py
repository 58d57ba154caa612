"""hotplugd udevrules"""

from __future__ import annotations

import click

from hotplugd.host.udev_rules_helper import main


@click.command()
def command() -> None:
    """Tell udevd what the host's software is to leave alone. systemd starts this, for the daemon."""
    raise SystemExit(main())
