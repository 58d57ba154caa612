"""What the host begins to use is heard of from the real kernel."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hotplugd.host.use_watch import HostWatch
from tests.support.lab.kernel import Zram
from tests.support.lab.udevd import settle

pytestmark = pytest.mark.usefixtures("root")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """Where to mount something, which is gone after the test."""
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=False, capture_output=True)


def run(*words: str | Path) -> Callable[[], object]:
    return lambda: subprocess.run(words, check=True, capture_output=True)


async def heard(*happens: Callable[[], object]) -> list[bool]:
    """Whether each of these is heard of, one after the other."""
    told = asyncio.Event()
    watch = HostWatch(told.set)
    watch.start()
    found = []
    try:
        for each in happens:
            # What others do on this machine is over.
            while True:
                told.clear()
                try:
                    await asyncio.wait_for(told.wait(), 1.0)
                except TimeoutError:
                    break
            each()
            try:
                await asyncio.wait_for(told.wait(), 10.0)
            except TimeoutError:
                found.append(False)
            else:
                found.append(True)
    finally:
        watch.stop()
    return found


def test_mounts_and_their_end_are_heard_of(place: Path) -> None:
    mount, umount = run("mount", "-t", "tmpfs", "none", place), run("umount", place)
    assert asyncio.run(heard(mount, umount, mount)) == [True, True, True]


@pytest.mark.usefixtures("udevd")
def test_swap_space_and_its_end_are_heard_of(zram: Zram) -> None:
    zram.plug()
    settle()
    Path(zram.syspath, "disksize").write_text("16M")
    run("mkswap", zram.node)()
    settle()
    on, off = run("swapon", zram.node), run("swapoff", zram.node)
    try:
        assert asyncio.run(heard(on, off, on)) == [True, True, True]
    finally:
        off()


def test_routes_and_addresses_are_heard_of() -> None:
    route = ("198.51.100.0/24", "table", "7342")
    add, remove = run("ip", "route", "add", "blackhole", *route), run("ip", "route", "del", *route)
    assert asyncio.run(heard(add, remove)) == [True, True]


def test_listening_costs_nothing_and_leaves_nothing(place: Path) -> None:
    before = sorted(os.listdir("/proc/self/fd"))

    started = time.process_time()
    asyncio.run(heard(run("mount", "-t", "tmpfs", "none", place)))
    assert time.process_time() - started < 0.5
    assert sorted(os.listdir("/proc/self/fd")) == before
