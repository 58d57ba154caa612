"""The host's software is told to leave alone what goes along with what a rule takes."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest

from tests.conftest import StartDaemon
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.wait import eventually
from tests.vm.machine import DEADLINE, Disk, Machine, UsbAdapter

Launch = Callable[..., Container]

_RULES = Path("/run/udev/rules.d")
MAC = "52:54:00:12:34:57"


@pytest.fixture
def lent() -> Iterator[Callable[[Daemon], None]]:
    """Gives udevd for the time of a test what a daemon has written."""

    def lend(running: Daemon) -> None:
        _RULES.mkdir(parents=True, exist_ok=True)
        for made in (running.folder / "udev").iterdir():
            (_RULES / made.name).write_text(made.read_text())
        subprocess.run(["udevadm", "control", "--reload"], check=True)

    yield lend
    for each in _RULES.glob("*-hotplugd-leave.rules"):
        each.unlink()
    subprocess.run(["udevadm", "control", "--reload"], check=True)


def properties(path: Path) -> dict[str, str]:
    done = subprocess.run(
        ["udevadm", "info", "--query=property", str(path)], capture_output=True, text=True, check=False
    )
    return dict(line.partition("=")[::2] for line in done.stdout.splitlines())


def is_ignored(disk: Path) -> bool:
    return properties(disk).get("UDISKS_IGNORE") == "1"


def test_it_is_told_of_a_stick_s_partitions_and_of_an_adapter_s_interface(
    machine: Machine, launch: Launch, daemon: StartDaemon, lent: Callable[[Daemon], None]
) -> None:
    launch("c1")
    running = daemon(
        "rules:\n"
        "  - {name: stick, match: {serial: STICK1}, attach: {to: c1, with: [block, partition]}}\n"
        "  - {name: adapter, match: {id: '0525:a4a2'}, attach: {to: c1, with: net}}\n"
    )
    lent(running)
    running.stop()
    stick, adapter = Disk(machine, 1), UsbAdapter(machine, 2, MAC)
    stick.plug()
    adapter.plug()
    for pattern in ("block/sd*", "block/sd*/sd*1", "block/sd*/sd*2"):
        (found,) = (each for each in stick.find(pattern) if (each / "dev").exists())
        eventually(partial(is_ignored, found), DEADLINE)

    def unmanaged() -> Mapping[str, str]:
        # udevd may be about to rename it.
        found = [each for path in adapter.find("net/*") if (each := properties(path))]
        return next((each for each in found if each.get("NM_UNMANAGED") == "1"), {})

    assert eventually(unmanaged, DEADLINE)["ID_NET_MANAGED_BY"] == "hotplugd"
