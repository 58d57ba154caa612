"""An instance that is restarted: a start goes by the entries that there were before it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from hotplugd.model.ports import Busy
from tests.conftest import StartDaemon
from tests.e2e.test_client import entry, name_of, run
from tests.e2e.test_leases import Consoles
from tests.e2e.test_pools import Launch, claiming, had, rules
from tests.support.lab.patience import patiently
from tests.support.lab.server import Server
from tests.support.lab.wait import eventually


@dataclass(frozen=True, slots=True)
class Gate:
    """Instances with this configuration do not get past a hook while it is shut. The server has made their
    nodes by then, and they do not run yet.
    """

    folder: Path

    @property
    def config(self) -> dict[str, str]:
        return {"raw.lxc": f"lxc.hook.mount = {self.folder}/hook"}

    @contextmanager
    def shut(self) -> Iterator[None]:
        (self.folder / "shut").touch()
        try:
            yield
        finally:
            (self.folder / "shut").unlink()


@pytest.fixture
def gate() -> Iterator[Gate]:
    with tempfile.TemporaryDirectory(prefix="hpg-", dir="/tmp") as name:
        made = Gate(Path(name))
        # The hook is run by the root of an unprivileged container.
        made.folder.chmod(0o755)
        hook = made.folder / "hook"
        hook.write_text(f"#!/bin/sh\nwhile [ -e {name}/shut ]; do /bin/sleep 0.1; done\n")
        hook.chmod(0o755)
        yield made


@pytest.mark.parametrize("action", ["Restarting instance", "Starting instance", "Restoring snapshot"])
def test_nothing_is_taken_out_while_the_server_starts_it(
    server: Server, launch: Launch, gate: Gate, action: str
) -> None:
    container = launch(config=gate.config)
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
        with gate.shut():
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
def test_it_has_its_leases_again(launch: Launch, consoles: Consoles, daemon: StartDaemon, gate: Gate) -> None:
    phones = consoles(2)
    for each in phones:
        each.plug()
    farm = daemon(rules(phones))
    job = launch(config={**claiming("farm count=2"), **gate.config})
    numbers = [each.number for each in phones]
    eventually(lambda: had(job, phones) == numbers)
    eventually(farm.is_fine)
    with ThreadPoolExecutor(1) as other:
        with gate.shut():
            done = other.submit(lambda: patiently(job.restart))
            # Its leases are over, and what it has is to go out: for as long as whoever stops it may do more.
            eventually(lambda: "the server is at it" in str(farm.status()["problems"]))
        done.result()
    eventually(lambda: had(job, phones) == numbers)
    eventually(farm.is_fine)
