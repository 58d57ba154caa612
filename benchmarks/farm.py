"""A whole farm, by simulation: a thousand phones of a pool, and two hundred instances.

The reconciler is the daemon's, and the server `benchmarks/farm_server.py`, both in virtual time: seconds are
exact, whatever else the machine does. Each scenario runs in a process of its own: `python -m benchmarks.farm
NAME` prints what it took.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from statistics import quantiles
from typing import Final

from benchmarks.farm_server import CHANGE, DEVICE, FarmServer, Run, Scenario, ran, tell
from benchmarks.figure import Figure
from hotplugd.model.values import Device, Instance
from hotplugd.reconcile.early_devices import goes_early
from hotplugd.rulefile.load import parse
from tests.support.devices import box, phone
from tests.support.virtual import at, later, now

_PHONES: Final = 1_000
_INSTANCES: Final = 200
_EACH: Final = _PHONES // _INSTANCES
# Each of the buses enumerates one phone after the other, for so many seconds each: the kernel waits 0.1 s
# until a plug is steady, and resets the port twice (Linux: drivers/usb/core/hub.c, hub_port_init).
_BUSES: Final = 10
_ENUMERATION: Final = 0.3
# What udevd takes with a phone on real hosts: 0.024 to 0.129 s were measured.
_UDEVD: Final = 0.05
_LOADED: Final = parse(
    f"pools: {{phones: {{instances: 'job-*', keep: 60s, per_instance: {_EACH}}}}}\n"
    "rules: [{name: phones, match: {vendor_id: 18d1}, attach: {pool: phones, mode: '0660'}}]",
    "farm",
)


def figures() -> list[Figure]:
    """How long it takes until all phones are in, and what that costs."""
    boot, come, late = (ran("benchmarks.farm", name) for name in SCENARIOS)
    alone = _INSTANCES * (CHANGE + _EACH * DEVICE)
    last = (_PHONES // _BUSES - 1) * _ENUMERATION
    what = f"{_PHONES:,} phones of a pool in {_INSTANCES} instances"
    return [
        Figure(
            f"{what}: there at the start, until all are in", "the server's own time", "≤", 1.05,
            boot.seconds / alone, absolute=f"{boot}; the server alone {alone:.2f} s",
        ),
        Figure(
            f"{what}: coming from {_BUSES} buses, until all are in", "until the last one came", "≤", 1.05,
            come.seconds / last, absolute=f"{come}; the last one came after {last:.1f} s",
        ),
        Figure(
            f"{what}: p95 from a phone's event to inside", "the same where all wait for udevd", "≤", 0.75,
            come.slowest / late.slowest,
            absolute=f"{come.slowest * 1e3:.0f} ms against {late.slowest * 1e3:.0f} ms",
        ),
        Figure(f"{what}: requests", "", "≤", 1, come.changes / _PHONES, "for each phone"),
        Figure(f"{what}: CPU", "", "≤", 15, come.processor / _PHONES * 1e3, "ms for each phone", str(come)),
    ]  # fmt: skip


# --- scenarios ------------------------------------------------------------------------------------------


async def boot(phones: int = _PHONES) -> Run:
    """All phones are there, and all instances run, when the daemon starts."""
    server = _server(phones)
    begun = now()
    await server.start(*_phones(phones))
    assert server.attached == phones
    return server.run(begun)


async def come(phones: int = _PHONES, *, early: bool) -> Run:
    """The phones are enumerated while the daemon runs. early: not all wait for udevd"""
    server = _server(phones)
    await server.start()
    begun, came = now(), dict[str, float]()

    async def bus(number: int) -> None:
        for place, device in enumerate(_phones(phones)[number::_BUSES]):
            await at(begun + (place + number / _BUSES) * _ENUMERATION)
            came[device.slot] = now()
            tasks.append(asyncio.create_task(_plug(server, device, early=early)))

    tasks: list[asyncio.Task[None]] = []
    await asyncio.gather(*map(bus, range(_BUSES)))
    await asyncio.gather(*tasks)
    await server.reconciler.settled()
    assert server.attached == phones
    took = [server.inside_at[slot] - when for slot, when in came.items()]
    return server.run(begun, quantiles(took, n=20)[-1])


async def _plug(server: FarmServer, device: Device, *, early: bool) -> None:
    """The kernel announces it, and udevd some time later."""
    first = replace(device, properties={}, early=True)
    if early and goes_early(server.reconciler, first):
        server.reconciler.device(first)
    await later(_UDEVD)
    server.reconciler.device(device)


def _server(phones: int) -> FarmServer:
    return FarmServer([_job(number) for number in range(phones // _EACH)], _LOADED.rules)


def _job(number: int) -> Instance:
    return replace(box(name=f"job-{number}"), created=f"{number:04}")


def _phones(number: int) -> list[Device]:
    return [phone(each, f"R5C{each:04}") for each in range(number)]


SCENARIOS: Final[Mapping[str, Scenario]] = {
    "boot": boot,
    "come": partial(come, early=True),
    "late": partial(come, early=False),
}


if __name__ == "__main__":
    tell(SCENARIOS[sys.argv[1]])
