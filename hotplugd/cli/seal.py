"""hotplugd seal"""

from __future__ import annotations

import click

from hotplugd.container.seal_helper import main


@click.command()
def command() -> None:
    """Seal device nodes of containers. systemd starts this, for the daemon."""
    raise SystemExit(main())
