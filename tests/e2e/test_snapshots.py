"""A snapshot that the server makes of an instance: what is taken out meanwhile goes soon after that."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import pytest

from tests.conftest import StartDaemon
from tests.e2e.test_leases import Consoles
from tests.e2e.test_pools import Launch, claiming, had, rules
from tests.support.lab.container import Container
from tests.support.lab.server import Server
from tests.support.lab.wait import eventually


@contextmanager
def files_open(server: Server, container: Container) -> Iterator[socket.socket]:
    """Somebody has the container's files open, as `lxc file mount` has: a snapshot waits for that."""
    with socket.socket(socket.AF_UNIX) as channel:
        channel.connect(str(server.socket))
        request = f"GET /1.0/instances/{container.name}/sftp HTTP/1.1"
        channel.sendall(f"{request}\r\nHost: x\r\nUpgrade: sftp\r\nConnection: Upgrade\r\n\r\n".encode())
        assert channel.recv(4096).startswith(b"HTTP/1.1 101 ")
        yield channel


@pytest.mark.pools
def test_a_pull_that_meets_a_snapshot_is_no_problem(
    server: Server, launch: Launch, consoles: Consoles, daemon: StartDaemon
) -> None:
    (phone,) = consoles(1)
    phone.plug()
    farm = daemon(rules([phone], ", keep: 5m"))
    job = launch(config=claiming())
    eventually(lambda: had(job, [phone]) == [phone.number])
    eventually(farm.is_fine)

    def is_at(what: str) -> bool:
        return what in str(server.api.get("/1.0/operations?recursion=1").get("running"))

    with ThreadPoolExecutor(1) as other:
        with files_open(server, job):
            done = other.submit(partial(job.snapshot, "before"))
            eventually(lambda: is_at("Snapshotting"))
            phone.unplug()
            # The server asks for the files by a program that answers nobody any more.
            eventually(lambda: is_at("Updating"))
        done.result()
    eventually(lambda: not job.devices)
    assert had(job, [phone]) == []
    eventually(farm.is_fine)
    assert "device.problem" not in farm.log()
