"""What of a rule's `with` takes nothing along, and what goes along without one. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from hotplugd.model.text import printable
from hotplugd.model.values import Device
from hotplugd.plan.desired import Wants
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


def goes_in_whole(device: Device, others: Iterable[Wants]) -> list[str]:
    """Where a device goes that no rule takes, and that is part of a GPU which goes in as a whole.

    others  where all devices go
    """
    if device.subsystem != "drm" or device.pci is None:
        return []
    return [
        f"it goes into {want.instance} all the same, with {want.device}: rule '{want.rule.name}' puts the "
        f"whole GPU in (`as: gpu`)"
        for each in others
        for want in each.wants
        if want.kind.name == "gpu" and want.device.pci is not None and want.device.pci == device.pci
    ]
