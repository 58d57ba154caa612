"""An instance that is restarted: a start goes by the entries that there were before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from hotplugd.model.ports import Busy, Unreachable
from tests.e2e.test_client import entry, name_of, run
from tests.e2e.test_pools import Launch
from tests.support.lab.gate import Gate, made
from tests.support.lab.server import Server
from tests.support.lab.wait import eventually


@pytest.fixture
def gate() -> Iterator[Gate]:
    with made() as one:
        yield one


@pytest.mark.parametrize("action", ["Restarting instance", "Starting instance", "Restoring snapshot"])
def test_nothing_is_taken_out_while_the_server_starts_it(
    server: Server, launch: Launch, gate: Gate, action: str
) -> None:
    container = launch(config=gate.config())
    name, node = name_of(container), entry()
    run(server, lambda lxd: lxd.apply(name, [node], []))
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
        with gate.shut():
            done = other.submit(actions[action])
            eventually(lambda: action in str(server.api.get("/1.0/operations?recursion=1").get("running")))
            eventually(lambda: container.config["status"] == "Stopped")

            def is_refused() -> bool:
                # While it begins the server writes down that it does, and the ETag is another. While it waits
                # the server may not be able to tell how it is.
                with pytest.raises((Busy, Unreachable)) as caught:
                    run(server, lambda lxd: lxd.apply(name, [], [node.name]))
                at_it = f"does not run, and the server is at it: {action}"
                return at_it in str(caught.value) or "the server cannot tell" in str(caught.value)

            eventually(is_refused)
        done.result()
    assert container.look("/dev/lab") is not None
    run(server, lambda lxd: lxd.apply(name, [], [node.name]))
    assert container.look("/dev/lab") is None
