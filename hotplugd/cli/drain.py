"""hotplugd drain"""

from __future__ import annotations

from pathlib import Path

import click

from hotplugd.cli.common import named_by, order, with_config, with_json, with_project


@click.command()
@click.argument("name", metavar="DEVICE|LOCATION|INSTANCE|POOL")
@click.option("--reason", default="", metavar="TEXT", help="Why, for others to read.")
@click.option("--yes", is_flag=True, help="Do it. Without this, say which leases it would end.")
@with_project
@with_config
@with_json
def command(name: str, reason: str, project: str, config: Path, *, yes: bool, as_json: bool) -> None:
    """Cordon a DEVICE, a LOCATION, an INSTANCE or a POOL, and end its leases.

    Without --yes nothing is done, and the leases are listed that it would end. See `hotplugd cordon`.

    Exit code 0 if all is out, 1 if it is not (yet) or nothing was done, 3 if no daemon runs.
    """
    words = {**named_by(name), "project": project, "reason": reason, "yes": yes}
    order(config, "drain", words, as_json=as_json)
