"""hotplugd reset"""

from __future__ import annotations

from pathlib import Path

import click

from hotplugd.cli.common import named_by, order, with_config, with_json


@click.command()
@click.argument("device")
@click.option("--yes", is_flag=True, help="Also where no rule takes it.")
@with_config
@with_json
def command(device: str, config: Path, *, yes: bool, as_json: bool) -> None:
    """Have the port reset DEVICE, a USB device: its firmware begins anew, and who has it open goes on.

    DEVICE is named as in `hotplugd explain`. It stays in its instance. A device that no rule takes is only
    reset with --yes, and one that the host uses is not, nor is a hub.

    The running daemon does it. Exit code 0 if it was reset, 1 if it was not, 3 if no daemon runs.
    """
    order(config, "reset", {**named_by(device), "yes": yes}, as_json=as_json)
