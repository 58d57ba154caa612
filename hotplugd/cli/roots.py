"""hotplugd roots"""

from __future__ import annotations

import click

from hotplugd.container.roots_helper import main


@click.command()
def command() -> None:
    """Open the roots of containers. systemd starts this, for the daemon."""
    raise SystemExit(main())
