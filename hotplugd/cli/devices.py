"""hotplugd devices"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hotplugd.cli.common import print_json, say, settings, table, with_config, with_json
from hotplugd.model.text import counted, natural
from hotplugd.model.values import Device
from hotplugd.rules.keys import KEYS, MatchKey

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hotplugd.rules.ruleset import Rule, RuleSet


@click.command()
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="Also virtual devices, such as consoles and loops, and PCI devices.",
)
@with_config
@with_json
def command(config: Path, *, everything: bool, as_json: bool) -> None:
    """List the devices that rules can see, the rule that takes each, and the values that rules can match on.

    --json also has udev's properties, the sysfs attributes that rules ask for, and the devices above.
    """
    from hotplugd.app.documents import device_json
    from hotplugd.host.present import listed

    rules = settings(config).rules
    devices = sorted(listed(rules.attrs)[0], key=lambda device: natural(device.syspath))
    shown = [device for device in devices if everything or not _is_many(device)]
    if as_json:
        print_json([device_json(device, _rule(rules, device)) for device in shown])
        return
    if shown:
        head, *rows = columns(((device, _rule(rules, device)) for device in shown), KEYS)
        table(head, rows)
    if len(devices) > len(shown):
        hidden = counted(len(devices) - len(shown), "virtual or PCI device")
        say(f"not shown: {hidden}; --all shows them too")


def columns(devices: Iterable[tuple[Device, Rule | None]], keys: Iterable[MatchKey]) -> list[list[str]]:
    """The head and the rows of the table: each device with its rule, and its values of keys with a column."""
    own = [key for key in keys if key.column]
    rows = [["device", "rule", *(key.name for key in own)]]
    for device, rule in devices:
        values = (key.values(device)[: None if key.listed else 1] for key in own)
        rows.append([str(device), rule.name if rule is not None else "", *map(" ".join, values)])
    return rows


def _rule(rules: RuleSet, device: Device) -> Rule | None:
    taken = rules.decide(device)
    return taken.rule if taken is not None else None


def _is_many(device: Device) -> bool:
    """Whether it is of a kind that every host has dozens of."""
    return device.subsystem == "pci" or device.syspath.startswith("/sys/devices/virtual/")
