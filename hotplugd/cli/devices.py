"""hotplugd devices"""

from __future__ import annotations

import os
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hotplugd.app.device_status import DeviceStatus, device_statuses
from hotplugd.app.selection import Selection
from hotplugd.cli.common import ask_daemon, in_force, kept, print_json, say, table, with_config, with_json
from hotplugd.cli.filters import with_filters
from hotplugd.model.text import counted, natural, quoted
from hotplugd.model.values import Device
from hotplugd.plan.guard_rails import is_hub
from hotplugd.rules.keys import MatchKey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hotplugd.app.documents import StatusJson
    from hotplugd.rules.ruleset import Rule

_DATABASE = "/run/udev/data"


@click.command()
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="Also virtual devices, such as consoles and loops, and PCI devices, that no rule takes.",
)
@with_filters
@with_config
@with_json
def command(
    config: Path,
    *,
    everything: bool,
    selection: Selection,
    as_json: bool,
) -> None:
    """List the devices that rules can see, the rule that takes each, and the values that rules can match on.

    Under `instance` is where each is, as the running daemon says; in brackets, where it should be and is not,
    or the pool that it is of; and `by hand` where somebody decided that. With --unmatched hubs are left out,
    unless --all is given.
    --json also has udev's properties, the sysfs attributes that rules ask for, and the devices above.
    """
    from hotplugd.app.device_documents import device_json
    from hotplugd.host.list_once import listed

    found, _ = in_force(config)
    status = ask_daemon(found.config.control)
    there, unprocessed = listed(found.rules.attrs)
    statuses = device_statuses(
        found.rules,
        sorted(there, key=lambda device: natural(device.syspath)),
        _has(status),
        kept(found.config.state).overrides,
    )
    wrong = _wrong(status)
    chosen = [
        each
        for each in statuses
        if selection.has_rule(each.rule_name)
        and (selection.instance is None or any(map(_has_name(selection), (*each.instances, *each.missing))))
        and selection.has_location(found.rules.hubs.location(each.device))
        and (not selection.unmatched or (each.rule is None and (everything or not is_hub(each.device))))
        and (not selection.problems or str(each.device) in wrong)
    ]
    shown = [each for each in chosen if everything or each.is_listed]
    if as_json:
        print_json(
            [device_json(each.device, each.rule, found.rules.keys, each, each.override) for each in shown]
        )
        return
    if shown:
        head, *rows = columns(((each.device, each.rule) for each in shown), found.rules.keys)
        where = ["instance", *(_where(each) for each in shown)]
        table(*_with_column(head, rows, where))
    if not chosen and not selection.is_all:
        say(_why_none(selection.rule, [each.name for each in found.rules.rules]))
    if len(chosen) > len(shown):
        hidden = counted(len(chosen) - len(shown), "virtual or PCI device")
        say(f"not shown: {hidden}; --all shows them too")
    _tell_unprocessed(unprocessed)


def _has_name(selection: Selection) -> Callable[[str], bool]:
    """Whether an instance, as `name` or `project/name`, is selected."""

    def has(name: str) -> bool:
        project, _, last = name.rpartition("/")
        return selection.has_instance(last, project or "default")

    return has


def _why_none(rule: str | None, rules: list[str]) -> str:
    """The message that no device is selected. rule: whose devices were asked for"""
    if rule is None or any(fnmatchcase(each, rule) for each in rules):
        return "no such device is there"
    close = get_close_matches(rule, rules, 1)
    hint = f"; did you mean '{close[0]}'?" if close else "; `hotplugd status --rules` lists them"
    return f"no rule is called '{quoted(rule)}'{hint}"


def columns(devices: Iterable[tuple[Device, Rule | None]], keys: Iterable[MatchKey]) -> list[list[str]]:
    """The head and the rows of the table: each device with its rule, and its values of keys with a column."""
    own = [key for key in keys if key.column]
    rows = [["device", "rule", *(key.name for key in own)]]
    for device, rule in devices:
        values = (key.values(device)[: None if key.listed else 1] for key in own)
        rows.append([str(device), rule.name if rule is not None else "", *map(" ".join, values)])
    return rows


def _with_column(
    head: list[str], rows: list[list[str]], column: list[str]
) -> tuple[list[str], list[list[str]]]:
    """The table with one more column, after the rule's."""
    name, *cells = column
    more = [[*row[:2], cell, *row[2:]] for row, cell in zip(rows, cells, strict=True)]
    return [*head[:2], name, *head[2:]], more


def _where(status: DeviceStatus) -> str:
    hand = ("by hand" if status.override.attaches else "detached by hand",) if status.override else ()
    attach = status.rule.attach if status.rule is not None else None
    if attach is not None and attach.pool and not (status.instances or hand):
        return f"(pool {attach.pool})"
    return " ".join((*status.instances, *(f"({each})" for each in status.missing), *hand))


def _has(status: StatusJson | None) -> dict[str, list[str]]:
    """The instances that have a device, by its name."""
    found: dict[str, list[str]] = {}
    for each in status["attachments"] if status is not None else ():
        project = "" if each["project"] == "default" else f"{each['project']}/"
        found.setdefault(each["device"], []).append(f"{project}{each['instance']}")
    return found


def _wrong(status: StatusJson | None) -> set[str]:
    """The names of the devices that something is wrong with, and of those of pools that nobody has."""
    if status is None:
        return set()
    return {each["device"] for each in (*status["problems"], *status["unleased"])}


def _tell_unprocessed(unprocessed: Iterable[Device]) -> None:
    """Say that there are devices of which nothing is known; udevd keeps nothing of most PCI devices."""
    count = sum(each.subsystem != "pci" for each in unprocessed)
    if not os.path.isdir(_DATABASE):
        say(
            f"udev's database ({_DATABASE}) is missing, so nothing is known of {counted(count, 'device')}: "
            f"does systemd-udevd run?",
            "yellow",
        )
    elif count:
        say(
            f"not shown: {counted(count, 'device')} that udevd has not processed; `udevadm trigger` asks for "
            f"them, `systemctl status systemd-udevd` says whether it runs",
            "yellow",
        )
