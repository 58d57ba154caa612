"""Devices that others have by entries of their own: the device is really in both, and that is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import cast

import pytest

from tests.conftest import StartDaemon
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.kernel import Zram
from tests.support.lab.usb import Phone, Plugged, Usb
from tests.support.lab.wait import eventually, steadily

Problems = list[dict[str, str]]
FOREIGN = "its entry 'theirs', which is not ours"


def there(container: Container, phone: Plugged) -> bool:
    seen = container.look(phone.node)
    return seen is not None and seen.number == phone.number


def problems(running: Daemon) -> Problems:
    return cast("Problems", running.status()["problems"])


def planned(running: Daemon) -> Problems:
    document = json.loads(running.ask("plan", "--json").stdout)
    assert document["changes"] == []
    return cast("Problems", document["problems"])


def explained(running: Daemon, device: str) -> list[str]:
    document = json.loads(running.ask("explain", device, "--json").stdout)
    return [each["message"] for each in document["problems"]]


def logged(running: Daemon) -> list[str]:
    lines = [json.loads(line) for line in running.log().splitlines() if line.startswith("{")]
    return [each["reason"] for each in lines if each["event"] == "device.problem"]


def said(running: Daemon, device: str, message: str) -> bool:
    """Whether this alone is said of the device, by `status`, `plan` and `explain` and in the log."""
    found = problems(running)
    if [(each["device"], each["message"].startswith(message)) for each in found] != [(device, True)]:
        return False
    assert planned(running) == found
    assert explained(running, device) == [found[0]["message"]]
    assert logged(running)[-1] == found[0]["message"]
    return True


@pytest.fixture
def start(daemon: StartDaemon, usb: Usb, containers: tuple[Container, Container]) -> Callable[[], Daemon]:
    """Starts a daemon that puts phones into the first container."""
    rule = f"{{name: a, match: {{vendor_id: 18d1}}, attach: {{to: {containers[0]}}}}}"
    return lambda: daemon(f"rules:\n  - {rule}\n", usb.environment)


def takes(phone: Plugged) -> dict[str, str]:
    return {"type": "unix-char", "source": phone.node, "path": phone.node, "required": "false"}


def test_an_entry_for_a_phone_that_is_attached_elsewhere(
    containers: tuple[Container, Container], usb: Usb, start: Callable[[], Daemon]
) -> None:
    one, other = containers
    running, phone = start(), usb.plug(Phone(serial="AAA"), "1")
    eventually(lambda: there(one, phone))
    other.patch({"devices": {"theirs": takes(phone)}})
    assert there(other, phone)
    eventually(lambda: said(running, phone.node, f"it is in {one}, and {other} has it too, by {FOREIGN}"))
    assert there(one, phone)
    running.kill()
    running.start()
    eventually(lambda: said(running, phone.node, f"it is in {one}, and {other} has it too, by {FOREIGN}"))
    assert there(one, phone)
    other.remove_device("theirs")
    eventually(lambda: not problems(running))
    assert planned(running) == []
    assert explained(running, phone.node) == []
    assert there(one, phone)


def test_an_entry_that_was_there_first(
    containers: tuple[Container, Container], usb: Usb, start: Callable[[], Daemon]
) -> None:
    one, other = containers
    phone = usb.plug(Phone(serial="AAA"), "1")
    other.patch({"devices": {"theirs": takes(phone)}})
    running = start()
    eventually(lambda: said(running, phone.node, f"it belongs to {other} by {FOREIGN}"))
    steadily(lambda: there(other, phone) and not there(one, phone), 0.3)
    other.stop()
    eventually(lambda: there(one, phone))
    eventually(lambda: not problems(running))
    assert planned(running) == []
    assert explained(running, phone.node) == [
        f"{other}, which does not run, gets it too once it starts, by {FOREIGN}"
    ]
    other.start()
    assert there(other, phone)
    eventually(lambda: said(running, phone.node, f"it is in {one}, and {other} has it too, by {FOREIGN}"))
    other.delete()
    eventually(lambda: not problems(running))
    assert there(one, phone)


def test_who_does_not_run_keeps_no_phone_from_anybody(
    containers: tuple[Container, Container], usb: Usb, start: Callable[[], Daemon]
) -> None:
    one, other = containers
    other.stop()
    other.patch({"devices": {"theirs": {"type": "usb"}}})
    running = start()
    phones = [usb.plug(Phone(serial=serial), port) for serial, port in (("AAA", "1"), ("BBB", "2"))]
    eventually(lambda: all(there(one, each) for each in phones))
    assert problems(running) == []
    other.start()
    eventually(lambda: sorted(each["device"] for each in problems(running)) == [each.node for each in phones])
    assert all(f"{other} has it too" in each["message"] for each in problems(running))
    other.remove_device("theirs")
    eventually(lambda: not problems(running))


def test_a_profile_that_takes_every_usb_device(
    containers: tuple[Container, Container], usb: Usb, start: Callable[[], Daemon]
) -> None:
    one, other = containers
    api = other.api
    api.request("POST", "/1.0/profiles", {"name": "all-usb", "devices": {"theirs": {"type": "usb"}}})
    try:
        running, phone = start(), usb.plug(Phone(serial="AAA"), "1")
        eventually(lambda: there(one, phone))
        other.patch({"profiles": ["default", "all-usb"]})
        eventually(lambda: said(running, phone.node, f"it is in {one}, and {other} has it too, by {FOREIGN}"))
        assert problems(running)[0]["message"].endswith("; the entry comes from a profile")
        # One that is called so and is nothing takes its place.
        other.patch({"devices": {"theirs": {"type": "none"}}})
        eventually(lambda: not problems(running))
    finally:
        other.delete()
        api.request("DELETE", "/1.0/profiles/all-usb")


def test_a_disk_that_another_has_by_a_link(
    containers: tuple[Container, Container], zram: Zram, daemon: StartDaemon
) -> None:
    one, other = containers
    zram.plug()
    match = f"{{subsystem: block, kernel: zram{zram.number}}}"
    running = daemon(f"rules:\n  - {{name: a, match: {match}, attach: {{to: {one}}}}}\n")
    eventually(lambda: one.look(zram.node) is not None)
    number = one.look(zram.node)
    assert number is not None
    link = f"/dev/block/{number.major}:{number.minor}"
    other.patch({"devices": {"theirs": {"type": "unix-block", "source": link, "path": "/dev/x"}}})
    assert other.look("/dev/x") is not None
    eventually(lambda: said(running, zram.node, f"it is in {one}, and {other} has it too, by {FOREIGN}"))
    other.remove_device("theirs")
    eventually(lambda: not problems(running))
