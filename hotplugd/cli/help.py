"""hotplugd help"""

from __future__ import annotations

import click

from hotplugd.cli import unknown


@click.command()
@click.argument("name", required=False, metavar="[COMMAND]")
@click.pass_context
def command(context: click.Context, name: str | None) -> None:
    """Show what COMMAND does, and its options; without one, the commands that there are."""
    above = context.parent
    assert above is not None
    if name is None:
        click.echo(above.get_help())
        return
    assert isinstance(above.command, click.Group)
    subcommand = above.command.get_command(above, name)
    if subcommand is None:
        raise click.UsageError(unknown(name), context)
    click.echo(subcommand.get_help(click.Context(subcommand, info_name=name, parent=above)))
