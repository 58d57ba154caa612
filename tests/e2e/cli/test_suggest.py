"""`hotplugd suggest` and `record`: rules from devices that are there, and devices for rules elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.lab.commands import Commands
from tests.support.lab.daemon import Daemon
from tests.support.lab.usb import ADB, SERIAL, Phone, Usb


@pytest.fixture
def made(usb: Usb, commands: Commands) -> Iterator[Daemon]:
    """Commands that see the made-up bus. They need no server."""
    made = Daemon(usb.root / "none", "rules: []\n", usb.environment, commands=commands)
    yield made
    made.close()


def test_what_is_suggested_takes_the_device_and_nothing_else(usb: Usb, made: Daemon) -> None:
    phone = usb.plug(Phone(serial="1A-1", interfaces=(ADB,)), "4")
    usb.plug(Phone(serial="2B-2", interfaces=(ADB,)), "5")
    cable = usb.plug_serial(Phone("0403", "6001", "A5", (SERIAL,)), "2", f"ttyUSB{usb.bus}")
    for device in (phone.node, cable.below[0].node):
        done = made.ask("suggest", device, "--to", "ci-1")
        assert (done.returncode, done.stderr) == (0, "")
        made.write_rules(done.stdout)
        taken = json.loads(made.ask("devices", "--json", "--instance", "ci-1").stdout)
        assert [each["device"] for each in taken] == [device]
        assert taken[0]["missing"] == ["ci-1"]
    done = made.ask("suggest", phone.node, "--json")
    first, *others = json.loads(done.stdout)["suggestions"]
    assert first["match"]["serial"] == ["1A-1"]
    assert others


def test_a_device_is_named_as_explain_takes_it(usb: Usb, made: Daemon) -> None:
    usb.plug(Phone(serial="1A-1"), "4")
    assert made.ask("suggest", "1A-1").returncode == 0
    done = made.ask("suggest", "9Z")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no device 9Z is plugged in" in done.stderr


def test_recorded_devices_get_what_real_ones_would(usb: Usb, made: Daemon, tmp_path: Path) -> None:
    phone = usb.plug(Phone(serial="1A-1", interfaces=(ADB,)), "4")
    made.write_rules("rules: [{name: p, match: {interface: 'ff:42:01', port: '*-4'}, attach: {to: ci-1}}]\n")
    file = tmp_path / "farm.json"
    done = made.ask("record", str(file))
    assert (done.returncode, done.stderr) == (0, "")
    assert file.stat().st_mode & 0o777 == 0o600
    real = {
        each["device"]: each["rule"] for each in json.loads(made.ask("devices", "--all", "--json").stdout)
    }
    usb.unplug(phone)
    done = made.ask("check", "--devices", str(file), "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["devices"]
    assert {each["device"]: each["rule"] for each in found} == real
    (one,) = (each for each in found if each["device"] == phone.node)
    assert one["places"] == [{"instance": "ci-1", "path": phone.node}]
    assert (one["serial"], one["port"]) == ("1A-1", f"{usb.bus}-4")


def test_devices_without_udevs_database_are_told(usb: Usb, made: Daemon) -> None:
    phone = usb.plug(Phone(serial="1A-1"), "4")
    for root in (Path("/"), usb.root):
        (root / f"run/udev/data/c{phone.major}:{phone.minor}").unlink()
    done = made.ask("devices")
    assert "that udevd has not processed; `udevadm trigger` asks for them" in done.stdout
    assert phone.node not in done.stdout


def test_check_tells_a_rule_with_udevs_values_what_the_device_says(usb: Usb, made: Daemon) -> None:
    phone = usb.plug(Phone(serial="AB CD"), "4")
    usb.change(phone, ID_SERIAL_SHORT="AB_CD", ID_VENDOR_ID="dead")
    rule = "- {{name: {name}, match: {{{match}}}, attach: {{to: ci-1}}}}\n"
    matches = {"a": "serial: AB_CD", "b": "vendor_id: dead", "c": "serial: 'AB CD'", "d": "vendor_id: 18d1"}
    made.write_rules(
        "rules:\n" + "".join(rule.format(name=name, match=each) for name, each in matches.items())
    )
    done = made.ask("check")
    assert done.returncode == 0
    assert "rule 'a' asks for the serial 'AB_CD', as udev writes it, and the device that is" in done.stderr
    assert "rule 'b' asks for the vendor_id 'dead'" in done.stderr
    assert "write '18d1'; udev's is `property: {ID_VENDOR_ID: 'dead'}`" in done.stderr
    assert "2 warnings" in done.stdout
