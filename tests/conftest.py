"""Fixtures: one private server and one udevd a session, containers, devices and daemons a test."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Mapping
from compileall import compile_dir
from contextlib import ExitStack, nullcontext
from importlib.util import find_spec
from pathlib import Path
from signal import Signals
from typing import Protocol

import pytest

from tests.support.lab.claims import in_turn
from tests.support.lab.commands import Commands
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon, command
from tests.support.lab.forked import Quick
from tests.support.lab.kernel import Console, Veth, Zram
from tests.support.lab.pools import pools_are_nobodys
from tests.support.lab.server import Server
from tests.support.lab.stop import clean_up_when_told_to_end
from tests.support.lab.udevd import udevd as real_udevd
from tests.support.lab.usb import Usb

_IN_MACHINE = find_spec("hypothesis") is None

if not _IN_MACHINE:
    from hypothesis import settings

    # For `make mutants`: the same few examples for every mutant.
    settings.register_profile("mutants", max_examples=25, derandomize=True, database=None, deadline=None)
    # A busy machine takes longer with an example: that is no failure, and pytest-timeout ends what hangs.
    settings.register_profile("patient", deadline=None)
    settings.load_profile("patient")


class StartDaemon(Protocol):
    """A daemon on the session's server."""

    def __call__(
        self, rules: str | Mapping[str, str], environment: Mapping[str, str] | None = None
    ) -> Daemon: ...


def pytest_configure() -> None:
    # Ctrl-C is pytest's own.
    clean_up_when_told_to_end(Signals.SIGTERM, Signals.SIGHUP)
    # Where the environment says that no bytecode is written, each of some thousand commands would compile all
    # that it imports, which is a third of its time.
    if not _IN_MACHINE:
        compile_dir(str(Path(__file__).parents[1] / "hotplugd"), quiet=2)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of several processes none waits for the others before the last tests."""
    if hasattr(config, "workerinput"):
        items.sort(key=_is_alone)


def _is_alone(item: pytest.Item) -> bool:
    return item.get_closest_marker("alone") is not None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """A test marked `alone` has the machine to itself, where several processes run tests, and one marked
    `pools` the pools of the host.

    Around pytest-timeout's: waiting for another test is not a test's own time.
    """
    alone, pools = _is_alone(item), item.get_closest_marker("pools") is not None
    with in_turn("machine", 0, alone=alone), in_turn("pools", 0, alone=True) if pools else nullcontext():
        if alone or pools:
            pools_are_nobodys()
        return (yield)


@pytest.fixture(scope="session")
def root() -> None:
    """Fails rather than skips: a run that proved nothing should not look like one that did."""
    if os.geteuid() != 0:
        pytest.fail(
            "these tests need root: they start a server and plug devices of the kernel's", pytrace=False
        )


@pytest.fixture(scope="session")
def udevd(root: None) -> Iterator[None]:
    with real_udevd():
        yield


@pytest.fixture(scope="session")
def server(root: None, udevd: None) -> Iterator[Server]:
    with Server() as started:
        yield started


@pytest.fixture
def plugs() -> Iterator[ExitStack]:
    """What is unplugged after the test, once its containers are gone.

    Where no daemon runs any more udevd takes the links of a pulled device away, and a server that stops the
    device's instance just then hangs for good (README, known limits).
    """
    with ExitStack() as undo:
        yield undo


@pytest.fixture
def own_server(root: None, udevd: None, plugs: ExitStack) -> Iterator[Server]:
    """A server of this test's own, to kill, stop and freeze."""
    with Server() as started:
        yield started


@pytest.fixture
def launch(server: Server, plugs: ExitStack) -> Iterator[Callable[..., Container]]:
    """Launches containers; takes the same arguments as Server.launch. All containers go after the test."""
    yield server.launch
    for container in server.containers():
        container.delete()


@pytest.fixture
def container(launch: Callable[..., Container]) -> Container:
    """One that runs."""
    return launch()


@pytest.fixture
def containers(launch: Callable[..., Container]) -> tuple[Container, Container]:
    """Two that run."""
    return launch(), launch()


@pytest.fixture
def console(root: None, udevd: None, plugs: ExitStack) -> Console:
    """A console that is not plugged yet."""
    one = Console()
    plugs.callback(one.close)
    return one


@pytest.fixture
def consoles(root: None, udevd: None, plugs: ExitStack) -> Callable[[int], list[Console]]:
    """Reserves several consoles, not plugged yet."""

    def reserve(count: int) -> list[Console]:
        found = [Console() for _ in range(count)]
        for each in found:
            plugs.callback(each.close)
        return found

    return reserve


@pytest.fixture
def zram(root: None, udevd: None, plugs: ExitStack) -> Zram:
    """A compressed memory disk that is not plugged yet."""
    disk = Zram()
    plugs.callback(disk.close)
    return disk


@pytest.fixture
def veth(root: None, udevd: None, plugs: ExitStack) -> Veth:
    """A network interface that is not plugged yet."""
    interface = Veth()
    plugs.callback(interface.close)
    return interface


@pytest.fixture
def usb(root: None) -> Iterator[Usb]:
    """A made-up USB bus with nothing plugged in."""
    with Usb() as bus:
        yield bus


@pytest.fixture(scope="session")
def commands() -> Iterator[Commands]:
    """hotplugd's commands without the time for imports, which is most of theirs."""
    with Quick(command()) as one:
        yield one


@pytest.fixture
def daemon(server: Server, commands: Commands) -> Iterator[StartDaemon]:
    """Starts daemons, with the rules given; each is ready when the call returns, and ends with the test."""
    with ExitStack() as undo:

        def start(rules: str | Mapping[str, str], environment: Mapping[str, str] | None = None) -> Daemon:
            return undo.enter_context(Daemon(server.socket, rules, environment, commands=commands))

        yield start


@pytest.fixture(scope="session")
def project() -> Path:
    """The project's folder."""
    return Path(__file__).parents[1]
