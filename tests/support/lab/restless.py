"""Devices and containers that never rest, each in a process of its own for as long as its context lasts."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

from tests.support.lab.api import Api
from tests.support.lab.container import Container
from tests.support.lab.kernel import Console
from tests.support.lab.server import Server

Disturber = Callable[[Server, Container, Console], AbstractContextManager[None]]

_LOOP: Final = "import tests.support.lab.restless as each, sys; each.{}(*sys.argv[1:])"


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
