"""hotplugd uncordon"""

from __future__ import annotations

from pathlib import Path

import click

from hotplugd.cli.common import named_by, order, with_config, with_json, with_project


@click.command()
@click.argument("name", metavar="DEVICE|LOCATION|INSTANCE|POOL")
@with_project
@with_config
@with_json
def command(name: str, project: str, config: Path, *, as_json: bool) -> None:
    """Take away the cordon of this name. A device is given again, and an instance gets what it claims.

    A device that is in quarantine, or whose health is bad, is given again, too.

    `hotplugd pool` has what is cordoned. Exit code 0 if it is so, 1 if nothing was done, 3 if no daemon runs.
    """
    order(config, "uncordon", {**named_by(name), "project": project}, as_json=as_json)
