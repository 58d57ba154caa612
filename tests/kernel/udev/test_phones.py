"""Made-up USB devices through the adapter, and what rules make of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from hotplugd.host.sysfs import boot
from hotplugd.model.values import Device
from hotplugd.rules import keys
from hotplugd.rules.ruleset import RuleSet
from tests.kernel.udev.listen import Listening
from tests.support.devices import rule, ruleset
from tests.support.lab.usb import FASTBOOT, SERIAL, Phone, Plugged, Usb

HUB = Phone("1d6b", "0002", interfaces=("09:00:00",), device_class="09")
Listen = Callable[..., Listening]


@pytest.fixture
def listen(usb: Usb) -> Iterator[Listen]:
    """Starts processes that see the made-up bus. The last one hears what happens there, and no other."""
    with ExitStack() as undo:
        yield lambda *attrs: undo.enter_context(Listening(usb, attrs))


def forget(usb: Usb, plugged: Plugged) -> None:
    """udev's database loses the device."""
    for root in (Path("/"), usb.root):
        (root / "run/udev/data" / f"c{plugged.major}:{plugged.minor}").unlink(missing_ok=True)


def taken_by(rules: RuleSet, device: Device) -> str:
    found = rules.decide(device)
    return found.rule.name if found is not None else ""


class TestPhones:
    def test_a_phone_in_the_bootloader_is_another_product_at_the_same_port(
        self, usb: Usb, listen: Listen
    ) -> None:
        rules = ruleset(
            rule("{id: '18d1:4ee7', interface: 'ff:42:01'}", "{to: box}", "adb"),
            rule("{id: '18d1:4ee0', interface: 'ff:42:03'}", "{to: box}", "fastboot"),
        )
        listening = listen()
        first = usb.plug(Phone(serial="1A"), "1")
        adb = listening.until(lambda: listening.heard.devices.get(first.syspath))
        usb.unplug(first)
        second = usb.plug(Phone(product="4ee0", serial="1A", interfaces=(FASTBOOT,)), "1")
        assert second.syspath == first.syspath
        listening.until(lambda: listening.heard.of(first.syspath) == ["device", "no_device", "device"])
        fastboot = listening.heard.devices[second.syspath]
        assert adb is not None
        assert (taken_by(rules, adb), taken_by(rules, fastboot)) == ("adb", "fastboot")
        assert (adb.node, fastboot.node) == (first.node, second.node)
        assert adb.slot != fastboot.slot
        assert keys.PORT.values(adb) == keys.PORT.values(fastboot)
        assert keys.SERIAL.values(adb) == keys.SERIAL.values(fastboot) == ("1A",)

    def test_without_our_rule_a_slot_is_named_by_the_folder_in_sysfs(self, usb: Usb, listen: Listen) -> None:
        there = usb.plug(Phone(serial="1A"), "1")
        listening = listen()
        coming = usb.plug(Phone(serial="2B"), "2")
        listening.until(lambda: coming.syspath in listening.heard.devices)
        for each in (there, coming):
            device = listening.heard.devices[each.syspath]
            inode = Path(f"{usb.root}{each.syspath}").stat().st_ino
            assert device.slot == f"c-189-{each.minor}-{boot()}-i{inode}"
        again = listen()
        for each in (there, coming):
            assert again.heard.devices[each.syspath].slot == listening.heard.devices[each.syspath].slot

    def test_one_socket_has_two_ports_and_a_rule_may_name_either(self, usb: Usb, listen: Listen) -> None:
        phone = usb.plug(Phone(serial="1A"), "1")
        folder = Path(f"{usb.root}{phone.syspath}")
        (folder / "hub-port").mkdir()
        (folder / "port").symlink_to("hub-port")
        (folder / "hub-port/peer").symlink_to(f"/sys/bus/usb/hub/usb{usb.bus + 1}-port1")
        device = listen().heard.devices[phone.syspath]
        assert keys.PORT.values(device) == (f"{usb.bus}-1", f"{usb.bus + 1}-1")
        for port in (usb.bus, usb.bus + 1):
            assert taken_by(ruleset(rule(f"{{port: '{port}-1'}}", "{to: box}", "it")), device) == "it"
        assert taken_by(ruleset(rule(f"{{port: '{usb.bus + 2}-1'}}", "{to: box}")), device) == ""

    def test_the_peer_below_a_hub_is_called_by_the_hubs_own_port(self, usb: Usb, listen: Listen) -> None:
        usb.plug(HUB, "4")
        phone = usb.plug(Phone(serial="1A"), "4.2")
        folder = Path(f"{usb.root}{phone.syspath}")
        (folder / "hub-port").mkdir()
        (folder / "port").symlink_to("hub-port")
        (folder / "hub-port/peer").symlink_to(f"../../{usb.bus + 1}-4-port2")
        assert keys.PORT.values(listen().heard.devices[phone.syspath]) == (
            f"{usb.bus}-4.2",
            f"{usb.bus + 1}-4.2",
        )

    def test_strings_of_a_device_come_through_as_they_are(self, usb: Usb, listen: Listen) -> None:
        listening = listen("product")
        phone = usb.plug(Phone(serial="../é\x1b[31m", properties={"ID_MODEL": "a=b  c"}), "1")
        device = listening.until(lambda: listening.heard.devices.get(phone.syspath))
        assert device is not None
        assert device.properties["ID_MODEL"] == "a=b  c"
        assert device.attrs["serial"] == "../é\x1b[31m"
        assert listening.heard.lost == []


class TestBelow:
    def test_a_hub_is_above_what_hangs_from_it_and_takes_it_along(self, usb: Usb, listen: Listen) -> None:
        rules = ruleset(
            rule("{vendor_id: '18d1', parent: {id: '1d6b:0002', port: '*-4'}}", "{to: box}", "it")
        )
        listening = listen()
        hub = usb.plug(HUB, "4")
        below, beside = usb.plug(Phone(serial="1A"), "4.2"), usb.plug(Phone(serial="2B"), "5")
        listening.until(lambda: {below.syspath, beside.syspath} <= set(listening.heard.devices))
        devices = listening.heard.devices
        assert taken_by(rules, devices[below.syspath]) == "it"
        assert taken_by(rules, devices[beside.syspath]) == ""
        assert [each.kernel for each in devices[below.syspath].ancestors()] == [
            f"{usb.bus}-4",
            f"usb{usb.bus}",
            "0000:00:14.0",
        ]
        usb.unplug(hub)
        listening.until(lambda: not {hub.syspath, below.syspath} & set(listening.heard.devices))
        assert beside.syspath in listening.heard.devices

    def test_a_tty_has_the_values_of_the_cable_that_it_is_on(self, usb: Usb, listen: Listen) -> None:
        listening = listen()
        cable = usb.plug_serial(Phone("0403", "6001", "A5", (SERIAL,)), "3", f"ttyUSB{usb.bus}")
        (tty,) = cable.below
        device = listening.until(lambda: listening.heard.devices.get(tty.syspath))
        assert device is not None
        assert (device.subsystem, device.node) == ("tty", f"/dev/ttyUSB{usb.bus}")
        assert device.usb is not None
        assert device.usb.syspath == cable.syspath
        wanted = "{subsystem: tty, id: '0403:6001', port: '*-3', parent: {driver: ftdi_sio}}"
        assert taken_by(ruleset(rule(wanted, "{to: box}", "it")), device) == "it"

    def test_what_udevd_says_anew_of_a_device_is_said_of_those_below_it(
        self, usb: Usb, listen: Listen
    ) -> None:
        cable = usb.plug_serial(Phone("0403", "6001", "A5", (SERIAL,)), "3", f"ttyUSB{usb.bus}")
        other = usb.plug_serial(Phone("0403", "6001", "A6", (SERIAL,)), "31", f"ttyUSB{usb.bus + 1}")
        tty, others = cable.below[0].syspath, other.below[0].syspath
        listening = listen()
        before = listening.heard.devices[tty]
        usb.change(cable, ID_MODEL="renamed")
        listening.until(lambda: listening.heard.of(tty))
        after = listening.heard.devices[tty]
        assert after.usb is not None
        assert after.usb.properties["ID_MODEL"] == "renamed"
        assert after.slot == before.slot
        assert listening.heard.of(tty) == ["device"]
        assert listening.heard.of(others) == []

    def test_attributes_that_rules_ask_for_are_read_of_what_is_above_too(
        self, usb: Usb, listen: Listen
    ) -> None:
        cable = usb.plug_serial(Phone("0403", "6001", "A5", (SERIAL,)), "3", f"ttyUSB{usb.bus}")
        listening = listen()
        for asked, seen in ((["busnum"], {"busnum": str(usb.bus)}), (["none"], {})):
            listening.list(*asked)
            above = listening.heard.devices[cable.below[0].syspath].usb
            assert above is not None
            assert {key: value for key, value in above.attrs.items() if key in ("busnum", "none")} == seen

    def test_what_changes_of_a_hub_is_said_of_the_phones_at_it(self, usb: Usb, listen: Listen) -> None:
        hub = usb.plug(HUB, "4")
        phone = usb.plug(Phone(serial="1A"), "4.2")
        listening = listen()
        usb.change(hub, ID_MODEL="renamed")
        listening.until(lambda: listening.heard.of(phone.syspath))
        (above, *_) = listening.heard.devices[phone.syspath].ancestors()
        assert above.properties["ID_MODEL"] == "renamed"


class TestDatabase:
    """udevd's, which says whether it has processed a device and what it found."""

    def test_a_device_that_udevd_has_not_processed_is_none_yet(self, usb: Usb, listen: Listen) -> None:
        phone, other = usb.plug(Phone(serial="1A"), "1"), usb.plug(Phone(serial="2B"), "2")
        forget(usb, phone)
        listening = listen()
        assert phone.syspath not in listening.heard.devices
        assert other.syspath not in listening.heard.unprocessed
        seen = listening.heard.unprocessed[phone.syspath]
        assert (seen.node, seen.subsystem, seen.slot) == (phone.node, "usb", "")
        assert seen.devnum is not None
        assert (seen.devnum.major, seen.devnum.minor) == (phone.major, phone.minor)
        usb.change(phone, ID_MODEL="known")
        device = listening.until(lambda: listening.heard.devices.get(phone.syspath))
        assert device is not None
        assert device.properties["ID_MODEL"] == "known"

    def test_a_database_that_is_lost_takes_no_device_away(self, usb: Usb, listen: Listen) -> None:
        listening = listen()
        phone = usb.plug(Phone(serial="1A"), "1")
        before = listening.until(lambda: listening.heard.devices.get(phone.syspath))
        forget(usb, phone)
        for _ in range(2):
            listening.list()
            assert listening.heard.devices[phone.syspath] == before
            assert phone.syspath not in listening.heard.unprocessed
        usb.unplug(phone)
        listening.until(lambda: phone.syspath not in listening.heard.devices)

    def test_a_database_that_comes_back_brings_no_other_slot(self, usb: Usb, listen: Listen) -> None:
        listening = listen()
        phone = usb.plug(Phone(serial="1A"), "1")
        before = listening.until(lambda: listening.heard.devices.get(phone.syspath))
        forget(usb, phone)
        listening.list()
        usb.change(phone, ID_MODEL="again")
        listening.until(lambda: listening.heard.devices[phone.syspath] != before)
        listening.list()
        after = listening.heard.devices[phone.syspath]
        assert before is not None
        assert (after.slot, after.properties["ID_MODEL"]) == (before.slot, "again")
