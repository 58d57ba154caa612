"""There is no room in /dev for one more link.

hotplugd, and the server with it, has a /dev/hotplugd of its own here, so small that a few files fill it.

The script that people write does not fail here: it makes no links, and hands over whatever has a device's
number by the time the server looks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import cast

import pytest

from tests.faults.host import rules, there
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.kernel import Console
from tests.support.lab.server import Server
from tests.support.lab.wait import eventually

_LINKS = "/dev/hotplugd"


def within(inodes: int) -> tuple[str, ...]:
    """Words before a command: for it alone there is room for so many files in /dev/hotplugd."""
    mount = f'mkdir -p {_LINKS} && mount -t tmpfs -o nr_inodes={inodes} tmpfs {_LINKS} && exec "$@"'
    return ("unshare", "--mount", "sh", "-c", mount, "sh")


@contextmanager
def full(pid: int) -> Iterator[None]:
    """The folder that this process sees is full meanwhile."""
    folder = Path(f"/proc/{pid}/root{_LINKS}")
    made: list[Path] = []
    try:
        while True:
            made.append(folder / f".filler{len(made)}")
            made[-1].touch()
    except OSError:
        made.pop()
    assert made
    try:
        yield
    finally:
        for each in made:
            each.unlink()


@pytest.fixture
def crammed(root: None, udevd: None, plugs: ExitStack) -> Iterator[Server]:
    """A server for which there is room for so few files."""
    with Server(within=within(20)) as started:
        yield started
        for each in started.containers():
            each.delete()


def test_what_gets_no_link_is_a_problem_until_there_is_room(
    crammed: Server, consoles: Callable[[int], list[Console]]
) -> None:
    container = crammed.launch()
    before, meanwhile, goes = some = consoles(3)
    for each in (before, goes):
        each.plug()
    beside = ("nsenter", f"--mount=/proc/{crammed.pid}/ns/mnt")
    with Daemon(crammed.socket, rules(str(container), *some), within=beside) as running:
        eventually(lambda: there(container, before) and there(container, goes))
        with full(running.pid):
            meanwhile.plug()
            problems = eventually(lambda: cast("list[dict[str, str]]", running.status()["problems"]))
            assert [each["device"] for each in problems] == [meanwhile.node]
            assert f"its link in {_LINKS} cannot be made" in problems[0]["message"]
            assert "No space left on device" in problems[0]["message"]
            assert there(container, before)
            # What goes needs no room.
            goes.unplug()
            eventually(lambda: container.look(goes.node) is None)
        eventually(lambda: there(container, meanwhile), 60)
        eventually(running.is_fine)


def test_a_start_without_room_says_so_and_ends(
    server: Server, container: Container, consoles: Callable[[int], list[Console]]
) -> None:
    """The service manager starts it again every other second, as long as that takes."""
    (one,) = consoles(1)
    one.plug()
    with Daemon(server.socket, rules(str(container), one), within=within(2)) as running:
        assert running.stop() == 0
    running = Daemon(server.socket, rules(str(container), one), within=within(1))
    try:
        running.spawn()
        assert running.wait() == 1
        assert "No space left on device" in running.log()
        assert _LINKS in running.log()
    finally:
        running.close()
