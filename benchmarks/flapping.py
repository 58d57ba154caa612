"""One device or one container that never rests: what it costs the daemon, and another container's plug.

Each disturber runs beside a daemon of its own. A flap is a console that is plugged and pulled again every
40 ms or as fast as the kernel goes; a storm is some hundred events a second.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.figure import Figure
from benchmarks.live import rules
from benchmarks.watch import Watch
from tests.lab.api import Api
from tests.lab.container import Container
from tests.lab.daemon import Daemon
from tests.lab.kernel import Console
from tests.lab.server import Server
from tests.lab.udevd import udevd
from tests.soak.figures import cpu

_PLUGS: Final = 25
_PAUSE: Final = 0.15
_DEADLINE: Final = 10.0
# Until a limit holds.
_BEFORE: Final = 15.0
_LOOP: Final = "import benchmarks.flapping as each, sys; each.{}(*sys.argv[1:])"


Disturber = Callable[[Server, Container, Console], AbstractContextManager[None]]


@dataclass(frozen=True, slots=True)
class Cost:
    """Beside one disturber: the daemon's share of a processor, lines logged a second, and plugs in ms."""

    busy: float
    lines: float
    plug: float


def figures() -> list[Figure]:
    """What each disturber costs."""
    with udevd(), Server() as server:
        found = {name: measure(server, disturb) for name, disturb in DISTURBERS.items()}
    quiet = found.pop("nothing")
    made = []
    for name, cost in found.items():
        made += [
            Figure(f"{name}: CPU", "", "≤", 25, 100 * cost.busy, "%", f"{100 * quiet.busy:.1f} % without"),
            Figure(f"{name}: log", "", "≤", 1, cost.lines, "lines a second"),
            Figure(
                f"{name}: another container's plug", "nothing", "≤", 2, cost.plug / quiet.plug,
                absolute=f"{cost.plug:.1f} ms against {quiet.plug:.1f} ms",
            ),
        ]  # fmt: skip
    return made


def measure(server: Server, disturb: Disturber) -> Cost:
    """What one disturber costs that has a container and a console of its own."""
    with ExitStack() as undo:
        homes = [server.launch() for _ in range(2)]
        consoles = [undo.enter_context(Console()) for _ in homes]
        for home in homes:
            undo.callback(home.delete)
        places = {f"vcsa{each.number}": str(home) for each, home in zip(consoles, homes, strict=True)}
        daemon = undo.enter_context(Daemon(server.socket, rules(places)))
        watch = undo.enter_context(Watch(homes[1:]))
        undo.enter_context(disturb(server, homes[0], consoles[0]))
        time.sleep(_BEFORE)
        start, spent, said = time.monotonic(), cpu(daemon.pid), len(daemon.log().splitlines())
        plugs = [_once(consoles[1], homes[1], watch) for _ in range(_PLUGS)]
        took = time.monotonic() - start
        mine = 2 * _PLUGS
        lines = len(daemon.log().splitlines()) - said - mine
        return Cost((cpu(daemon.pid) - spent) / took, lines / took, median(plugs) * 1000)


def _once(console: Console, home: Container, watch: Watch) -> float:
    console.unplug()
    assert not watch.until({console.node: home}, {}, _DEADLINE)
    time.sleep(_PAUSE)
    start = time.perf_counter()
    console.plug()
    number = f"c 7:{128 + console.number}"
    assert not watch.until({console.node: home}, {console.node: number}, _DEADLINE)
    took = time.perf_counter() - start
    time.sleep(_PAUSE)
    return took


# --- disturbers, each a process of its own ---------------------------------------------------------------


@contextmanager
def _nothing(_: Server, __: Container, ___: Console) -> Iterator[None]:
    yield


@contextmanager
def _loop(name: str, *words: object) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-c", _LOOP.format(name), *map(str, words)])
    try:
        yield
        assert process.poll() is None, f"{name} ended"
    finally:
        process.kill()
        process.wait()


def _flapping(_: Server, __: Container, console: Console) -> AbstractContextManager[None]:
    return _loop("flap", console.number, 0.02)


def _storming(_: Server, __: Container, console: Console) -> AbstractContextManager[None]:
    return _loop("flap", console.number, 0)


def _changing(_: Server, __: Container, console: Console) -> AbstractContextManager[None]:
    return _loop("change", console.syspath)


def _mounting(_: Server, home: Container, __: Console) -> AbstractContextManager[None]:
    return _loop("mount", home.pid)


def _editing(server: Server, home: Container, _: Console) -> AbstractContextManager[None]:
    return _loop("edit", server.socket, home.name)


def _unmounting(_: Server, home: Container, console: Console) -> AbstractContextManager[None]:
    return _loop("unmount", home.pid, console.node)


DISTURBERS: Final[dict[str, Disturber]] = {
    "nothing": _nothing,
    "flapping device": _flapping,
    "device that flaps at full speed": _storming,
    "storm of changes of a device": _changing,
    "storm of mounts in a container": _mounting,
    "storm of edits of a container": _editing,
    "container that takes its node out": _unmounting,
}


def flap(number: str, pause: str) -> None:
    """Plug and pull a console."""
    console = object.__new__(Console)
    console.number, console.syspath = int(number), f"/sys/devices/virtual/vc/vcsa{number}"
    while True:
        console.unplug()
        time.sleep(float(pause))
        console.plug()
        time.sleep(float(pause))


def change(syspath: str) -> None:
    """Have the kernel say that a device changed."""
    while True:
        (Path(syspath) / "uevent").write_text("change")
        time.sleep(0.001)


def mount(pid: str) -> None:
    """Mount and unmount inside."""
    libc = _enter(pid)
    while True:
        libc.mount(b"none", b"/mnt", b"tmpfs", 0, None)
        libc.umount2(b"/mnt", 0)
        time.sleep(0.001)


def unmount(pid: str, path: str) -> None:
    """Take a node out whenever it is there."""
    libc = _enter(pid)
    while True:
        libc.umount2(path.encode(), 2)
        time.sleep(0.005)


def edit(socket: str, name: str) -> None:
    """Edit a container, over and over."""
    home = Container(Api(Path(socket)), name)
    number = 0
    while True:
        number += 1
        home.patch({"config": {"user.number": str(number)}})


def _enter(pid: str) -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    space = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY)
    root = os.open(f"/proc/{pid}/root", os.O_PATH)
    assert libc.setns(space, 0) == 0, os.strerror(ctypes.get_errno())
    os.fchdir(root)
    os.chroot(".")
    return libc
