"""Where each of several devices is, and where it should be and is not. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hotplugd.model.values import Device
from hotplugd.plan.desired import wants
from hotplugd.plan.overrides import NONE, Override, Overrides
from hotplugd.rules.ruleset import Rule, RuleSet


@dataclass(frozen=True, slots=True)
class DeviceStatus:
    """One device: the rule that takes it, what somebody decided by hand instead, the instances that have it,
    and those that should and do not.
    """

    device: Device
    rule: Rule | None
    instances: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    override: Override | None = None

    @property
    def rule_name(self) -> str | None:
        """The rule's name."""
        return self.rule.name if self.rule is not None else None

    @property
    def is_listed(self) -> bool:
        """Whether it is listed where not all are asked for: every host has dozens of virtual and PCI
        devices.
        """
        device = self.device
        return self.rule is not None or not (
            device.subsystem == "pci" or device.syspath.startswith("/sys/devices/virtual/")
        )


def device_statuses(
    rules: RuleSet,
    devices: Iterable[Device],
    has: Mapping[str, Sequence[str]],
    overrides: Overrides = NONE,
) -> list[DeviceStatus]:
    """What there is to say of each device.

    has  the instances that have a device, by what it is called; none of any where nobody knows
    """
    found = []
    for device in devices:
        wanted = wants(rules, device, overrides)
        there = tuple(has.get(str(device), ()))
        missing = tuple(
            name for name in dict.fromkeys(str(want.instance) for want in wanted.wants) if name not in there
        )
        found.append(DeviceStatus(device, wanted.rule, there, missing, wanted.override))
    return found
