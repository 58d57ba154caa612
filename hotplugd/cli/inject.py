"""hotplugd inject"""

from __future__ import annotations

import click

from hotplugd.inject import main


@click.command()
def command() -> None:
    """Inject uevents into containers. systemd starts this, for the daemon."""
    raise SystemExit(main())
