"""Where one device should go, by the rules and what people decided by hand, and what is in the way. Pure.

    RuleSet x Overrides x Device -> Wants     `wants`

The same function serves the daemon, `hotplugd plan`, `hotplugd explain` and the tests. What becomes of it in
an instance is `plan`'s business.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from hotplugd.model.lease import Lease
from hotplugd.model.names import is_instance_name, is_reserved_path
from hotplugd.model.problem import Problem
from hotplugd.model.text import quoted
from hotplugd.model.values import Device, InstanceName
from hotplugd.plan.guard_rails import guard_rail, is_hub, why_on_host
from hotplugd.plan.kinds.kind import Want
from hotplugd.plan.kinds.registry import kind_for
from hotplugd.plan.overrides import NONE, Override, Overrides, overridden
from hotplugd.rules.keys import MatchKey
from hotplugd.rules.ruleset import Attach, Decision, Rule, RuleSet
from hotplugd.rules.template import TemplateError, render
from hotplugd.rules.udev_links import FOLDERS, is_udev_link, udev_links


@dataclass(frozen=True, slots=True)
class Wants:
    """Where a device should go, by the rule that takes it (None: no rule does), and what is in the way.

    anchor  the device above that it goes along with, where the rule is about that one
    kept    where it would go if the host did not use it; some of that may be so already
    override  what somebody decided by hand instead, if anybody did
    unfit   why it can be in no instance; empty where a device of a pool waits for nothing but a lease
    """

    device: Device
    rule: Rule | None = None
    wants: tuple[Want, ...] = ()
    problems: tuple[Problem, ...] = ()
    anchor: Device | None = None
    kept: tuple[Want, ...] = ()
    override: Override | None = None
    unfit: str = ""


Holder = Callable[[Device], Lease | None]
"""Who has the device that a pool's rule is about."""


def nobody(_: Device) -> Lease | None:
    """A holder for when no instances are known: nobody has a device of a pool."""
    return None


def judged(
    rules: RuleSet,
    device: Device,
    has: Callable[[Want], bool],
    overrides: Overrides = NONE,
    *,
    holder: Holder = nobody,
) -> Wants:
    """As `wants`, but that what the host came to use while an instance has it stays there, and that is said.

    has     whether the instance runs and has the device by an entry of ours
    holder  who has a device of a pool
    """
    decided = wants(rules, device, overrides, holder=holder)
    if decided.wants or not decided.problems or decided.rule is None or not guard_rail(device):
        return decided
    unused = wants(rules, device, overrides, holder=holder, used=True)
    there = tuple(want for want in unused.wants if has(want))
    if not there:
        return replace(decided, kept=unused.wants)
    names = ", ".join(str(want.instance) for want in there)
    message = (
        f"{guard_rail(device)}, and it is in {names}, where it stays: end the host's use, or stop {names}"
    )
    problems = (Problem(str(device), decided.rule.name, message), *unused.problems)
    return replace(unused, device=device, wants=there, problems=problems, kept=unused.wants, unfit=message)


def wants(
    rules: RuleSet,
    device: Device,
    overrides: Overrides = NONE,
    *,
    holder: Holder = nobody,
    used: bool = False,
) -> Wants:
    """Where `device` should go by what somebody decided by hand, or else by the first rule that matches, and
    what that asks and cannot have.

    holder  who has a device of a pool
    used    whether it does not matter that the host uses it
    """
    if used:
        device = replace(device, in_use="")
    taken = rules.decide(device)
    anchor = taken.anchor if taken is not None else None
    override = overrides.decided(device, anchor) if overrides.by_device else None
    chosen = overridden(taken, override, rules.keys) if override is not None else taken
    if chosen is None or chosen.rule.attach is None:
        rule = taken.rule if taken is not None else None
        return Wants(device, rule, anchor=anchor, override=override)
    return _wants(rules, device, chosen, chosen.rule.attach, override, holder)


def _wants(
    rules: RuleSet,
    device: Device,
    taken: Decision,
    attach: Attach,
    override: Override | None,
    holder: Holder,
) -> Wants:
    """As `wants`, by what takes the device and its `attach`."""
    rule, anchor = taken.rule, taken.anchor
    if taken.companion is not None:
        attach = replace(
            attach, path=taken.companion.path, links=taken.companion.links, kind=None, name=None, ready=None
        )

    def problem(message: str, *, guard: bool = False) -> Wants:
        problems = (Problem(str(device), rule.name, message, guard),)
        return Wants(device, rule, (), problems, anchor, override=override, unfit=message)

    if not attach.force and (why := why_on_host(device, anchor)):
        way = "`force: true` in the rule attaches it all the same"
        if override is not None:
            way = "nobody can attach it by hand"
        return problem(f"{why}; {way}", guard=is_hub(device))
    if attach.companions and anchor is None and attach.kind is None and device.devnum is None:
        # The rule is about what is below it: a capture card's nodes, a tape drive's.
        return Wants(device, rule, override=override)
    kind = kind_for(device, attach.kind, parted=rules.parts_gpus)
    try:
        path = render(attach.path, device, rule.keys) if attach.path and kind.has_path else ""
        if attach.name is not None:
            attach = replace(attach, name=render(attach.name, device, rule.keys))
        links, unfit = _links(attach.links, device, rule.keys)
        # What goes along goes where the device goes that the rule is about.
        names = list(dict.fromkeys([render(to, anchor or device, rule.keys) for to in attach.to]))
    except TemplateError as error:
        return problem(str(error))
    target = kind.target(device, attach, path)
    links, slot = tuple(dict.fromkeys((*kind.links(device, attach), *links))), kind.slot(device)
    wrong = kind.wrong(device, attach, target, several=len(names) > 1)
    if message := wrong or (_bad_links(links, target) if links else ""):
        return problem(message)
    problems = [
        Problem(str(device), rule.name, f"udev's link '{quoted(link)}' is no name for a link; left out")
        for link in unfit
    ]
    problems += [
        Problem(
            str(device),
            rule.name,
            f"'{quoted(name)}' is no legal instance name "
            f"(1 to 63 letters, digits and dashes, a letter first and no dash last)",
        )
        for name in names
        if not is_instance_name(name)
    ]
    in_instances = [
        Want(device, rule, attach, InstanceName(attach.project, name), kind, target, slot, links, override)
        for name in names
        if is_instance_name(name)
    ]
    if attach.pool and (lease := holder(anchor or device)) is not None:
        want = Want(device, rule, attach, lease.instance, kind, target, slot, links)
        in_instances = [replace(want, claim=lease.claim, unit=lease.unit if anchor is None else "")]
    return Wants(device, rule, tuple(in_instances), tuple(problems), anchor, override=override)


def _links(
    links: Sequence[str], device: Device, keys: Sequence[MatchKey]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The links that a rule asks for, and those of udev's that cannot be made. Raises TemplateError."""
    fit, unfit = dict[str, None](), dict[str, None]()
    for link in links:
        some, left = udev_links(device, link) if link in FOLDERS else ((render(link, device, keys),), ())
        fit.update(dict.fromkeys(some))
        unfit.update(dict.fromkeys(left))
    return tuple(fit), tuple(unfit)


_LINK: Final = re.compile(r"/dev(/[A-Za-z0-9_:+@,=.-]+)+", re.ASCII)


def _bad_links(links: Sequence[str], target: str) -> str:
    """What is wrong with the first link that cannot be there; empty where all can."""
    return next(filter(None, (_bad_link(link, target) for link in links)), "")


def _bad_link(link: str, target: str) -> str:
    is_legal = _LINK.fullmatch(link) and not any(part in (".", "..") for part in link.split("/"))
    if not is_legal and not is_udev_link(link):
        return f"link '{quoted(link)}' is not below /dev in letters, digits and _ : + @ , = . -"
    if link == target or link.startswith(target + "/"):
        return f"link '{link}' is where the node itself is; give another, or take it out"
    if is_reserved_path(link):
        return f"link '{link}' belongs to every container; give another"
    return ""
