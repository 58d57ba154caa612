"""The device that somebody means on the command line."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from hotplugd.app.find import absent, each_of, named, not_processed, rule_for, several, without_device
from hotplugd.cli.absent import last_known
from hotplugd.cli.common import fail
from hotplugd.host.sysfs import number_without_device
from hotplugd.model.text import quoted
from hotplugd.model.values import Device

if TYPE_CHECKING:
    from hotplugd.app.in_force import Settings


def find(name: str, devices: Iterable[Device], unprocessed: Iterable[Device], by: Settings) -> Device:
    """The device that is meant by a node or a link to one, a path in sysfs, the kernel's name, a serial
    number, an identity or a location.

    by  the settings in force, by which it may be known what is not there

    Ends the command where it is none, several, or one that udevd has not processed.
    """
    real = os.path.realpath(name) if name.startswith("/") else name
    waiting = list(unprocessed)
    found = named(name, (*devices, *waiting), real, by.rules.hubs)
    if not found:
        if not (known := last_known(name, by)):
            number = number_without_device(name) if name.startswith("/") else ""
            raise fail(without_device(name, number) if number else absent(name, by.rules))
        more = [rule] if (rule := rule_for(name, by.rules)) else []
        more.append(
            f"`hotplugd history {quoted(name)}` says more; `hotplugd devices --all` lists what is there"
        )
        raise fail(f"no device {quoted(name)}: it is {known}", more=more)
    if len(found) > 1:
        raise fail(several(name, len(found)), more=each_of(found))
    if found[0] in waiting:
        raise fail(not_processed(found[0]))
    return found[0]
