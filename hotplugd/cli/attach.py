"""hotplugd attach"""

from __future__ import annotations

from pathlib import Path

import click

from hotplugd.cli.common import named_by, order, with_config, with_json, with_project


@click.command()
@click.argument("device")
@click.argument("instance", required=False)
@with_project
@with_config
@with_json
def command(device: str, instance: str | None, project: str, config: Path, *, as_json: bool) -> None:
    """Put DEVICE into INSTANCE and nowhere else until `hotplugd undo`: whatever rules say about where it
    goes.

    DEVICE is named as in `hotplugd explain`. Where a rule takes it, its mode, owner, path, link and `with`
    hold there, too. Guard rails hold, also where the rule has `force`: nothing is done then, and nothing is
    kept.

    The running daemon does it, and keeps the decision, for this device wherever it is plugged in: over
    replugs, reloads, restarts and reboots. Exit code 0 if it is there, 1 if it is not or nothing was done, 3
    if no daemon runs.
    """
    if instance is None:
        raise click.UsageError(f"expected INSTANCE; `hotplugd undo {device}` has the rules decide again")
    words = {**named_by(device), "instance": instance, "project": project}
    order(config, "attach", words, as_json=as_json)
