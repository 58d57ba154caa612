"""Network interfaces that share everything but their names: two channels of one CAN adapter."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from tests.conftest import StartDaemon
from tests.support.lab.api import ServerError
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.wait import eventually
from tests.support.phones import CanAdapter, Hub
from tests.support.phones.containers import once_it_is_free

Launch = Callable[..., Container]

DEADLINE = 60.0
BY_ID = "rules:\n  - {name: can, match: {subsystem: net, id: '1d50:606f'}, attach: {to: c1}}\n"
ONE_NAME = BY_ID.replace("{to: c1}", "{to: c1, name: can0}")
EACH = (
    "rules:\n"
    "  - {name: one, match: {subsystem: net, kernel: can0, id: '1d50:606f'}, attach: {to: c1}}\n"
    "  - {name: two, match: {subsystem: net, kernel: can1, id: '1d50:606f'}, attach: {to: c2}}\n"
)


@pytest.fixture
def adapter(hub: Hub) -> CanAdapter:
    """One that is not plugged in yet."""
    subprocess.run(["modprobe", "gs_usb"], check=True)
    return CanAdapter()


def cans(container: Container) -> dict[str, int]:
    """The CAN interfaces inside, and the numbers of their folders."""
    script = "cd /sys/class/net; for x in *; do [ $(cat $x/type) = 280 ] && stat -L -c '%n %i' $x; done"
    found = (line.split() for line in container.run("sh", "-c", script).output.splitlines())
    return {name: int(number) for name, number in found}


def on_host() -> dict[str, int]:
    return {each.name: each.stat().st_ino for each in Path("/sys/class/net").glob("can*")}


def set_up(bitrate: int = 125000) -> None:
    """Give the channels on the host what they need to be brought up."""
    for name in on_host():
        subprocess.run(["ip", "link", "set", name, "type", "can", "bitrate", str(bitrate)], check=True)


def messages(running: Daemon) -> str:
    return " ".join(
        str(each["message"]) for each in cast("list[dict[str, str]]", running.status()["problems"])
    )


def attached(running: Daemon) -> dict[str, object]:
    found = cast("list[dict[str, object]]", running.status()["attachments"])
    return {str(each["device"]): each["verified"] for each in found}


def done(running: Daemon) -> int:
    return len(running.changes())


def plug(hub: Hub, adapter: CanAdapter) -> dict[str, int]:
    hub.plug(adapter)
    return eventually(lambda: found if len(found := on_host()) == 2 else {}, DEADLINE)


def test_both_channels_go_into_one_container_and_come_back(
    hub: Hub, adapter: CanAdapter, launch: Launch, daemon: StartDaemon
) -> None:
    one = launch("c1")
    folders = plug(hub, adapter)
    running = daemon(BY_ID)
    eventually(lambda: cans(one) == folders, DEADLINE)
    eventually(lambda: attached(running) == {"can0": True, "can1": True}, DEADLINE)
    assert not on_host()
    assert not messages(running)
    assert done(running) == 2
    # As another daemon finds them.
    running.kill()
    again = daemon(BY_ID)
    eventually(lambda: attached(again) == {"can0": True, "can1": True}, DEADLINE)
    assert done(again) == 0
    assert "nothing to change" in again.ask("plan").stdout
    again.write_rules("rules:\n  - {name: off, match: {subsystem: net, id: '1d50:606f'}, ignore: true}\n")
    again.reload()
    eventually(lambda: on_host() == folders, DEADLINE)
    assert not cans(one)


def test_each_goes_to_a_container_of_its_own_and_after_a_replug_again(
    hub: Hub, adapter: CanAdapter, launch: Launch, daemon: StartDaemon
) -> None:
    one, two = launch("c1"), launch("c2")
    running = daemon(EACH)
    for _ in range(2):
        hub.plug(adapter)
        eventually(lambda: (list(cans(one)), list(cans(two))) == (["can0"], ["can1"]), DEADLINE)
        eventually(lambda: attached(running) == {"can0": True, "can1": True}, DEADLINE)
        assert not messages(running)
        hub.unplug(adapter)
        eventually(lambda: not cans(one) and not cans(two), DEADLINE)
    eventually(lambda: "its hardware went while it was in c1" in messages(running), DEADLINE)


@pytest.mark.variant
def test_of_two_for_one_name_the_second_is_a_problem(
    hub: Hub, adapter: CanAdapter, launch: Launch, daemon: StartDaemon
) -> None:
    one = launch("c1")
    folders = plug(hub, adapter)
    running = daemon(ONE_NAME)
    eventually(lambda: list(cans(one)) == ["can0"], DEADLINE)
    (inside,) = cans(one).values()
    first = next(name for name, number in folders.items() if number == inside)
    eventually(lambda: attached(running) == {first: True}, DEADLINE)
    eventually(lambda: f"can0 in c1 is taken by {first}" in messages(running), DEADLINE)
    assert len(on_host()) == 1


def starts(container: Container) -> bool:
    """Whether it could be started; else for a reason that is no other request's."""
    try:
        once_it_is_free(container.start)
    except ServerError:
        return False
    return True


def test_one_that_keeps_its_container_down_is_out_until_that_runs(
    hub: Hub, adapter: CanAdapter, launch: Launch, daemon: StartDaemon
) -> None:
    one = launch("c1")
    folders = plug(hub, adapter)
    running = daemon(BY_ID)
    eventually(lambda: attached(running) == {"can0": True, "can1": True}, DEADLINE)
    one.stop()
    eventually(lambda: on_host() == folders, DEADLINE)
    # Without a bit rate the kernel does not bring it up: "bit-timing not yet defined".
    assert not starts(one)
    eventually(lambda: "could not be started with its entry 'hp-" in messages(running), DEADLINE)
    eventually(lambda: not [name for name in one.devices if name.startswith("hp-")], DEADLINE)
    assert starts(one)
    # By their folders: the server leaves those that it could not give back with names like physXXXXXX.
    eventually(lambda: sorted(cans(one).values()) == sorted(folders.values()), DEADLINE)
    eventually(lambda: list(attached(running).values()) == [True, True], DEADLINE)
    eventually(lambda: "could not be started" not in messages(running), DEADLINE)
    for name in cans(one).keys() - folders.keys():
        assert f"left it under the name {name}" in messages(running)


@pytest.mark.variant
def test_set_up_on_the_host_both_are_there_at_each_start(
    hub: Hub, adapter: CanAdapter, launch: Launch, daemon: StartDaemon
) -> None:
    one = launch("c1")
    folders = plug(hub, adapter)
    set_up()
    running = daemon(BY_ID)
    eventually(lambda: attached(running) == {"can0": True, "can1": True}, DEADLINE)
    one.stop()
    eventually(lambda: on_host() == folders, DEADLINE)
    assert starts(one)
    assert cans(one) == folders
    eventually(lambda: attached(running) == {"can0": True, "can1": True}, DEADLINE)
    assert done(running) == 2
    # Renamed on the host while it is stopped, it is the same one.
    one.stop()
    eventually(lambda: on_host() == folders, DEADLINE)
    subprocess.run(["ip", "link", "set", "can1", "name", "can7"], check=True)
    eventually(lambda: attached(running) == {"can0": None, "can7": None}, DEADLINE)
    assert starts(one)
    eventually(lambda: cans(one) == {"can0": folders["can0"], "can7": folders["can1"]}, DEADLINE)
    eventually(lambda: attached(running) == {"can0": True, "can7": True}, DEADLINE)
