"""hotplugd check"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from hotplugd.app import settings as configuration
from hotplugd.cli.common import (
    NAMED,
    fail,
    located,
    names_of,
    patiently,
    print_json,
    say,
    show,
    with_config,
    with_json,
)
from hotplugd.host.sysfs import subsystems, usb_controllers, usb_hubs
from hotplugd.model.text import counted, plain, quoted
from hotplugd.rulefile.bus_numbers import usb3_halves
from hotplugd.rulefile.diagnostics import Diagnostic
from hotplugd.rulefile.discover import others_in, whole
from hotplugd.rulefile.load import load

if TYPE_CHECKING:
    from hotplugd.app.command_json import CheckDevicesJson, CheckJson
    from hotplugd.app.try_rules import TriedJson
    from hotplugd.rules.ruleset import RuleSet

_MOST: Final = 5


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path, readable=False), metavar="[PATH]...")
@click.option(
    "--devices",
    "record",
    type=click.Path(path_type=Path, readable=False),
    metavar="FILE",
    help="Also say what each device of a record would get, which `hotplugd record` writes.",
)
@click.option("--strict", is_flag=True, help="Take warnings for errors.")
@with_config
@with_json
def command(
    paths: tuple[Path, ...], record: Path | None, config: Path, *, strict: bool, as_json: bool
) -> None:
    """Check rule files and folders, or else the configuration, the rules that it names, and hooks.yaml beside
    it.

    Needs no daemon, no server and no root. Shows every error of every file at once. Exit code 1 if there
    are errors; warnings alone are fine, but with --strict. Warns of what can never match, can hardly match,
    or does what hardly anybody means; where this host has several USB controllers, of ports, and of hubs
    that are given by the path of their USB 3 half.
    """
    settings, wrong = configuration.Config(), tuple[Diagnostic, ...]()
    if not paths:
        settings, wrong = patiently(partial(configuration.load, config))
        wrong += _wrong_hooks(config)
        paths = settings.rules
    from hotplugd.host.device_reader import usb_devices

    controllers = usb_controllers()
    halves = usb3_halves(usb_hubs(), controllers)
    host = partial(load, subsystems=subsystems(), plugged=usb_devices())
    loaded = patiently(partial(host, paths, controllers, halves=halves))
    diagnostics = (*wrong, *configuration.traced(settings, loaded.diagnostics))
    if strict:
        diagnostics = tuple(replace(diagnostic, severity="error") for diagnostic in diagnostics)
    hubs, pools = loaded.rules.hubs.hubs, loaded.rules.pools
    told = diagnostics
    # A file may have hubs or pools alone.
    if not (loaded.rules.rules or hubs or pools) and not diagnostics:
        nothing = replace(_nothing_in(paths), severity="error" if strict else "warning")
        click.echo(f"{nothing.severity}: {nothing.message}", err=True)
        diagnostics = (nothing,)
    errors = sum(diagnostic.severity == "error" for diagnostic in diagnostics)
    devices = _tried(record, loaded.rules) if record is not None and not errors else []
    wrong_there = strict and any(device["problems"] for device in devices)
    if as_json:
        document: CheckJson = {
            "rules": [] if errors else [rule.name for rule in loaded.rules.rules],
            "hubs": [hub.name for hub in hubs],
            "pools": [*pools],
            "diagnostics": [diagnostic.as_json() for diagnostic in diagnostics],
        }
        with_devices: CheckDevicesJson = {**document, "devices": devices}
        print_json(with_devices if record is not None else document)
    else:
        show(told)
        _show_devices(devices)
        warnings = len(diagnostics) - errors
        counts = [counted(errors, "error")] if errors else []
        counts += [counted(warnings, "warning")] if warnings else []
        summary = ", ".join(counts) or "no errors"
        total = counted(len(loaded.rules.rules), "rule")
        if hubs:
            total += f", {counted(len(hubs), 'hub')}"
        if pools:
            total += f", {counted(len(pools), 'pool')}"
        click.echo(summary if errors else f"{total}, {summary}", err=bool(errors))
    raise SystemExit(1 if errors or wrong_there else 0)


def _wrong_hooks(config: Path) -> tuple[Diagnostic, ...]:
    """What is wrong with the hooks beside a configuration; nothing where there are none."""
    file = config.with_name(configuration.HOOKS)
    if not file.exists():
        return ()
    from hotplugd.hooks.settings import load as load_hooks

    return patiently(partial(load_hooks, file))[1]


def _tried(file: Path, rules: RuleSet) -> list[TriedJson]:
    """What each device of a record would get by the rules. Ends the command where it is none."""
    from hotplugd.app.record import NoRecord, recorded
    from hotplugd.app.try_rules import tried

    try:
        return tried(rules, recorded(file.read_text("utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise fail(f"{file} cannot be read: {why}") from None
    except NoRecord as error:
        raise fail(f"{file} is no record of devices: {error}") from None


def _show_devices(devices: Sequence[TriedJson]) -> None:
    """Print what a rule takes, and what is wrong with it."""
    taken = [device for device in devices if device["rule"] is not None]
    rows = [
        [
            each["device"],
            *names_of(each),
            each["rule"] or "",
            _where(each),
            " ".join(place["path"] for place in each["places"]),
        ]
        for each in taken
    ]
    if rows:
        located(("device", *NAMED, "rule", "goes to", "path"), rows, taken)
    for each in taken:
        for problem in each["problems"]:
            say(
                f"problem: {plain(each['device'])}, rule {plain(each['rule'] or '')}: {plain(problem)}", "red"
            )
    if devices:
        say(f"no rule takes {len(devices) - len(taken)} of {counted(len(devices), 'device')}")


def _where(device: TriedJson) -> str:
    if device["ignored"]:
        return "ignored"
    pool = f"(pool {device['pool']})" if device["pool"] else "-"
    return " ".join(place["instance"] for place in device["places"]) or pool


def _nothing_in(paths: Sequence[Path]) -> Diagnostic:
    """The warning that there is no rule, and which files were skipped for their names."""
    ignored = [each.name for path in paths for each in others_in(path)]
    where = plain(", ".join(map(str, paths)))
    if not ignored:
        return whole(where, f"no rules in {where}")
    shown = ", ".join(map(quoted, ignored[:_MOST])) + (", …" if len(ignored) > _MOST else "")
    return whole(where, f"no *.yaml or *.yml with rules in {where}; ignored: {shown}")
