"""hotplugd lease"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from hotplugd.app import settings as configuration
from hotplugd.cli.common import (
    NAMED,
    NOT_RUNNING,
    fail,
    instance_of,
    local_time,
    names_of,
    print_json,
    say,
    show,
    table,
    with_config,
    with_json,
)
from hotplugd.model.text import counted

if TYPE_CHECKING:
    from hotplugd.app.pool_documents import LeaseJson, PoolsJson


@click.group()
def command() -> None:
    """Show which devices of pools are leased to which instances."""


@command.command(name="list", short_help="Show the leases: which device, and whose it is.")
@with_config
@with_json
def list_leases(config: Path, *, as_json: bool) -> None:
    """List the devices of pools that are leased, or that are being released.

    The running daemon is asked. Exit code 3 if none runs.
    """
    from hotplugd.app.pool_documents import leases_json

    document = leases_json(asked(config)["pools"])
    if as_json:
        print_json(document)
        return
    leases = document["leases"]
    if leases:
        table(["pool", *head()], [[lease["pool"], *row(lease)] for lease in leases])
    say(counted(len(leases), "lease"))


def asked(config: Path) -> PoolsJson:
    """What the running daemon says of pools. Ends the command where none runs, or it cannot be asked."""
    from hotplugd.app.control_client import ControlError, NotRunning, get

    found, wrong = configuration.load(config)
    if wrong:
        show(wrong)
        raise SystemExit(1)
    try:
        return cast("PoolsJson", get(found.control, "pools"))
    except NotRunning as error:
        raise fail(error, NOT_RUNNING) from None
    except ControlError as error:
        raise fail(error) from None


def head() -> Sequence[str]:
    """The columns of a table of devices of pools."""
    return ("device", *NAMED, "location", "state", "instance", "claim", "since", "reason")


def row(lease: LeaseJson) -> Sequence[str]:
    """A device of a pool in that table."""
    return [
        lease["device"],
        *names_of(lease),
        lease["location"],
        lease["state"],
        instance_of(lease) if lease["instance"] else "",
        lease["claim"],
        local_time(lease["since"]),
        lease["reason"],
    ]
