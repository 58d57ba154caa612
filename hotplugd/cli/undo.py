"""hotplugd undo"""

from __future__ import annotations

from pathlib import Path

import click

from hotplugd.cli.common import named_by, order, with_config, with_json


@click.command()
@click.argument("device", required=False)
@click.option("--all", "everything", is_flag=True, help="About all devices.")
@with_config
@with_json
def command(device: str | None, config: Path, *, everything: bool, as_json: bool) -> None:
    """Undo `hotplugd attach` or `hotplugd detach`: the rules decide about DEVICE again.

    DEVICE is named as in `hotplugd explain`, or as `hotplugd status --by-hand` shows it: it need not be
    plugged in. Exit code 0 if it was undone and the device is where the rules say, 1 if it is not yet, or if
    nothing was decided about it by hand, 3 if no daemon runs.
    """
    if (device is None) != everything:
        both = "" if device is None else ", not both"
        raise click.UsageError(f"expected DEVICE, or --all{both}")
    words = named_by(device) if device is not None else {"all": True}
    order(config, "undo", words, as_json=as_json)
