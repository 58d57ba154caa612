"""hotplugd record"""

from __future__ import annotations

import os
import stat
from pathlib import Path

import click

from hotplugd.cli.common import fail, in_force, say, with_config
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
        _write(file, text)
    except OSError as error:
        raise fail(f"{file} cannot be written: {error.strerror or error}") from None
    say(f"{counted(len(devices), 'device')} recorded")


def _write(file: Path, text: str) -> None:
    """Write a text into a file, all of it or nothing. Raises OSError.

    What is there and is no file, such as /dev/null, a pipe or a terminal, is written to and stays what it is.
    """
    try:
        is_file = stat.S_ISREG(file.stat().st_mode)
    except FileNotFoundError:
        is_file = True
    if not is_file:
        file.write_text(text, "utf-8", "backslashreplace")
        return
    file = file.resolve()
    new = file.with_name(f".{file.name}.new")
    # Serial numbers are in it: it is the user's own.
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w", encoding="utf-8", errors="backslashreplace") as writer:
        writer.write(text)
    new.replace(file)
