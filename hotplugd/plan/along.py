"""What of a rule's `with` takes nothing along. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from hotplugd.model.text import printable
from hotplugd.model.values import Device
from hotplugd.rules.match import unmet
from hotplugd.rules.ruleset import Rule


def takes_nothing(rule: Rule, device: Device, devices: Iterable[Device]) -> list[str]:
    """Why items of `with` take nothing along: no device below one that the rule takes meets them.

    devices  all that there are
    """
    if rule.attach is None or not rule.attach.companions or unmet(rule.match, device) is not None:
        return []
    below = [each for each in devices if each.syspath.startswith(f"{device.syspath}/")]
    return [
        f"nothing below {device} meets `with: {{{printable(str(companion.match))}}}` of rule '{rule.name}': "
        f"a device that does not hang from it, such as a cable beside a phone, has a rule of its own"
        for companion in rule.attach.companions
        if not any(unmet(companion.match, each) is None for each in below)
    ]
