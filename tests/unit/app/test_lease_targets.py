"""What people mean by a location, where what is plugged in there is absent for a moment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hotplugd.rulefile.load import parse
from tests.support.virtual import in_virtual_time
from tests.unit.app.test_lease_orders import Desk
from tests.unit.reconcile.bench import Bench
from tests.unit.reconcile.test_away_leases import leased_to, pull
from tests.unit.reconcile.test_edl import KEY, PHONE
from tests.unit.reconcile.test_leases import job, places

_LOADED = parse(
    "hubs: {shelf-1: {path: 'pci-0000:00:14.0', ports: {a: 1, b: 2}}}\n"
    "pools: {android: {instances: 'job-*', keep: 10m}}\n"
    "rules: [{name: phones, match: {vendor_id: 18d1}, attach: {pool: android}}]",
    "x",
)
RULES = _LOADED.rules


def desk_of(bench: Bench, folder: Path) -> Desk:
    desk = Desk(bench, folder)
    session: Any = SimpleNamespace(reconciler=bench.reconciler, rules=RULES)
    desk._orders._session = lambda: session
    return desk


def before(bench: Bench) -> Bench:
    """The next daemon, which knows no more than what was kept."""
    bench.reconciler.close()
    made = Bench(*bench.instances.values(), rules=RULES, kept=bench.lease_keeper.kept)
    made.instances, made.links = bench.instances, bench.links
    return made


@pytest.mark.parametrize("next_daemon", [lambda bench: bench, before], ids=["at once", "after a restart"])
def test_a_drain_ends_the_lease_of_what_is_absent_there(
    tmp_path: Path, next_daemon: Callable[[Bench], Bench]
) -> None:
    """A phone that reboots at that moment would be back in its instance a minute later."""

    @in_virtual_time
    async def run() -> None:
        bench = Bench(job(1), rules=RULES)
        await bench.start(PHONE)
        await pull(bench, PHONE)
        desk = desk_of(next_daemon(bench), tmp_path)
        await desk.start()
        assert leased_to(desk.bench) == {KEY: "job-1"}
        (lease,) = (await desk.ask("drain", "shelf-1/a"))["leases"]
        assert (lease["identity"], lease["reason"]) == (
            KEY,
            "it is absent; it was at shelf-1/a; its lease is kept for 10m",
        )
        assert (await desk.ask("drain", "shelf-1/b"))["leases"] == []
        assert (await desk.ask("drain", "shelf-1/*", yes=True))["done"]
        assert leased_to(desk.bench) == {}
        await desk.bench.plug(PHONE)
        assert (places(desk.bench), desk.bench.reconciler.devices) == ({}, 1)

    run()
