"""hotplugd suggest"""

from __future__ import annotations

from pathlib import Path

import click

from hotplugd.cli.common import fail, settings, with_config


@click.command()
@click.argument("what", type=click.Choice(["hubs"]))
@with_config
def command(what: str, config: Path) -> None:
    """Print what could stand in a rule file, by what is plugged in.

    `hubs` prints the section `hubs`: each USB hub with its path and its ports, to be given better names. Hubs
    and ports that have names keep them. Needs no daemon and no server.
    """
    assert what == "hubs"
    from hotplugd.app.suggest_hubs import hubs_section
    from hotplugd.cli.topology import look

    text = hubs_section(look(settings(config), ask_server=False))
    if not text:
        raise fail("no USB hub is plugged in; `hotplugd topology` shows what there is")
    click.echo(text, nl=False)
