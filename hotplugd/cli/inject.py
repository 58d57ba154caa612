"""hotplugd inject"""

from __future__ import annotations

import click

from hotplugd.container.inject_helper import main


@click.command()
def command() -> None:
    """Inject uevents into containers. systemd starts this, for the daemon."""
    raise SystemExit(main())
