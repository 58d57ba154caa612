"""Whether where a USB device should go is known before udevd has processed it. Pure.

What is decided then is what is decided afterwards, and what is sent to the server is the same. So whatever
may depend on what udevd says waits for it, as all other devices do.
"""

from __future__ import annotations

from hotplugd.model.problem import Problem
from hotplugd.model.values import Device
from hotplugd.plan.desired import Wants
from hotplugd.plan.kinds.kind import Want
from hotplugd.plan.overrides import Overrides
from hotplugd.plan.ownership import Owners
from hotplugd.rules.early import early_decision, renders_early
from hotplugd.rules.ruleset import Attach, RuleSet


def decided(rules: RuleSet, device: Device, overrides: Overrides, owners: Owners) -> Attach | None:
    """What a rule says of where it puts the device, if nothing that udevd says can change that; else None.

    Who has a device of a pool is not asked here.

    device     as it is before udevd has processed it
    overrides  what people decided by hand: about a place they go by udev's name of it
    owners     whom devices belong to by others' entries
    """
    taken = early_decision(rules, device)
    if taken is None or (attach := taken.rule.attach) is None:
        return None
    # Without `mode` the server takes the mode of the host's node, which udevd has yet to set.
    if attach.mode is None or not renders_early(attach, device, taken.rule.keys):
        return None
    is_known = all(each.of.is_unique for each in overrides) and not owners.may_go_by_udev
    return attach if is_known else None


def differs(before: Wants, now: Wants) -> Problem | None:
    """What to say where a device goes elsewhere than was decided before udevd had processed it.

    That the host has come to use it, or that somebody else's entry takes it, is said by others.
    """
    is_first = before.device.early and not now.device.early and before.device.slot == now.device.slot
    if not is_first or not before.wants or (not now.wants and now.problems):
        return None
    if [*map(_place, before.wants)] == [*map(_place, now.wants)]:
        return None
    rule = before.rule.name if before.rule is not None else ""
    where = ", ".join(str(want.instance) for want in before.wants)
    message = (
        f"it was put into {where} before udevd had processed it, and by what udevd says it goes elsewhere: "
        f"it is taken out; please report this, with the output of `hotplugd report`"
    )
    return Problem(str(now.device), rule, message)


def _place(want: Want) -> tuple[object, ...]:
    """What an entry is made of."""
    return want.instance, want.kind.name, want.target, want.slot, want.attach, want.rule.name
