"""Wireless interfaces, which leave the host with their radio, and interfaces that the kernel keeps."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import StartDaemon
from tests.support.lab.container import Container
from tests.support.lab.udevd import settle
from tests.support.lab.wait import eventually
from tests.support.phones.containers import once_it_is_free
from tests.vm.cases.case_interfaces import attached, messages

Launch = Callable[..., Container]

DEADLINE = 60.0
WLAN1 = "rules:\n  - {name: wifi, match: {subsystem: net, kernel: wlan1}, attach: {to: c1}}\n"
WITHOUT_IW = "which the server has the program `iw` do, and there is none"


def run(*words: str) -> None:
    subprocess.run(words, check=True)


@pytest.fixture
def radios(udevd: None) -> Iterator[None]:
    """wlan0 and wlan1, each with a radio of its own."""
    run("modprobe", "mac80211_hwsim", "radios=2")
    settle()
    yield
    # All interfaces are back once the containers are gone.
    run("modprobe", "--remove", "mac80211_hwsim")


@pytest.fixture
def mon1(radios: None) -> None:
    """wlan1's radio has another interface."""
    run("iw", "dev", "wlan1", "interface", "add", "mon1", "type", "monitor")
    settle()


@pytest.fixture
def no_iw() -> Iterator[None]:
    """The program is not installed."""
    program = shutil.which("iw")
    assert program is not None
    os.rename(program, f"{program}.away")
    yield
    os.rename(f"{program}.away", program)


def inside(container: Container) -> set[str]:
    return set(container.run("ls", "/sys/class/net").output.split()) - {"lo", "bonding_masters"}


def ours(container: Container) -> list[str]:
    return [name for name in container.devices if name.startswith("hp-")]


def on_host(name: str) -> bool:
    return Path("/sys/class/net", name).exists()


def test_one_goes_in_by_its_name_and_comes_back(radios: None, launch: Launch, daemon: StartDaemon) -> None:
    container = launch("c1")
    running = daemon(WLAN1)
    eventually(lambda: attached(running) == {"wlan1": True}, DEADLINE)
    assert inside(container) == {"wlan1"}
    assert on_host("wlan0")
    assert not on_host("wlan1")
    assert not messages(running)
    assert container.run("ls", "/sys/class/ieee80211").output.split() == ["phy1"]
    container.stop()
    eventually(lambda: on_host("wlan1"), DEADLINE)
    once_it_is_free(container.start)
    eventually(lambda: inside(container) == {"wlan1"}, DEADLINE)
    eventually(lambda: attached(running) == {"wlan1": True}, DEADLINE)
    running.write_rules(WLAN1.replace("wlan1", "wlan7"))
    running.reload()
    eventually(lambda: on_host("wlan1") and not inside(container), DEADLINE)
    assert not messages(running)


def test_one_of_several_of_a_radio_is_kept_until_it_is_the_only_one(
    mon1: None, launch: Launch, daemon: StartDaemon
) -> None:
    container = launch("c1")
    running = daemon(WLAN1)
    why = "its radio has mon1 too, and leaves with all its interfaces"
    eventually(lambda: why in messages(running), DEADLINE)
    assert on_host("wlan1")
    run("iw", "dev", "mon1", "del")
    eventually(lambda: inside(container) == {"wlan1"}, DEADLINE)


def test_with_force_all_of_a_radio_leave_and_come_back(
    mon1: None, launch: Launch, daemon: StartDaemon
) -> None:
    container = launch("c1")
    running = daemon(WLAN1.replace("{to: c1}", "{to: c1, force: true}"))
    eventually(lambda: inside(container) == {"wlan1", "mon1"}, DEADLINE)
    running.write_rules(WLAN1.replace("wlan1", "wlan7"))
    running.reload()
    eventually(lambda: on_host("wlan1") and on_host("mon1"), DEADLINE)


def test_without_iw_none_goes_in_and_that_is_said(
    radios: None, no_iw: None, launch: Launch, daemon: StartDaemon
) -> None:
    container = launch("c1")
    running = daemon(WLAN1)
    eventually(lambda: WITHOUT_IW in messages(running), DEADLINE)
    assert WITHOUT_IW in running.ask("explain", "wlan1").stdout
    assert not ours(container)
    assert on_host("wlan1")


@pytest.mark.parametrize(("module", "name"), [("sit", "sit0"), ("ip6_tunnel", "ip6tnl0"), ("", "vrf9")])
def test_what_the_kernel_keeps_is_told_before_it_is_tried(
    udevd: None, launch: Launch, daemon: StartDaemon, module: str, name: str
) -> None:
    container = launch("c1")
    if module:
        run("modprobe", module)
    else:
        run("ip", "link", "add", name, "type", "vrf", "table", "9")
    settle()
    try:
        running = daemon(WLAN1.replace("wlan1", name))
        why = "the kernel keeps it in the network namespace in which it was made"
        eventually(lambda: why in messages(running), DEADLINE)
        assert not ours(container)
    finally:
        run(*(["modprobe", "--remove", module] if module else ["ip", "link", "del", name]))
