"""Whoever makes an instance is not refused for our sake, however long that takes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.kernel import Console
from tests.support.lab.server import Server
from tests.support.lab.wait import eventually, steadily

# Over the second for which hotplugd leaves alone what was made.
_LONG = 1.3
# Logged of a request of ours that came while it was made.
_REFUSED = '"instance.problem"'


class SlowServer(Server):
    """One that takes until `go_on` to unpack an image or to copy a container, from `hold` on."""

    def __init__(self, folder: Path) -> None:
        self._hold = folder / "hold"
        for name in ("tar", "rsync"):
            real = shutil.which(name)
            assert real is not None, f"{name} is not installed"
            (folder / name).write_text(
                f'#!/bin/sh\nwhile [ -e {self._hold} ]; do sleep 0.01; done\nexec {real} "$@"\n'
            )
            (folder / name).chmod(0o755)
        path = f"PATH={folder}:{os.environ['PATH']}"
        super().__init__(within=("env", path))

    @contextmanager
    def held(self, what: Callable[[], Container]) -> Iterator[Callable[[], Container]]:
        """What makes a container is under way, and does not get on until the call that is given."""
        self._hold.touch()

        def go_on() -> Container:
            self._hold.unlink(missing_ok=True)
            return made.result()

        with ThreadPoolExecutor(1) as maker:
            made = maker.submit(what)
            try:
                yield go_on
            finally:
                self._hold.unlink(missing_ok=True)


@pytest.fixture
def server(root: None, udevd: None, plugs: ExitStack, tmp_path: Path) -> Iterator[SlowServer]:
    with SlowServer(tmp_path) as started:
        yield started


def rule(to: str, console: Console) -> str:
    match = f"{{subsystem: vc, kernel: vcsa{console.number}}}"
    return f"rules:\n  - {{name: a, match: {match}, attach: {{to: {to}}}}}\n"


def is_known(server: Server, name: str) -> bool:
    return name in {each.name for each in server.containers()}


def ours(container: Container) -> list[str]:
    return [name for name in container.devices if name.startswith("hp-")]


@pytest.mark.parametrize("long", [0.0, _LONG, 3 * _LONG])
def test_what_is_made_can_be_started_at_once_and_has_its_devices_then(
    server: SlowServer, console: Console, long: float
) -> None:
    console.plug()
    with Daemon(server.socket, rule("ci", console)) as running:
        with server.held(lambda: server.launch("ci", start=False)) as go_on:
            eventually(lambda: is_known(server, "ci"))
            steadily(lambda: not running.status()["attachments"], long)
            made = go_on()
        made.start()
        eventually(lambda: made.look(console.node))
        assert _REFUSED not in running.log()


def test_what_is_made_and_not_started_gets_its_devices_a_second_later(
    server: SlowServer, console: Console
) -> None:
    console.plug()
    with Daemon(server.socket, rule("ci", console)) as running:
        with server.held(lambda: server.launch("ci", start=False)) as go_on:
            eventually(lambda: is_known(server, "ci"))
            steadily(lambda: not running.status()["attachments"], _LONG)
            made = go_on()
        steadily(lambda: not ours(made), 0.3)
        eventually(lambda: ours(made))
        assert _REFUSED not in running.log()


def test_what_a_copy_has_of_another_goes_a_second_after_it_was_made(
    server: SlowServer, console: Console
) -> None:
    console.plug()
    one = server.launch("one")
    with Daemon(server.socket, rule("one", console)) as running:
        eventually(lambda: ours(one))
        eventually(lambda: not running.status()["pending"])
        with server.held(lambda: one.copy("two")) as go_on:
            eventually(lambda: is_known(server, "two"))
            steadily(lambda: running.status()["attachments"], _LONG)
            copy = go_on()
        steadily(lambda: ours(copy), 0.3)
        eventually(lambda: not ours(copy))
        assert _REFUSED not in running.log()
