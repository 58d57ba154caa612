"""A project that the server cannot list, on a real server: the leases of its instances."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.e2e.test_pools import claiming, had, pool, told
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.faults import Refuse
from tests.support.lab.kernel import Console
from tests.support.lab.proxy import Fault, Proxy
from tests.support.lab.server import Server
from tests.support.lab.tenant import project
from tests.support.lab.wait import eventually

pytestmark = pytest.mark.pools

_RULES = """
pools: {{farm: {{instances: '*', project: lab, keep: 10m}}}}
rules: [{{name: phones, match: {{subsystem: vc, kernel: '{names}'}}, attach: {{pool: farm}}}}]
"""
# How the listing of a project, and no other question, begins.
_UNLISTED = Fault(Refuse(500, "it takes long"), to=r"GET /1.0/instances\?(?=.*project=lab)(?=.*recursion=1)")


@dataclass(frozen=True, slots=True)
class Farm:
    """Two phones, of which the holder has the first one, and no daemon that runs."""

    server: Server
    proxy: Proxy
    daemon: Daemon
    holder: Container
    one: Console
    two: Console


@pytest.fixture
def farm(own_server: Server, consoles: Callable[[int], list[Console]]) -> Iterator[Farm]:
    project(own_server, "lab")
    one, two = consoles(2)
    names = "|".join(f"vcsa{each.number}" for each in (one, two))
    with Proxy(own_server.data / "proxy", own_server.socket) as proxy:
        daemon = Daemon(proxy.socket, _RULES.format(names=names))
        try:
            daemon.start()
            holder = own_server.launch("holder", project="lab", config=claiming())
            one.plug()
            eventually(lambda: had(holder, [one]) == [one.number])
            yield Farm(own_server, proxy, daemon, holder, one, two)
        finally:
            daemon.close()


def held(farm: Farm) -> dict[str, str]:
    """Who has each device, as the daemon lists it."""
    listed = json.loads(farm.daemon.ask("lease", "list", "--json").stdout)["leases"]
    return {each["identity"]: each["instance"] for each in listed if each["state"] == "leased"}


def test_what_it_has_is_given_to_nobody_else(farm: Farm) -> None:
    farm.daemon.stop()
    with farm.proxy.fault(_UNLISTED):
        farm.daemon.start()
        assert "no lease of it ends" in str(told(farm.daemon))
        other = farm.server.launch("other", project="lab", config=claiming())
        # The server tells of that one, so it gets what comes once its project is listed.
        farm.two.plug()
        eventually(lambda: len(pool(farm.daemon, "devices")) == 2)
        assert had(farm.holder, [farm.one]) == [farm.one.number]
    eventually(lambda: had(other, [farm.one, farm.two]) == [farm.two.number])
    assert had(farm.holder, [farm.one]) == [farm.one.number]
    eventually(lambda: not told(farm.daemon))
    assert "lease.over" not in farm.daemon.log()
    assert "device.remove" not in farm.daemon.log()


def test_a_lease_whose_device_is_absent_is_kept(farm: Farm) -> None:
    farm.one.unplug()
    eventually(lambda: not had(farm.holder, [farm.one]) and held(farm))
    farm.daemon.stop()
    with farm.proxy.fault(_UNLISTED):
        farm.daemon.start()
        assert held(farm) == {f"kernel:vcsa{farm.one.number}": "holder"}
    eventually(lambda: not told(farm.daemon))
    farm.one.plug()
    eventually(lambda: had(farm.holder, [farm.one]) == [farm.one.number])
    assert "lease.over" not in farm.daemon.log()


def test_nothing_ends_where_it_cannot_be_listed_any_more(farm: Farm) -> None:
    with farm.proxy.fault(_UNLISTED) as (listing,):
        # The daemon lists all anew.
        farm.proxy.cut()
        eventually(lambda: listing.met and "cannot be listed" in str(told(farm.daemon)))
        assert had(farm.holder, [farm.one]) == [farm.one.number]
        farm.one.unplug()
        eventually(lambda: not had(farm.holder, [farm.one]))
        assert held(farm)
        farm.one.plug()
        eventually(lambda: had(farm.holder, [farm.one]) == [farm.one.number])
    eventually(lambda: not told(farm.daemon))
    assert "lease.over" not in farm.daemon.log()
