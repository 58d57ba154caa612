"""A farm in small: consoles of the kernel's for phones, containers that claim them, on a real server."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import cast

import pytest

from hotplugd.host.pool_lock import POOL_LOCK
from hotplugd.model.claim_texts import CLAIM
from tests.conftest import StartDaemon
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.handle import Opened
from tests.support.lab.kernel import Console
from tests.support.lab.patience import patiently
from tests.support.lab.server import Server
from tests.support.lab.wait import eventually, steadily

pytestmark = pytest.mark.pools

Launch = Callable[..., Container]


def rules(consoles: Sequence[Console], more: str = "") -> str:
    names = "|".join(f"vcsa{each.number}" for each in consoles)
    return (
        f"pools: {{farm: {{instances: '*'{more}}}}}\n"
        f"rules: [{{name: phones, match: {{subsystem: vc, kernel: '{names}'}}, attach: {{pool: farm}}}}]\n"
    )


def claiming(text: str = "farm") -> dict[str, str]:
    return {f"{CLAIM}phone": text}


def had(container: Container, consoles: Sequence[Console]) -> list[int]:
    """The numbers of the consoles whose nodes are inside."""
    found = ((each, container.look(each.node)) for each in consoles)
    return [
        each.number for each, seen in found if seen is not None and seen.number == f"c 7:{128 + each.number}"
    ]


def once(containers: Sequence[Container], consoles: Sequence[Console]) -> list[int]:
    """The consoles that are in one of the containers each; no two have the same."""
    found = [number for each in containers for number in had(each, consoles)]
    assert len(found) == len(set(found)), f"a device is in two containers: {found}"
    return sorted(found)


def pool(daemon: Daemon, what: str) -> list[dict[str, str]]:
    """The devices or the claims of the pool, as the daemon says."""
    (found,) = json.loads(daemon.ask("pool", "--json").stdout)["pools"]
    return cast("list[dict[str, str]]", found[what])


def unmet(daemon: Daemon) -> list[tuple[str, str, str]]:
    """The claims that are not bound: whose, the state and the reason."""
    found = cast("list[dict[str, str]]", daemon.status()["claims"])
    return [(each["instance"], each["state"], each["reason"]) for each in found]


def told(daemon: Daemon) -> list[str]:
    """The messages of all problems."""
    return [each["message"] for each in cast("list[dict[str, str]]", daemon.status()["problems"])]


def has_one(daemon: Daemon, container: Container, consoles: Sequence[Console]) -> bool:
    """Whether one of them is inside. Raises AssertionError, with the daemon's problems, where none is."""
    found = had(container, consoles)
    assert len(found) == 1, f"{container} has {found}: {told(daemon)}"
    return True


def test_a_day_of_a_farm(
    launch: Launch, consoles: Callable[[int], list[Console]], daemon: StartDaemon
) -> None:
    phones = consoles(3)
    for each in phones:
        each.plug()
    numbers = sorted(each.number for each in phones)
    farm = daemon(rules(phones))

    # Four jobs want a phone, and there are three: the last one waits.
    jobs = [launch(config=claiming()) for _ in range(4)]
    eventually(lambda: once(jobs[:3], phones) == numbers)
    assert had(jobs[3], phones) == []
    why = "3 devices of pool 'farm', of which none is free"
    eventually(lambda: unmet(farm) == [(jobs[3].name, "waiting", why)])
    assert farm.is_fine()

    # One is deleted, and the one that waits has its phone.
    freed = had(jobs[0], phones)
    jobs[0].delete()
    eventually(lambda: had(jobs[3], phones) == freed)
    rest = jobs[1:]
    leased = {each.name: had(each, phones) for each in rest}
    assert once(rest, phones) == numbers

    # A restart of the daemon changes nothing.
    farm.stop()
    before = len(farm.changes())
    farm.start()
    steadily(lambda: {each.name: had(each, phones) for each in rest} == leased, 1.0)
    assert len(farm.changes()) == before
    listed = json.loads(farm.ask("lease", "list", "--json").stdout)["leases"]
    assert {each["instance"]: [each["device"]] for each in listed} == {
        name: [f"/dev/vcsa{number}" for number in found] for name, found in leased.items()
    }

    # A copy has none of the original's, also if it runs.
    copy = rest[0].copy(f"{rest[0].name}-copy")
    copy.start()
    eventually(lambda: copy.name in [instance for instance, _, _ in unmet(farm)])
    eventually(lambda: not any(name.startswith("hp-") for name in copy.devices))
    assert had(rest[0], phones) == leased[rest[0].name]
    assert had(copy, phones) == []

    # The claim is withdrawn, and the copy has it.
    rest[0].patch({"config": {f"{CLAIM}phone": "none"}})
    eventually(lambda: had(copy, phones) == leased[rest[0].name])
    assert had(rest[0], phones) == []

    # What stops gives its phone back.
    patiently(copy.stop)
    eventually(lambda: [each["state"] for each in pool(farm, "devices")].count("free") == 1)
    assert not any(name.startswith("hp-") for name in copy.devices)

    explained = json.loads(farm.ask("explain", phones[0].node, "--json").stdout)
    assert explained["pool"] == explained["lease"]["pool"] == "farm"


def test_a_claim_of_two_gets_both_at_once_and_a_profiles_claim_counts(
    server: Server, launch: Launch, consoles: Callable[[int], list[Console]], daemon: StartDaemon
) -> None:
    phones = consoles(2)
    phones[0].plug()
    daemon(rules(phones))
    with ExitStack() as undo:
        profile = {"name": "tester", "config": claiming("farm count=2")}
        server.api.request("POST", "/1.0/profiles", profile)
        undo.callback(lambda: server.api.request("DELETE", "/1.0/profiles/tester"))
        both = launch(start=False)
        undo.callback(both.delete)
        both.patch({"profiles": ["default", "tester"]})
        both.start()
        steadily(lambda: had(both, phones) == [], 0.5)
        phones[1].plug()
        eventually(lambda: len(had(both, phones)) == 2)


def test_a_claim_that_cannot_be_read_hurts_nobody_else(
    launch: Launch, consoles: Callable[[int], list[Console]], daemon: StartDaemon
) -> None:
    (phone,) = consoles(1)
    phone.plug()
    farm = daemon(rules([phone]))
    bad = launch(config=claiming("farm seral=1A*"))
    good = launch(config=claiming())
    eventually(lambda: had(good, [phone]) == [phone.number])
    assert told(farm) == [f"{bad.name}: {CLAIM}phone, column 6: unknown key 'seral'; did you mean 'serial'?"]


def test_the_history_of_an_instance_says_that_its_claim_waited(
    launch: Launch, consoles: Callable[[int], list[Console]], daemon: StartDaemon
) -> None:
    (phone,) = consoles(1)
    phone.plug()
    farm = daemon(rules([phone]))
    first = launch(config=claiming())
    eventually(lambda: had(first, [phone]) == [phone.number])
    second = launch(config=claiming())
    waits = "claim.waiting     {0}: claim 'phone' waits: 1 device of pool 'farm', of which none is free"
    eventually(lambda: waits.format(second.name) in farm.ask("history", second.name).stdout)
    first.delete()
    eventually(lambda: "claim.bound" in farm.ask("history", second.name).stdout)
    said = farm.ask("history", second.name).stdout
    assert said.count("claim.waiting") == said.count("claim.bound") == 1
    assert "claim." not in farm.ask("history", first.name).stdout


def test_what_is_wrong_with_a_claim_is_told_of_its_instance_alone(
    launch: Launch, consoles: Callable[[int], list[Console]], daemon: StartDaemon
) -> None:
    (phone,) = consoles(1)
    phone.plug()
    farm = daemon(rules([phone]))
    good, other = launch(config=claiming()), launch()
    eventually(lambda: had(good, [phone]) == [phone.number])
    bad = launch(config=claiming("farm count=9"))
    eventually(lambda: len(told(farm)) == 1)
    said = farm.ask("status", "--problems").stdout
    assert said.count(bad.name) == 1
    assert f"problem: {bad.name}: claim 'phone' cannot be met" in said
    assert farm.ask("status", "--instance", good.name).returncode == 0
    assert bad.name in farm.ask("status", "--instance", bad.name).stdout
    assert farm.ask("health").returncode == 0
    assert "claim.problem" in farm.ask("history", bad.name).stdout
    # What somebody decides by hand is nobody's lease meanwhile.
    assert farm.ask("attach", phone.node, other.name).returncode == 0
    shown = farm.ask("explain", phone.node).stdout
    assert "pool farm: leased to nobody while it is attached or detached by hand" in shown
    assert "open in hotplugd" not in shown


def test_one_daemon_on_a_host_serves_pools(
    launch: Launch, own_server: Server, consoles: Callable[[int], list[Console]], daemon: StartDaemon
) -> None:
    phones = consoles(2)
    for each in phones:
        each.plug()
    first = daemon(rules(phones))
    here, there = launch(config=claiming()), own_server.launch(config=claiming())
    eventually(lambda: has_one(first, here, phones))
    with Daemon(own_server.socket, rules(phones)) as second:
        (problem,) = told(second)
        assert f"another hotplugd on this host (process {first.pid}, for " in problem
        steadily(lambda: had(there, phones) == [], 0.5)
        first.stop()
        # The first one's instance has its phone, and nobody looks after that.
        eventually(lambda: "instances of another server, " in "".join(told(second)), 30.0)
        assert had(there, phones) == []
        first.write_rules("rules: []\n")
        first.start()
        # It looks by itself whether it may serve them.
        eventually(lambda: has_one(second, there, phones), 45.0)
        assert had(here, phones) == []
        assert second.is_fine()


def test_one_that_starts_while_another_serves_pools_leaves_what_is_in_place(
    launch: Launch, own_server: Server, consoles: Callable[[int], list[Console]], daemon: StartDaemon
) -> None:
    phones = consoles(2)
    for each in phones:
        each.plug()
    first = daemon(rules(phones))
    here, there = launch(config=claiming()), own_server.launch(config=claiming())
    eventually(lambda: has_one(first, here, phones))
    mine, done = had(here, phones), first.changes()
    first.kill()
    # Somebody does what is to be done for servers that are gone.
    Path(POOL_LOCK).unlink()
    with Daemon(own_server.socket, rules(phones)) as second:
        eventually(lambda: has_one(second, there, phones))
        first.start()
        (problem,) = told(first)
        assert f"another hotplugd on this host (process {second.pid}, for {own_server.socket})" in problem
        assert "what instances have of pools stays as it is" in problem
        steadily(lambda: had(here, phones) == mine, 0.5)
        assert len(once([here, there], phones)) == 2
        second.write_rules("rules: []\n")
        second.reload()
        eventually(lambda: had(there, phones) == [])
        # It has the lock by itself, and the phone that it had is a lease.
        eventually(lambda: not told(first), 45.0)
        assert {each["state"] for each in pool(first, "devices")} == {"leased", "free"}
        assert had(here, phones) == mine
    assert first.changes() == done


def test_an_open_device_is_not_given_to_the_next_claim(
    launch: Launch, consoles: Callable[[int], list[Console]], daemon: StartDaemon
) -> None:
    (phone,) = consoles(1)
    phone.plug()
    farm = daemon(rules([phone]))
    first = launch(config=claiming())
    eventually(lambda: had(first, [phone]))
    second = launch(config=claiming())
    with Opened(first, phone.node) as opened:
        first.patch({"config": claiming("none")})
        name = Path(f"/proc/{opened.pid}/comm").read_text().strip()
        who = f"{phone.node} is open in {name} (process {opened.pid} in {first.name})"
        eventually(
            lambda: (
                [(each["state"], each["reason"]) for each in pool(farm, "devices")] == [("releasing", who)]
            )
        )
        eventually(
            lambda: (
                told(farm) == [f"{first.name} is without it, and it is not given to another instance: {who}"]
            )
        )
        # The daemon does not forget it by a restart.
        farm.kill()
        farm.start()
        eventually(lambda: who in [each["reason"] for each in pool(farm, "devices")])
        assert had(second, [phone]) == []
    eventually(lambda: had(second, [phone]), 30.0)
    eventually(farm.is_fine)
