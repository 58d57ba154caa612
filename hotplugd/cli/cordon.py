"""hotplugd cordon"""

from __future__ import annotations

from pathlib import Path

import click

from hotplugd.cli.common import named_by, order, with_config, with_json, with_project


@click.command()
@click.argument("name", metavar="DEVICE|LOCATION|INSTANCE|POOL")
@click.option("--reason", default="", metavar="TEXT", help="Why, for others to read.")
@with_project
@with_config
@with_json
def command(name: str, reason: str, project: str, config: Path, *, as_json: bool) -> None:
    """Give a DEVICE of a pool, what is plugged in at a LOCATION, or all that is in a POOL to nobody; or an
    INSTANCE nothing more.

    What is leased stays so: `hotplugd drain` ends that, too. A DEVICE is named as in `hotplugd explain`; a
    LOCATION is a port of a hub with a name, or a pattern of such: 'shelf-1/*'. Where an instance and a pool
    have one name the instance is meant. It holds over restarts and boots, until `hotplugd uncordon`.

    Exit code 0 if it is so, 1 if nothing was done, 3 if no daemon runs.
    """
    words = {**named_by(name), "project": project, "reason": reason}
    order(config, "cordon", words, as_json=as_json)
