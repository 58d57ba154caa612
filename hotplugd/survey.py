"""Everything as it is now, once, and the plan for it: what `plan` and `explain` show.

The plan is the daemon's own (`plan.plan_instance`), made from the same three inputs; nothing is changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from hotplugd.address import find_server
from hotplugd.claims import Claims, withheld
from hotplugd.config import ROOTS
from hotplugd.entry import is_ours, is_path, name_for, slot_of
from hotplugd.inspector import Inspector
from hotplugd.lxd import Lxd
from hotplugd.memory import recall
from hotplugd.model import Device, Inside, Instance, InstanceName
from hotplugd.opener import Opener
from hotplugd.plan import Attachment, Change, Plan, plan_instance
from hotplugd.rules import RuleSet
from hotplugd.server import ServerError
from hotplugd.threads import Threads
from hotplugd.udev import restored
from hotplugd.wants import Problem, Want, Wants, wants


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of one device."""

    wants: Wants
    attachments: tuple[Attachment, ...]
    changes: tuple[Change, ...]
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Survey:
    """What should be, and what there is.

    wants   of each device that a rule takes, by syspath
    away    the devices that are in an instance, and not on the host therefore
    plans   of each instance that wants something, or has something of ours
    """

    wants: Mapping[str, Wants]
    plans: Mapping[InstanceName, Plan] = field(default_factory=dict)
    away: Sequence[Device] = ()

    def problems(self) -> list[Problem]:
        """Everything that a rule asks for and that cannot be."""
        found = [each for wanted in self.wants.values() for each in wanted.problems if not each.guard]
        told = [each for _, plan in sorted(self.plans.items()) for each in plan.problems]
        found += [each for each in told if not each.guard]
        return list(dict.fromkeys(found))

    def of(self, device: Device) -> Fate:
        """What becomes of one device; here guard rails speak too."""
        wanted = self.wants.get(device.syspath, Wants(device))
        plans = [plan for _, plan in sorted(self.plans.items())]
        entries = {name_for(device.slot), *(name_for(each.slot) for each in wanted.wants)}
        return Fate(
            wanted,
            tuple(each for plan in plans for each in plan.attachments if each.entry.name in entries),
            tuple(each for plan in plans for each in plan.changes if each.entry.name in entries),
            (
                *wanted.problems,
                *(each for plan in plans for each in plan.problems if each.device == str(device)),
            ),
        )


def survey(
    rules: RuleSet,
    devices: Sequence[Device],
    unsettled: Sequence[Device],
    server: str,
    environment: Mapping[str, str],
) -> Survey:
    """What becomes of these devices, of which udevd has not processed the `unsettled`.

    server is the configuration's. Raises ServerError where it is away.
    """
    instances, insides, away = asyncio.run(_look(rules, devices, find_server(server, environment)))
    devices = (*devices, *away)
    wanted = survey_devices(rules, devices).wants
    claims = Claims()
    for name, instance in instances.items():
        claims.learned(name, instance)
    wanted = {
        syspath: each if _is_attached(each, instances) else withheld(each, claims)
        for syspath, each in wanted.items()
    }
    mine = _by_instance(wanted)
    present = {device.slot for device in devices}
    ours = {name for name, each in instances.items() if any(map(is_ours, each.entries.values()))}
    plans = {
        name: plan_instance(
            name, instances.get(name), mine.get(name, ()), insides.get(name), unsettled, present
        )
        for name in mine.keys() | ours
    }
    return Survey(wanted, plans, away)


def survey_devices(rules: RuleSet, devices: Sequence[Device]) -> Survey:
    """What should become of these devices, as far as that can be said without a server."""
    found = {device.syspath: wants(rules, device) for device in devices}
    return Survey({syspath: each for syspath, each in found.items() if each.rule is not None})


def _away(rules: RuleSet, devices: Iterable[Device], instances: Iterable[Instance]) -> list[Device]:
    present = {device.slot for device in devices}
    remembered = [
        recall(entry)
        for instance in instances
        if instance.running and instance.here
        for entry in instance.entries.values()
        if is_ours(entry) and entry.config.get("type") == "nic" and slot_of(entry) not in present
    ]
    found = [restored(rules.attrs, each) for each in remembered if each is not None]
    return [each for each in found if each is not None]


def _is_attached(wanted: Wants, instances: Mapping[InstanceName, Instance]) -> bool:
    return any(
        (instance := instances.get(each.instance)) is not None and name_for(each.slot) in instance.entries
        for each in wanted.wants
    )


def _by_instance(wanted: Mapping[str, Wants]) -> dict[InstanceName, list[Want]]:
    found: dict[InstanceName, list[Want]] = {}
    for each in wanted.values():
        for want in each.wants:
            found.setdefault(want.instance, []).append(want)
    return found


async def _look(
    rules: RuleSet, devices: Sequence[Device], address: str
) -> tuple[dict[InstanceName, Instance], dict[InstanceName, Inside], list[Device]]:
    """The instances, what is inside those that devices go to, and the devices that only instances have."""
    threads = Threads()
    lxd = Lxd(address, threads)
    await lxd.connect()
    instances = {each.id: each for each in await lxd.list()}
    away = _away(rules, devices, instances.values())
    wanted = survey_devices(rules, (*devices, *away)).wants
    inspector = Inspector(threads, Opener(threads, ROOTS), lxd.init, _nothing, _nothing)
    inspector.ask_for(rules.users, rules.groups)

    async def look(name: InstanceName, paths: list[str]) -> tuple[InstanceName, Inside]:
        try:
            return name, await inspector.look(name, paths)
        except ServerError as error:
            return name, Inside(error=str(error))

    try:
        looks = [
            look(name, sorted({want.place for want in each if is_path(want.place)}))
            for name, each in _by_instance(wanted).items()
            if (instance := instances.get(name)) is not None and instance.running and instance.here
        ]
        return instances, dict(await asyncio.gather(*looks)), away
    finally:
        inspector.close()


def _nothing(_: InstanceName) -> None: ...
