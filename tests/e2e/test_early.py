"""A phone that goes in before udevd has processed it, and what follows once it has.

With umockdev both groups of the uevent socket get each message. What udevd has not processed has no file in
its database.
"""

from __future__ import annotations

import pytest

from tests.conftest import StartDaemon
from tests.support.lab.container import Container
from tests.support.lab.udevd import SLOTS
from tests.support.lab.uevents import listening
from tests.support.lab.usb import Phone, Plugged, Usb
from tests.support.lab.wait import eventually, steadily

pytestmark = pytest.mark.pools

RULES = """
rules:
  - {{name: phones, match: {{serial: AAA, vendor_id: 18d1}}, attach: {{to: {box}, mode: "0660"}}}}
  - {{name: models, match: {{property: {{ID_MODEL: "*"}}}}, attach: {{to: {box}, mode: "0660"}}}}
"""


def numbered(plugged: Plugged, number: str) -> str:
    """What our udev rule calls the enumeration."""
    return f"c-189-{plugged.minor}-boot-{number}"


def inside(container: Container, plugged: Plugged) -> bool:
    seen = container.look(plugged.node)
    return seen is not None and seen.number == f"c 189:{plugged.minor}"


def test_it_goes_in_at_once_and_stays_whatever_udevd_says(
    container: Container, usb: Usb, daemon: StartDaemon
) -> None:
    known = usb.plug(Phone(serial="KNOWN"), "1")
    usb.change(known, HOTPLUGD_SLOT=numbered(known, "1"))
    running = daemon(RULES.format(box=container), usb.environment)
    with listening(container.pid) as ear:
        phone = usb.plug(Phone(serial="AAA"), "2", processed=False)
        waits = usb.plug(Phone(serial="BBB"), "3", processed=False)
        eventually(lambda: inside(container, phone))
        assert ear.actions(phone.node) == []
        prefix = f"c-189-{phone.minor}-"
        (number,) = {
            path.name.partition(".")[0].rpartition("-")[2]
            for path in SLOTS.iterdir()
            if path.name.startswith(prefix)
        }
        lies = {"ID_SERIAL_SHORT": "OTHER", "ID_VENDOR_ID": "dead", "ID_MODEL": "Pixel"}
        usb.change(phone, "add", HOTPLUGD_SLOT=numbered(phone, number), **lies)
        eventually(lambda: ear.actions(phone.node) == ["add kernel", "add libudev"])
    assert not inside(container, waits)
    usb.change(waits, "add", HOTPLUGD_SLOT=numbered(waits, "999"), ID_MODEL="Pixel")
    eventually(lambda: inside(container, waits))
    steadily(lambda: inside(container, phone), 0.5)
    assert [each["event"] for each in running.changes()] == ["device.add", "device.add"]
    assert running.status()["problems"] == []
    usb.unplug(phone)
    eventually(lambda: container.look(phone.node) is None)


def test_without_our_udev_rule_it_waits(container: Container, usb: Usb, daemon: StartDaemon) -> None:
    running = daemon(RULES.format(box=container), usb.environment)
    phone = usb.plug(Phone(serial="AAA"), "2", processed=False)
    steadily(lambda: container.look(phone.node) is None, 0.5)
    usb.change(phone, "add")
    eventually(lambda: inside(container, phone))
    eventually(lambda: len(running.changes()) == 1)


def test_what_somebody_asks_the_kernel_to_say_again_is_no_plug(
    container: Container, usb: Usb, daemon: StartDaemon
) -> None:
    known = usb.plug(Phone(serial="KNOWN"), "1")
    usb.change(known, HOTPLUGD_SLOT=numbered(known, "1"))
    phone = usb.plug(Phone(serial="AAA"), "2", processed=False)
    running = daemon(RULES.format(box=container), usb.environment)
    usb.announce(phone, SYNTH_UUID="0")
    usb.announce(phone, SYNTH_UUID="8d2ac4a6-1d5c-4b0e-8f3a-3a4b5c6d7e8f")
    for action in ("change", "bind"):
        usb.announce(phone, action)
    steadily(lambda: container.look(phone.node) is None, 0.5)
    assert running.changes() == []
    usb.announce(phone)
    eventually(lambda: inside(container, phone))


POOL = """
pools: {{android: {{instances: "{box}", per_instance: 1, keep: 60s}}}}
rules: [{{name: phones, match: {{vendor_id: 18d1}}, attach: {{pool: android, mode: "0660"}}}}]
"""


def test_a_pools_phone_goes_in_at_once_and_comes_back_at_once(
    container: Container, usb: Usb, daemon: StartDaemon
) -> None:
    known = usb.plug(Phone(vendor="0403", serial="KNOWN"), "1")
    usb.change(known, HOTPLUGD_SLOT=numbered(known, "1"))
    running = daemon(POOL.format(box=container), usb.environment)
    for _ in range(2):
        phone = usb.plug(Phone(serial="A1"), "2", processed=False)
        eventually(lambda phone=phone: inside(container, phone))  # type: ignore[misc]
        usb.unplug(phone)
        eventually(lambda phone=phone: container.look(phone.node) is None)  # type: ignore[misc]
    changes = ["device.add", "device.remove"] * 2
    eventually(lambda: [each["event"] for each in running.changes()] == changes)
