"""hotplugd roots"""

from __future__ import annotations

import click

from hotplugd.container.roots_helper import main


@click.command()
@click.argument("folders", nargs=-1)
def command(folders: tuple[str, ...]) -> None:
    """Open what belongs to others' processes. systemd starts this, for the daemon.

    FOLDERS are those of servers that have others than LXD's and Incus's packages give them.
    """
    raise SystemExit(main(folders))
