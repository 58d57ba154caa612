"""Which interfaces are in a network namespace, by the sysfs that is mounted there."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hotplugd.container.net_folders import folders
from hotplugd.model.values import Interface

Run = Callable[[str], dict[str, Interface]]
_UP = "mount -t sysfs sysfs /sys; ip link add name lan0 type veth peer name far0"


@pytest.fixture
def run(root: None) -> Iterator[Run]:
    """Runs a script in namespaces of its own, and tells which interfaces are seen there then."""
    children: list[subprocess.Popen[bytes]] = []

    def seen(script: str) -> dict[str, Interface]:
        words = ["unshare", "--net", "--mount", "sh", "-ec", f"{script}; echo up; exec cat"]
        child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        children.append(child)
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"
        descriptor = os.open(f"/proc/{child.pid}/root", os.O_PATH | os.O_DIRECTORY)
        try:
            return folders(descriptor, ["lan0", "../../..", "", "nobody"])
        finally:
            os.close(descriptor)

    yield seen
    for child in children:
        child.communicate()


def numbers(found: dict[str, Interface]) -> set[int]:
    return {each.number for each in found.values()}


def test_those_inside_and_not_the_hosts(run: Run) -> None:
    found = run(_UP)
    assert {"lo", "lan0", "far0"} <= found.keys()
    assert len(numbers(found)) == len(found)
    assert all(each.above == each.number for each in found.values())
    assert {each.above_at for each in found.values()} == {"/sys/devices/virtual"}
    # Not by their names: the host has a `lo`, too.
    assert found["lo"].number != Path("/sys/class/net/lo").stat().st_ino


def test_a_new_name_is_the_same_one(run: Run) -> None:
    script = f"{_UP}; stat -L -c %i /sys/class/net/lan0 > /proc/self/fd/2; ip link set lan0 name wan7"
    found = run(script)
    assert "lan0" not in found
    assert found["wan7"].number


@pytest.mark.parametrize(
    "hidden",
    [
        "umount /sys; mount -t tmpfs none /sys",
        "mount -t tmpfs none /sys; mkdir -p /sys/class/net /sys/devices/virtual/net/lan0",
        "mount -t tmpfs none /sys/class",
        "mount -t tmpfs none /sys/class/net; ln -s ../../devices/virtual/net/lo /sys/class/net/lan0",
        "mount -t tmpfs none /sys/class/net; ln -s ../../devices/../../../.. /sys/class/net/lan0",
    ],
)
def test_what_is_no_sysfs_shows_nothing(run: Run, hidden: str) -> None:
    assert run(f"{_UP}; {hidden}") == {}


def test_what_is_mounted_over_one_folder_hides_that_one_alone(run: Run) -> None:
    over = "mount -t tmpfs none /sys/devices/virtual/net/lan0"
    found = run(f"{_UP}; {over}")
    assert "lan0" not in found
    assert "far0" in found


def test_a_folder_over_another_is_the_one_that_is_shown(run: Run) -> None:
    found = run(f"{_UP}; mount --bind /sys/devices/virtual/net/far0 /sys/devices/virtual/net/lan0")
    assert found["lan0"].number == found["far0"].number
