"""Fixtures of the guest: phones on a real bus, and containers with the host's programs in them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from tests.conftest import StartDaemon
from tests.support.lab.commands import Commands
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.forked import Forking
from tests.support.lab.server import Server
from tests.support.phones import Hub, containers
from tests.vm.machine import Machine

RESULTS = Path("/results")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--day", default="short", choices=("short", "whole"), help="how much of a farm's day")
    parser.addoption("--seed", default="1", help="other events of that day, in another order")


@pytest.fixture(scope="session")
def log(server: Server) -> Iterator[None]:
    """What the server logged is kept."""
    yield
    shutil.copy(server.log, RESULTS / "server.txt")


@pytest.fixture(scope="session")
def commands() -> Iterator[Commands]:
    """hotplugd's commands, started by a fork: the cases would mostly wait for their imports."""
    with Forking() as one:
        yield one


@pytest.fixture
def hub() -> Iterator[Hub]:
    """The ports, all free."""
    with Hub() as ports:
        yield ports


@pytest.fixture
def machine(udevd: None) -> Iterator[Machine]:
    """What hardware is plugged into; all of it is pulled after the test."""
    with Machine() as one:
        yield one


@pytest.fixture
def launch(server: Server, log: None) -> Iterator[Callable[..., Container]]:
    """Launches containers with the guest's programs in them. All go after the test."""
    yield partial(containers.launch, server)
    for container in server.containers():
        container.delete()


@pytest.fixture
def daemon(commands: Commands, server: Server, request: pytest.FixtureRequest) -> Iterator[StartDaemon]:
    """Starts daemons, with the rules given; what they log is kept."""
    with ExitStack() as undo:

        def start(rules: str | Mapping[str, str], environment: Mapping[str, str] | None = None) -> Daemon:
            one = undo.enter_context(Daemon(server.socket, rules, environment, commands=commands))
            undo.callback(keep, one)
            return one

        def keep(one: Daemon) -> None:
            folder = RESULTS / "hotplugd"
            folder.mkdir(exist_ok=True)
            with (folder / f"{request.node.name}.txt").open("a") as file:
                file.write(one.log())

        yield start
