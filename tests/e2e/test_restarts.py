"""An instance that is restarted: a start goes by the entries that there were before it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from hotplugd.model.ports import Busy
from tests.conftest import StartDaemon
from tests.e2e.test_client import entry, name_of, run
from tests.e2e.test_leases import Consoles
from tests.e2e.test_pools import Launch, claiming, had, rules
from tests.support.lab.patience import patiently
from tests.support.lab.server import Server
from tests.support.lab.wait import eventually

# The server has made the nodes by then, and the container does not run yet.
_SLOW = "lxc.hook.mount = /bin/sleep 2"


@pytest.mark.parametrize("action", ["Restarting instance", "Starting instance", "Restoring snapshot"])
def test_nothing_is_taken_out_while_the_server_starts_it(server: Server, launch: Launch, action: str) -> None:
    container = launch(config={"raw.lxc": _SLOW})
    name, made = name_of(container), entry()
    run(server, lambda lxd: lxd.apply(name, [made], []))
    if action == "Starting instance":
        container.stop()
    if action == "Restoring snapshot":
        container.snapshot("s0")
    actions: dict[str, Callable[[], None]] = {
        "Restarting instance": container.restart,
        "Starting instance": container.start,
        "Restoring snapshot": partial(container.restore, "s0"),
    }
    with ThreadPoolExecutor(1) as other:
        done = other.submit(actions[action])
        eventually(lambda: action in str(server.api.get("/1.0/operations?recursion=1").get("running")))
        eventually(lambda: container.config["status"] == "Stopped")

        def is_refused() -> bool:
            # While it begins the server writes down that it does, and the ETag is another.
            with pytest.raises(Busy) as caught:
                run(server, lambda lxd: lxd.apply(name, [], [made.name]))
            return f"does not run, and the server is at it: {action}" in str(caught.value)

        eventually(is_refused)
        done.result()
    assert container.look("/dev/lab") is not None
    run(server, lambda lxd: lxd.apply(name, [], [made.name]))
    assert container.look("/dev/lab") is None


@pytest.mark.pools
def test_it_has_its_leases_again(launch: Launch, consoles: Consoles, daemon: StartDaemon) -> None:
    phones = consoles(2)
    for each in phones:
        each.plug()
    farm = daemon(rules(phones))
    job = launch(config={**claiming("farm count=2"), "raw.lxc": _SLOW})
    numbers = [each.number for each in phones]
    eventually(lambda: had(job, phones) == numbers)
    eventually(farm.is_fine)
    patiently(job.restart)
    eventually(lambda: had(job, phones) == numbers)
    eventually(farm.is_fine)
