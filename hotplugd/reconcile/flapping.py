"""Devices that come and go all the time: holds them off, and reports those that a rule takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from structlog.typing import FilteringBoundLogger

from hotplugd.model.problem import Problem
from hotplugd.model.values import Device
from hotplugd.plan.about import ABOUT, Fields
from hotplugd.plan.desired import wants
from hotplugd.plan.identity import identity
from hotplugd.reconcile.hold_off import CALM, MOST, WINDOW, Hold, HoldOff, plug_of
from hotplugd.reconcile.holds import Held, Wait
from hotplugd.rules.ruleset import RuleSet

_MOST_PLACES: Final = 256


class Flapping:
    """What udev's adapter asks before it tells of a device; see `waiting.Gate`. Times are the event loop's.

    rules  those by which somebody is concerned
    most   see `HoldOff`
    """

    def __init__(self, log: FilteringBoundLogger, rules: Callable[[], RuleSet], most: int = MOST) -> None:
        self._log = log
        self._rules = rules
        self._holdoff = HoldOff(most)
        # The last device of each subsystem, at places that are held off or soon will be.
        self._seen: dict[str, dict[str, Device]] = {}
        # What was told of places that are held off; bounded as those are.
        self._told: dict[str, list[Fields]] = {}

    def heard(self, syspath: str, now: float, *, plugged: bool) -> float:
        """See `waiting.Gate`."""
        return self._holdoff.heard(syspath, now, plugged=plugged)

    def plugged(self, device: Device, now: float) -> float:
        """See `waiting.Gate`."""
        plug = plug_of(device)
        hold = self._holdoff.plugged(plug, now)
        if hold is None:
            self._over(plug.place)
        if hold is None and not self._holdoff.is_near(plug.place):
            return now
        if plug.place not in self._seen and len(self._seen) >= _MOST_PLACES:
            del self._seen[oldest := next(iter(self._seen))]
            self._told.pop(oldest, None)
        self._seen.setdefault(plug.place, {})[device.subsystem] = device
        if hold is None:
            return now
        self._over(plug.place)
        for each, rule in self._taken(hold):
            fields: Fields = {ABOUT: each, "rule": rule, "reason": _message(each, hold, now)}
            self._log.warning("device.problem", **fields)
            self._told.setdefault(plug.place, []).append(fields)
        return hold.until

    def gone(self, syspath: str) -> None:
        """A device is gone."""
        self._holdoff.gone(syspath)

    def tell_over(self, now: float) -> None:
        """Log the end of hold-offs, also for devices that do not come back."""
        if self._told:
            held = {hold.place for hold in self._holdoff.holds(now)}
            for place in [each for each in self._told if each not in held]:
                self._over(place)

    def problems(self, now: float) -> list[Problem]:
        """The problems of devices that rules would attach and that are held off."""
        return [problem for hold in self._holdoff.holds(now) for problem in self._problems(hold, now)]

    def held(self, now: float) -> list[Held]:
        """The devices that rules would attach and that are held off, and until when."""
        return [
            Held(str(device), rule, Wait(hold.until, _why(device, hold)), place=hold.place)
            for hold in self._holdoff.holds(now)
            for device, rule in self._taken(hold)
        ]

    def _over(self, place: str) -> None:
        for fields in self._told.pop(place, ()):
            self._log.info("problem.over", **fields)

    def _problems(self, hold: Hold, now: float) -> list[Problem]:
        return [Problem(str(device), rule, _message(device, hold, now)) for device, rule in self._taken(hold)]

    def _taken(self, hold: Hold) -> Iterator[tuple[Device, str]]:
        """The devices that are held off at a place, each with the name of the rule that would attach it."""
        for device in self._seen.get(hold.place, {}).values():
            rule = wants(self._rules(), device).rule
            if rule is not None and rule.attach is not None:
                yield device, rule.name


def _why(device: Device, hold: Hold) -> str:
    usb = device.usb
    place = hold.place if usb is None else f"port {usb.kernel}"
    return (
        f"{identity(usb or device)} at {place} was plugged in {hold.count} times within "
        f"{WINDOW / 60:.0f} minutes and while it is held off: a bad cable, too little power, or one that "
        f"starts again and again"
    )


def _message(device: Device, hold: Hold, now: float) -> str:
    until = datetime.now(UTC) + timedelta(seconds=hold.until - now)
    return (
        f"{_why(device, hold)}; it is held off until {CALM:.0f} s pass without another plug, at "
        f"{until:%H:%M:%S} UTC at the earliest; leave it in, or out, until then"
    )
