"""Tells of devices that come and go, and of those that no rule takes, as events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from structlog.typing import FilteringBoundLogger

from hotplugd.model.problem import Problem
from hotplugd.model.values import Device
from hotplugd.plan.about import ABOUT, Fields, is_worth_telling
from hotplugd.plan.desired import Wants
from hotplugd.plan.guard_rails import is_hub
from hotplugd.rules.ruleset import Rule

Cause = Literal[
    "plug",
    "listing",
    "start",
    "reload",
    "host",
    "others",
    "instance",
    "by hand",
    "asked",
    "inside",
    "lease",
]
"""What made hotplugd do something.

plug      a device came, went or changed
listing   all devices or instances were listed: an event about it was lost, or never came
start     hotplugd was started
reload    the rules are other ones
host      the host began or ended to use the device
others    an entry that is not ours, in any instance, came or went
instance  the instance was made, started or deleted, or moved here
by hand   somebody changed an entry of ours
asked     somebody asked for it: attach, detach, undo
inside    the node inside was missing, or another's
lease     a lease of a device of a pool began, or is over
"""


@dataclass(frozen=True, slots=True)
class _Told:
    """A device that was told of, and the rule that takes it; None: none does, which was told."""

    device: Device
    rule: str | None


class DeviceLog:
    """Which devices were told of. cause: why a device is looked at now."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        self.cause: Cause = "plug"
        self._log = log
        self._told: dict[str, _Told] = {}

    @contextmanager
    def because(self, cause: Cause) -> Iterator[None]:
        """Meanwhile devices are told of for this reason, and not since somebody plugged or pulled them."""
        before, self.cause = self.cause, cause
        try:
            yield
        finally:
            self.cause = before

    def judged(self, device: Device, rule: Rule | None, was: str = "") -> None:
        """The device is there, and this rule takes it.

        was  what it was known by before, if by something else
        """
        key = device.key
        told = self._told.pop(was or key, None)
        if told is not None and told.device.slot != device.slot:
            self._gone(told)
            told = None
        name = rule.name if rule is not None else None
        if told is None:
            attaches = rule is not None and rule.attach is not None
            if not attaches and not is_worth_telling(device):
                self._log.debug(
                    "device.other", device=str(device), subsystem=device.subsystem, cause=self.cause
                )
                return
            self._log.info("device.seen", **_fields(device, name), cause=self.cause)
        if rule is None and (told is None or told.rule is not None) and not is_hub(device):
            self._log.info("device.unmatched", **_fields(device, None), cause=self.cause)
        self._told[key] = _Told(device, name)

    def gone(self, device: Device, was: str = "") -> None:
        """The device is not there any more."""
        if (told := self._told.pop(was or device.key, None)) is not None:
            self._gone(told)

    def problems(self, before: Wants | None, now: Wants) -> None:
        """Log the problems of a device that are new, and those that are over. before: as it was until now"""
        known = before.problems if before is not None else ()
        for problem in _new(now.problems, known):
            fields = _fields(now.device, problem.rule)
            self._log.warning("device.problem", **fields, reason=problem.message)
        if before is not None:
            for problem in _new(known, now.problems):
                fields = _fields(before.device, problem.rule)
                self._log.info("problem.over", **fields, reason=problem.message)

    def _gone(self, told: _Told) -> None:
        self._log.info("device.gone", **_fields(told.device, told.rule), cause=self.cause)


def _new(problems: Iterable[Problem], before: Iterable[Problem]) -> list[Problem]:
    """The new problems that somebody has to act on."""
    return [each for each in problems if not each.guard and each not in before]


def _fields(device: Device, rule: str | None) -> Fields:
    found: Fields = {ABOUT: device}
    if rule is not None:
        found["rule"] = rule
    return found
