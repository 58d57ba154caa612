"""hotplugd test"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hotplugd.app import settings as configuration
from hotplugd.cli.common import patiently, print_json, say, show, with_config, with_json
from hotplugd.model.text import counted
from hotplugd.rulefile.cases import failure, parse_cases
from hotplugd.rulefile.diagnostics import Diagnostic
from hotplugd.rulefile.discover import not_utf8, read
from hotplugd.rulefile.load import load

if TYPE_CHECKING:
    from hotplugd.app.command_json import TestsJson
    from hotplugd.rulefile.cases import Case
    from hotplugd.rules.hubs import Hubs


@click.command()
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path, readable=False), metavar="FILE..."
)
@click.option(
    "--rules",
    multiple=True,
    type=click.Path(path_type=Path, readable=False),
    metavar="PATH",
    help="Rules to test in place of the configuration's; may be given several times.",
)
@with_config
@with_json
def command(files: tuple[Path, ...], rules: tuple[Path, ...], config: Path, *, as_json: bool) -> None:
    """Test rules: devices that are made up, and where they must go.

    FILE is YAML: a list `tests`, each with a `name`, a `device` of match keys and values, and `to`
    (instances), `pool`, `nowhere: true`, `rule` or `path`. Needs no daemon, no server and no device. Exit
    code 0 if all tests pass, 1 if one fails or files have errors.
    """
    found, wrong = configuration.Config(), tuple[Diagnostic, ...]()
    if not rules:
        found, wrong = patiently(partial(configuration.load, config))
    loaded = patiently(partial(load, rules or found.rules, {}))
    told = [*wrong, *configuration.traced(found, loaded.errors)]
    cases: list[Case] = []
    # What the hubs of broken rules are called is not known.
    for file in files if not told else ():
        some, complaints = _read(file, loaded.rules.hubs)
        cases += some
        told += complaints
    failed = [] if told else [each for case in cases if (each := failure(case, loaded.rules)) is not None]
    told += failed
    if as_json:
        document: TestsJson = {
            "tests": [{"name": case.name, "file": case.source.file} for case in cases],
            "diagnostics": [each.as_json() for each in told],
        }
        print_json(document)
    else:
        show(told)
        if not told:
            say(f"{counted(len(cases), 'test')}, all passed", "green")
        elif failed:
            click.echo(f"{len(failed)} of {counted(len(cases), 'test')} failed", err=True)
    raise SystemExit(1 if told else 0)


def _read(file: Path, hubs: Hubs) -> tuple[list[Case], tuple[Diagnostic, ...]]:
    raw = read(file)
    if isinstance(raw, Diagnostic):
        return [], (raw,)
    try:
        return parse_cases(raw.decode("utf-8"), str(file), hubs)
    except UnicodeDecodeError as error:
        return [], (not_utf8(raw, str(file), error),)
