"""hotplugd help"""

from __future__ import annotations

import click

from hotplugd.cli import unknown


@click.command()
@click.argument("names", nargs=-1, metavar="[COMMAND]...")
@click.pass_context
def command(context: click.Context, names: tuple[str, ...]) -> None:
    """Show what COMMAND does, and its options; without one, the commands that there are."""
    about = context.parent
    assert about is not None
    for name in names:
        if not isinstance(about.command, click.Group):
            raise click.UsageError(f"`{about.command_path}` has no commands of its own", context)
        subcommand = about.command.get_command(about, name)
        if subcommand is None:
            raise click.UsageError(unknown(name, about.command.list_commands(about)), context)
        about = click.Context(subcommand, info_name=name, parent=about)
    click.echo(about.get_help())
