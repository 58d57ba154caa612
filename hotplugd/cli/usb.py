"""hotplugd usb"""

from __future__ import annotations

import click

from hotplugd.host.usb_helper import main


@click.command()
def command() -> None:
    """Revoke and reset USB devices, and switch ports of hubs. systemd starts this, for the daemon."""
    raise SystemExit(main())
