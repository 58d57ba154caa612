"""What the daemon answers about devices: all of them, the tree of USB, and what becomes of one.

The work grows with the devices, so that a thread does it, with values that do not change; one answer is made
at a time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, TypeVar

from hotplugd.aio.threads import NoThread, Threads
from hotplugd.app.control_request import ControlRequest, Handler, Unavailable
from hotplugd.app.device_documents import (
    ExplainJson,
    concerns,
    device_json,
    explain_json,
    holds_up,
    inside_json,
    waiting_claims,
)
from hotplugd.app.device_request import see_short
from hotplugd.app.device_status import device_statuses
from hotplugd.app.documents import problem_json
from hotplugd.app.endpoints import DEVICES, EXPLAIN, TOPOLOGY, Endpoint
from hotplugd.app.find import each_of, missing, named, several
from hotplugd.app.host_drivers import held_by_drivers
from hotplugd.app.naming import by_name
from hotplugd.app.pool_documents import lease_json
from hotplugd.app.session import Session
from hotplugd.app.snapshot import Fate
from hotplugd.app.status_answers import holds
from hotplugd.app.topology import ATTRS, TopologyJson, topology
from hotplugd.app.with_hints import goes_in_whole, takes_nothing
from hotplugd.host import sysfs
from hotplugd.host.usb_interfaces import interfaces
from hotplugd.host.usb_ports import UsbPort, ports_of
from hotplugd.model.problem import Problem
from hotplugd.model.text import natural
from hotplugd.model.values import Device
from hotplugd.plan.desired import Wants
from hotplugd.plan.overrides import Overrides
from hotplugd.rules.hubs import NO_HUBS, Hubs
from hotplugd.rules.ruleset import RuleSet

T = TypeVar("T")

# Seconds to wait for a turn and for the answer.
_PATIENCE: Final = 20.0
# Characters of a list of devices; ten thousand devices have a quarter of it.
_LONGEST: Final = 64 << 20


class DeviceAnswers:
    """Answers by a session with the server. session: gives it where there is one; overrides: what people
    decided by hand
    """

    def __init__(self, session: Callable[[], Session | None], overrides: Callable[[], Overrides]) -> None:
        self._session = session
        self._overrides = overrides
        self._threads = Threads(1)

    @property
    def handlers(self) -> Mapping[Endpoint, Handler]:
        """What people can ask for on the control socket."""
        return {DEVICES: self.devices, TOPOLOGY: self.topology, EXPLAIN: self.explain}

    async def devices(self, asked: ControlRequest) -> str:
        """`DevicesJson` as text. Raises ValueError and Unavailable."""
        everything = _is_set(asked.query.get("all", ""))
        session = self._session()
        if session is None:
            return _devices(RuleSet(), (), {}, self._overrides(), everything=everything)
        has: dict[str, list[str]] = {}
        for each in session.reconciler.attachments():
            has.setdefault(str(each.want.device), []).append(str(each.want.instance))
        found = tuple(session.reconciler.inventory.devices.values())
        work = partial(_devices, session.rules, found, has, self._overrides(), everything=everything)
        return await self._call(work)

    async def topology(self, _: ControlRequest) -> TopologyJson:
        """The tree of USB. Raises Unavailable."""
        session = self._session()
        if session is None:
            away = problem_json(Problem("", "", "the daemon has found no server yet; `status` says why"))
            return topology((), {}, NO_HUBS, {}, [away])
        known = session.reconciler
        held: dict[str, list[str]] = {}
        names = sorted(
            {
                (each.want.instance, usb.syspath)
                for each in known.attachments()
                if (usb := each.want.device.usb)
            },
            key=lambda each: each[0].order,
        )
        for name, syspath in names:
            held.setdefault(syspath, []).append(f"{name.project}/{name.name}")
        every = (*known.inventory.devices.values(), *known.inventory.unprocessed.values())
        tree = [each for each in every if each.is_usb_device]
        return await self._call(partial(_topology, tree, session.rules.hubs, held))

    async def explain(self, asked: ControlRequest) -> ExplainJson:
        """What becomes of one device, and why. Raises ValueError and Unavailable."""
        name, session = asked.query.get("device", ""), self._session()
        real = asked.query.get("real", "") or name
        see_short(name, real)
        if not name:
            raise ValueError("expected `device`: a node, a serial number, a location, or a path in sysfs")
        if session is None or not session.reconciler.inventory.devices_listed:
            raise Unavailable("the daemon has not listed the devices yet; `status` says why")
        known = session.reconciler
        found = tuple(known.inventory.devices.values())
        device = await self._call(
            partial(_one, name, real, found, (*known.inventory.unprocessed.values(),), session.rules)
        )
        wanted = known.assignments.wants.get(device.key, Wants(device))
        status = Fate(
            wanted,
            tuple(each for each in known.attachments() if each.want.device.key == device.key),
            tuple(each for each in known.pending() if each.device == str(device)),
            wanted.problems,
        )
        # The leases, the waits and the problems are the loop's, and are read before the thread has its turn.
        leasing = known.assignments.leases.leasing
        lease = lease_json(wanted.anchor or device, leasing)
        claims = waiting_claims(lease, leasing) if lease is not None else []
        called, hubs = by_name([device]), session.rules.hubs
        held = [each for each in holds(session, called, hubs) if holds_up(each, device)]
        problems = [problem_json(each, called, hubs) for each in session.problems()]
        others = tuple(known.assignments.wants.values())
        document = await self._call(partial(_explained, status, session.rules, found, others))
        document["lease"], document["claims"], document["holds"] = lease, claims, held
        tried = [each for each in problems if concerns(each, device, document["pool"])]
        document["problems"] += [each for each in tried if each not in document["problems"]]
        return document

    async def _call(self, work: Callable[[], T]) -> T:
        try:
            return await self._threads.call(work, _PATIENCE)
        except NoThread as error:
            raise Unavailable(f"the system has no thread left for the answer: {error}") from error
        except TimeoutError as error:
            raise Unavailable("others ask the same, and each answer takes its time: ask again") from error
        except OSError as error:
            raise Unavailable(f"sysfs cannot be read: {error}") from error


def _is_set(text: str) -> bool:
    """Whether a query's `1` stands there. Raises ValueError."""
    if text not in ("", "0", "1"):
        raise ValueError("expected 0 or 1 as `all`")
    return text == "1"


def _devices(
    rules: RuleSet,
    devices: Iterable[Device],
    has: Mapping[str, Sequence[str]],
    overrides: Overrides,
    *,
    everything: bool,
) -> str:
    """Not one call of `json.dumps` for all: while it runs no other thread does."""
    parts: list[str] = []
    length = 0
    in_order = sorted(devices, key=lambda each: natural(each.syspath))
    for each in device_statuses(rules, in_order, has, overrides):
        if everything or each.is_listed:
            text = json.dumps(device_json(each.device, each.rule, rules.keys, each, each.override))
            length += len(text)
            if length > _LONGEST:
                raise ValueError(f"expected at most {_LONGEST >> 20} MiB of devices, and there are more")
            parts.append(text)
    return f'{{"devices": [{", ".join(parts)}]}}'


@dataclass(frozen=True, slots=True)
class _Looked:
    """A USB device with what the tree shows of it, and its ports."""

    device: Device
    ports: Mapping[int, UsbPort]


def _look(device: Device) -> _Looked:
    told = ((name, sysfs.attribute(device.syspath, name)) for name in ATTRS)
    attrs = {name: value.rstrip() for name, value in told if value is not None}
    return _Looked(replace(device, attrs={**device.attrs, **attrs}), ports_of(device.syspath))


def _topology(usb: Iterable[Device], hubs: Hubs, held: Mapping[str, Sequence[str]]) -> TopologyJson:
    looked = [_look(each) for each in usb]
    ports = {each.device.syspath: each.ports for each in looked}
    return topology((each.device for each in looked), ports, hubs, held)


def _one(
    name: str, real: str, devices: Sequence[Device], waiting: Sequence[Device], rules: RuleSet
) -> Device:
    """The device that is called so. Raises ValueError."""
    found = named(name, devices, real, rules.hubs)
    if not found:
        raise ValueError(missing(name, real, waiting, rules))
    if len(found) > 1:
        raise ValueError(" ".join((several(name, len(found)), "; ".join(each_of(found)))))
    return found[0]


def _explained(
    status: Fate, rules: RuleSet, devices: Iterable[Device], others: Sequence[Wants]
) -> ExplainJson:
    wanted = status.wants
    device, rule = wanted.device, wanted.rule
    document = explain_json(device, rules.explain(device), status, [], sysfs.usb_controllers(), rules.keys)
    if rule is None:
        document["warnings"] += goes_in_whole(device, others)
    else:
        document["warnings"] += takes_nothing(rule, device, devices)
    document["warnings"] += held_by_drivers(wanted, interfaces(device.syspath), others)
    document["inside"] = inside_json(rules, device) if not document["wants"] else None
    document["by"] = "daemon"
    return document
