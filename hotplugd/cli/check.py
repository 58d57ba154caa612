"""hotplugd check"""

from __future__ import annotations

from pathlib import Path

import click

from hotplugd import config as configuration
from hotplugd.cli.common import print_json, show, with_config, with_json
from hotplugd.model import counted
from hotplugd.rules import Diagnostic, load
from hotplugd.sysfs import usb_controllers


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path, readable=False), metavar="[PATH]...")
@with_config
@with_json
def command(paths: tuple[Path, ...], config: Path, *, as_json: bool) -> None:
    """Check rule files and folders, or else the configuration and the rules that it names.

    Needs no daemon, no server and no root. Shows every error of every file at once. Exit code 1 if there
    are errors; warnings alone are fine. Where this host has several USB controllers, ports are warned about.
    """
    wrong: tuple[Diagnostic, ...] = ()
    if not paths:
        found, wrong = configuration.load(config)
        paths = found.rules
    loaded = load(paths, usb_controllers())
    diagnostics = (*wrong, *loaded.diagnostics)
    if not loaded.rules.rules and not diagnostics:
        click.echo(f"warning: no rules in {', '.join(map(str, paths))}", err=True)
    errors = sum(each.severity == "error" for each in diagnostics)
    if as_json:
        rules = [] if errors else [each.name for each in loaded.rules.rules]
        print_json({"rules": rules, "diagnostics": [each.as_json() for each in diagnostics]})
    else:
        show(diagnostics)
        warnings = len(diagnostics) - errors
        counts = [counted(errors, "error")] if errors else []
        counts += [counted(warnings, "warning")] if warnings else []
        summary = ", ".join(counts) or "no errors"
        total = counted(len(loaded.rules.rules), "rule")
        click.echo(summary if errors else f"{total}, {summary}", err=bool(errors))
    raise SystemExit(1 if errors else 0)
