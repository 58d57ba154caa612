"""hotplugd lease"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from hotplugd.app import settings as configuration
from hotplugd.cli import unknown
from hotplugd.cli.common import (
    NAMED,
    NOT_RUNNING,
    fail,
    instance_of,
    local_time,
    named_by,
    names_of,
    order,
    print_json,
    say,
    show,
    table,
    with_config,
    with_json,
    with_project,
)
from hotplugd.model.text import counted

if TYPE_CHECKING:
    from hotplugd.app.pool_documents import LeaseJson, PoolsJson


class _Group(click.Group):
    """Says what is meant by a command that there is not, in the words of `hotplugd` itself."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            ctx.fail(unknown(args[0], self.commands))
        return super().resolve_command(ctx, args)


@click.group(cls=_Group)
def command() -> None:
    """Show which devices of pools are leased to which instances, end a lease, or move one."""


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


@command.command(name="release", short_help="End the lease of a device.")
@click.argument("device")
@with_config
@with_json
def release(device: str, config: Path, *, as_json: bool) -> None:
    """End the lease of DEVICE, which goes to the claim that waits next.

    DEVICE is named as in `hotplugd explain`; one that is absent by its serial number. The claim that had it
    stands, and waits behind all others: where none waits for the device, it has it again. `hotplugd drain`
    keeps it out of all.

    Exit code 0 if it is so, 1 if it is not (yet) or nothing was done, 3 if no daemon runs.
    """
    order(config, "lease-release", named_by(device), as_json=as_json)


@command.command(name="move", short_help="Lease a device to another instance.")
@click.argument("device")
@click.argument("instance")
@with_project
@with_config
@with_json
def move(device: str, instance: str, project: str, config: Path, *, as_json: bool) -> None:
    """Lease DEVICE to INSTANCE from now on, whoever has it.

    INSTANCE must have a claim that lacks such a device. It gets the device once it is out of the instance
    that had it; that one's claim waits for another.

    Exit code 0 if it is there, 1 if it is not (yet) or nothing was done, 3 if no daemon runs.
    """
    words = {**named_by(device), "instance": instance, "project": project}
    order(config, "lease-move", words, as_json=as_json)


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
    return ("device", *NAMED, "location", "state", "instance", "claim", "since", "health", "reason")


def row(lease: LeaseJson) -> Sequence[str]:
    """A device of a pool in that table."""
    return [
        lease["device"] or f"{lease['identity']} (absent)",
        *names_of(lease),
        lease["location"],
        lease["state"],
        instance_of(lease) if lease["instance"] else "",
        lease["claim"],
        local_time(lease["since"] or lease["state_since"]),
        lease["health"],
        lease["reason"] or lease["health_reason"],
    ]
