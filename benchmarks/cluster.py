"""What a large cluster costs each member, by simulation: at a start, for an event, and in an hour.

Every member's daemon hears of all instances, and looks after those on its own member. A listing is read from
what a server says of an instance, as the daemon reads it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from benchmarks.farm_server import FarmServer, Run, Scenario, ran, tell
from benchmarks.figure import Figure
from hotplugd.model.server_traits import NO_TRAITS
from hotplugd.model.values import Instance
from hotplugd.server.decode import instance
from tests.support.devices import rule, ruleset
from tests.support.virtual import later, now

_MEMBERS: Final = 50
_INSTANCES: Final = 2_000
# Each instance starts, is edited and stops once an hour; all are listed every five minutes.
_EVENTS: Final = 3 * _INSTANCES
_LISTINGS: Final = 12
_RULES: Final = ruleset(rule("{vendor_id: 18d1}", "{to: 'job-{serial}', mode: '0660'}"))


def figures() -> list[Figure]:
    """What one member does."""
    start, updates, changes, hour = (ran("benchmarks.cluster", name) for name in SCENARIOS)
    where = f"on one of {_MEMBERS} members, {_INSTANCES:,} instances"
    return [
        Figure(f"start {where}", "", "≤", 3, start.processor, "s of CPU", str(start)),
        Figure(
            f"an instance elsewhere is edited, {where}", "", "≤", 0.2,
            (updates.processor - start.processor) / _EVENTS * 1e3, "ms of CPU",
            f"{updates.questions / _EVENTS:.2g} questions to the server",
        ),
        Figure(
            f"an instance elsewhere starts or stops, {where}", "", "≤", 1,
            (changes.processor - start.processor) / _EVENTS * 1e3, "ms of CPU",
            f"{changes.questions / _EVENTS:.2g} questions to the server",
        ),
        Figure(
            f"an hour {where}", "", "≤", 36, hour.processor - start.processor, "s of CPU",
            f"{_EVENTS:,} events, {_LISTINGS} listings: {hour}",
        ),
    ]  # fmt: skip


async def member(edits: int = 0, others: int = 0, listings: int = 0) -> Run:
    """A member starts; so many instances elsewhere are edited, or start or stop; all are listed so often."""
    listing = json.dumps([_said(number) for number in range(_INSTANCES)])
    server = FarmServer([], _RULES)
    server.instances = {each.id: each for each in _read(listing)}
    begun = now()
    await server.start()
    away = [name for name, each in server.instances.items() if not each.here]
    for number in range(edits + others):
        tell_of = server.reconciler.updated if number < edits else server.reconciler.refresh
        tell_of(away[number % len(away)])
        await later(3600 / _EVENTS)
    for _ in range(listings):
        await server.reconciler.listed_instances(_read(listing), now())
        await later(1)
    await server.reconciler.settled()
    return server.run(begun)


def _read(listing: str) -> list[Instance]:
    return [instance(each, "member-0", NO_TRAITS) for each in json.loads(listing)]


def _said(number: int) -> dict[str, Any]:
    """As LXD lists an instance with a disk and a network, by recursion."""
    devices = {
        "root": {"path": "/", "pool": "default", "type": "disk"},
        "eth0": {"name": "eth0", "network": "lxdbr0", "type": "nic"},
    }
    config = {
        "image.architecture": "amd64", "image.description": "Debian bookworm amd64 (20261101_05:24)",
        "image.os": "Debian", "image.release": "bookworm", "image.serial": "20261101_05:24",
        "image.type": "squashfs", "image.variant": "default", "volatile.base_image": f"{number:064x}",
        "volatile.cloud-init.instance-id": f"{number:032x}", "volatile.eth0.host_name": f"veth{number:08x}",
        "volatile.eth0.hwaddr": "00:16:3e:00:00:01", "volatile.idmap.base": "0",
        "volatile.idmap.current": '[{"Isuid":true,"Isgid":false,"Hostid":1000000,"Nsid":0,"Maprange":65536}]',
        "volatile.idmap.next": '[{"Isuid":true,"Isgid":false,"Hostid":1000000,"Nsid":0,"Maprange":65536}]',
        "volatile.last_state.idmap": "[]", "volatile.last_state.power": "RUNNING",
        "volatile.uuid": f"{number:032x}",
    }  # fmt: skip
    return {
        "name": f"job-{number}", "project": "default", "type": "container", "status": "Running",
        "status_code": 103, "architecture": "x86_64", "config": config, "expanded_config": config,
        "devices": {}, "expanded_devices": devices, "profiles": ["default"], "description": "",
        "ephemeral": False, "stateful": False, "location": f"member-{number % _MEMBERS}",
        "created_at": "2026-11-01T05:24:00.123456789Z", "last_used_at": "2026-11-02T05:24:00.123456789Z",
    }  # fmt: skip


SCENARIOS: Final[Mapping[str, Scenario]] = {
    "start": member,
    "edits": partial(member, _EVENTS),
    "others": partial(member, 0, _EVENTS),
    "hour": partial(member, _INSTANCES, 2 * _INSTANCES, _LISTINGS),
}


if __name__ == "__main__":
    tell(SCENARIOS[sys.argv[1]])
