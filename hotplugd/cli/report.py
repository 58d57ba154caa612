"""hotplugd report"""

from __future__ import annotations

import os
import sys
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hotplugd.cli.common import fail, patiently, with_config
from hotplugd.cli.write_file import write_file
from hotplugd.model.text import counted, plain

if TYPE_CHECKING:
    from hotplugd.app.support_report import Report


@click.command()
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    metavar="FILE",
    help="Where to write it; - for standard output. Without: hotplugd-report-TIME.txt in this folder.",
)
@click.option("--yes", is_flag=True, help="Do not ask before it is written.")
@with_config
def command(output: Path | None, config: Path, *, yes: bool) -> None:
    """Write all that a report on a fault needs into one text file, for whoever helps.

    It has versions, the server with its API extensions, the configuration and the rules with what is wrong
    with them, the status, devices, entries of ours, the last 200 events, and the lines of the server's log
    about us. Neither the daemon nor the server has to run.

    Serial numbers, MAC and IP addresses, UUIDs, keys, tokens, and names of hosts and of people have masks:
    the same value has the same one, such as `<serial-1>`. Names of rules, instances and projects, paths and
    comments stay: read the file before you send it. What it holds is shown before it is written; on a
    terminal you are asked.
    """
    from hotplugd.app.in_force import load
    from hotplugd.app.support_report import report

    if output == Path():  # of an empty text, too
        raise click.BadParameter("expected a file's name, or - for standard output", param_hint="--output")
    made = report(config, patiently(partial(load, config)), os.environ)
    text = made.text()
    _summary(made, text)
    if output is not None and str(output) == "-":
        click.echo(text, nl=False)
        return
    file = (output or Path(f"hotplugd-report-{datetime.now().astimezone():%Y%m%d-%H%M%S}.txt")).absolute()
    if not yes and sys.stdin.isatty() and not click.confirm(f"Write this into {file}?", True, err=True):
        raise fail("nothing was written")
    try:
        write_file(file, text)
    except OSError as error:
        raise fail(f"{file} cannot be written: {error.strerror or error}") from None
    click.echo(f"{file}: read it before you send it")


def _summary(made: Report, text: str) -> None:
    """Say on standard error what the report holds."""
    click.echo(f"The report holds {counted(len(text.splitlines()), 'line')}:", err=True)
    for each in made.sections:
        said = f": {each.said}" if each.said else ""
        click.echo(plain(f"  {each.title}, {counted(len(each.lines), 'line')}{said}"), err=True)
    masks = ", ".join(f"{kind} {number}" for kind, number in made.masked.items())
    click.echo(f"Masked, how many of each kind: {masks or 'none'}", err=True)
