"""hotplugd devices"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hotplugd.cli.common import print_json, say, settings, table, with_config, with_json
from hotplugd.model.values import Device

if TYPE_CHECKING:
    from hotplugd.rules.ruleset import Rule, RuleSet

_COLUMNS = ("subsystem", "kernel", "driver", "id", "serial", "port", "path", "interface", "mac")


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
    from hotplugd.rules.keys import describe

    rules = settings(config).rules
    found = sorted(listed(rules.attrs)[0], key=lambda each: each.syspath)
    shown = [each for each in found if everything or not _is_many(each)]
    if as_json:
        print_json([device_json(each, _rule(rules, each)) for each in shown])
        return
    rows = []
    for each in shown:
        values = describe(each)
        rule = _rule(rules, each)
        taken = rule.name if rule is not None else ""
        values["path"] = values.get("path", [])[:1]
        rows.append([str(each), taken, *(" ".join(values.get(key, ())) for key in _COLUMNS)])
    if rows:
        table(("device", "rule", *_COLUMNS), rows)
    if len(found) > len(shown):
        say(f"{len(found) - len(shown)} virtual and PCI devices are not shown; --all shows them")


def _rule(rules: RuleSet, device: Device) -> Rule | None:
    taken = rules.decide(device)
    return taken.rule if taken is not None else None


def _is_many(device: Device) -> bool:
    """Whether it is of a kind that every host has dozens of."""
    return device.subsystem == "pci" or device.syspath.startswith("/sys/devices/virtual/")
