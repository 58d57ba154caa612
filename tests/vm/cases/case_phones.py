"""Phones into containers, as adb and fastboot in there see them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tests.conftest import StartDaemon
from tests.support.lab.container import Container
from tests.support.lab.wait import eventually
from tests.support.phones import Hub, Mode, Phone
from tests.support.phones.containers import (
    DEADLINE,
    adb,
    adb_devices,
    arrives,
    fastboot_devices,
    leaves,
    usb_nodes,
)

Launch = Callable[..., Container]

BY_SERIAL = """
rules:
  - name: first
    match: {serial: AAA1}
    attach: {to: c1}
  - name: second
    match: {serial: BBB2}
    attach: {to: c2}
"""


def lists(container: Container, expected: dict[str, str]) -> bool:
    return adb_devices(container) == expected


def holds(container: Container, expected: set[str]) -> bool:
    return usb_nodes(container) == expected


def test_a_phone_by_vendor_product_and_serial(hub: Hub, launch: Launch, daemon: StartDaemon) -> None:
    here, elsewhere = launch("c1"), launch("c2")
    daemon("""
        rules:
          - name: pixel
            match: {id: "18d1:4ee7", serial: AAA1}
            attach: {to: c1}
    """)
    phone = Phone("AAA1")
    node = arrives(here, hub.plug(phone))
    eventually(lambda: adb_devices(here) == {"AAA1": "device"}, DEADLINE, pause=0.2)
    assert adb_devices(elsewhere) == {}
    assert usb_nodes(elsewhere) == set()
    assert adb(here, "-s", "AAA1", "shell", "getprop", "ro.serialno") == "AAA1\n"
    assert phone.commands == ["getprop ro.serialno"]
    hub.unplug(phone)
    leaves(here, node)
    eventually(lambda: adb_devices(here) == {}, DEADLINE, pause=0.2)


def test_two_of_one_model_and_each_container_only_ever_sees_its_own(
    hub: Hub, launch: Launch, daemon: StartDaemon
) -> None:
    homes = {"AAA1": launch("c1"), "BBB2": launch("c2")}
    daemon(BY_SERIAL)
    phones = {serial: Phone(serial) for serial in homes}
    seen: dict[str, set[str]] = {serial: set() for serial in homes}
    own: dict[str, set[str]] = {serial: set() for serial in homes}
    for cycle in range(20):
        order = list(homes) if cycle % 2 else list(reversed(homes))
        ports = {serial: hub.plug(phones[serial]) for serial in order}
        for serial, port in ports.items():
            own[serial].add(arrives(homes[serial], port))
            seen[serial] |= usb_nodes(homes[serial])
        if cycle % 10 == 0:
            for serial, home in homes.items():
                eventually(partial(lists, home, {serial: "device"}), DEADLINE, pause=0.2)
        for serial in order:
            hub.unplug(phones[serial])
        for home in homes.values():
            eventually(partial(holds, home, set()), DEADLINE, pause=0.02)
    assert seen == own


def test_adb_to_the_bootloader_and_back(hub: Hub, launch: Launch, daemon: StartDaemon) -> None:
    home = launch("c1")
    launch("c2")
    daemon(BY_SERIAL)
    port = hub.plug(Phone("AAA1"))
    before = arrives(home, port)
    eventually(lambda: adb_devices(home) == {"AAA1": "device"}, DEADLINE, pause=0.2)
    adb(home, "reboot", "bootloader")
    eventually(lambda: fastboot_devices(home) == {"AAA1"}, DEADLINE, pause=0.2)
    assert before not in usb_nodes(home)
    assert home.run("/usr/bin/fastboot", "reboot").code == 0
    eventually(lambda: adb_devices(home) == {"AAA1": "device"}, DEADLINE, pause=0.2)
    adb(home, "reboot")
    eventually(lambda: adb_devices(home) == {"AAA1": "device"}, DEADLINE, pause=0.2)


def test_a_composite_phone(hub: Hub, launch: Launch, daemon: StartDaemon) -> None:
    home = launch("c1")
    daemon(BY_SERIAL.replace("c2", "c1"))
    phone = Phone("AAA1", Mode.MTP_ADB)
    arrives(home, hub.plug(phone))
    eventually(lambda: adb_devices(home) == {"AAA1": "device"}, DEADLINE, pause=0.2)
    phone.switch(Mode.MTP)
    eventually(lambda: adb_devices(home) == {}, DEADLINE, pause=0.2)
    eventually(lambda: len(usb_nodes(home)) == 1, DEADLINE)


def test_one_that_is_authorised_later(hub: Hub, launch: Launch, daemon: StartDaemon) -> None:
    home = launch("c1")
    daemon(BY_SERIAL.replace("c2", "c1"))
    phone = Phone("AAA1", authorised=False)
    arrives(home, hub.plug(phone))
    eventually(lambda: adb_devices(home) == {"AAA1": "unauthorized"}, DEADLINE, pause=0.2)
    phone.authorise()
    eventually(lambda: adb_devices(home) == {"AAA1": "device"}, DEADLINE, pause=0.2)


def test_one_that_is_pulled_while_it_is_used(hub: Hub, launch: Launch, daemon: StartDaemon) -> None:
    home = launch("c1")
    running = daemon(BY_SERIAL.replace("c2", "c1"))
    phone = Phone("AAA1")
    node = arrives(home, hub.plug(phone))
    eventually(lambda: adb_devices(home) == {"AAA1": "device"}, DEADLINE, pause=0.2)
    hanging = "HOME=/root /usr/bin/adb shell hang >/dev/null 2>&1 </dev/null; echo it ended >/tmp/said"
    assert home.run("sh", "-c", f"({hanging}) >/dev/null 2>&1 </dev/null &").code == 0
    eventually(lambda: phone.commands == ["hang"], DEADLINE)
    hub.unplug(phone)
    leaves(home, node)
    eventually(lambda: home.run("cat", "/tmp/said").output == "it ended\n", DEADLINE, pause=0.2)
    arrives(home, hub.plug(phone))
    eventually(lambda: adb_devices(home) == {"AAA1": "device"}, DEADLINE, pause=0.2)
    assert running.status()["problems"] == []
