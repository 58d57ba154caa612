"""hotplugd record"""

from __future__ import annotations

from pathlib import Path

import click

from hotplugd.cli.common import fail, in_force, say, with_config
from hotplugd.cli.write_file import write_file
from hotplugd.model.text import counted, natural


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True), metavar="FILE")
@with_config
def command(file: Path, config: Path) -> None:
    """Write all that rules can see of the devices that are there into FILE (- for standard output).

    `hotplugd check --devices FILE` says where each would go by other rules, on any machine. The record has
    serial numbers in it.
    """
    from hotplugd.app.record import ATTRS, record
    from hotplugd.host.list_once import listed

    if file == Path():  # of an empty text, too
        raise click.BadParameter("expected a file's name, or - for standard output", param_hint="FILE")
    settings, _ = in_force(config)
    devices, _ = listed(settings.rules.attrs | ATTRS)
    text = record(sorted(devices, key=lambda each: natural(each.syspath)))
    if str(file) == "-":
        click.echo(text, nl=False)
        return
    try:
        write_file(file, text)
    except OSError as error:
        raise fail(f"{file} cannot be written: {error.strerror or error}") from None
    say(f"{counted(len(devices), 'device')} recorded")
