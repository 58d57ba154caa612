"""`hotplugd devices`: what rules can see, under the names that rules have for it."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hotplugd.rules.keys import KEYS
from tests.e2e.cli.conftest import Configure
from tests.support.lab.commands import Commands
from tests.support.lab.daemon import Daemon
from tests.support.lab.kernel import Console
from tests.support.lab.nobody import as_nobody
from tests.support.lab.udevd import settle
from tests.support.lab.usb import ADB, SERIAL, Phone, Plugged, Usb

_RULE = "rules:\n  - {name: attr, match: {attr: {busnum: '*'}}, ignore: true}\n"
_HOSTILE = "1A\x1b[31m\u202e\x07{}'\"|*"
_ESCAPED = "1A\\x1b[31m\\u202e\\x07{}'\"|*"


@pytest.fixture
def made(usb: Usb, commands: Commands) -> Iterator[Daemon]:
    """Commands that see the made-up bus. They need no server."""
    made = Daemon(usb.root / "none", _RULE, usb.environment, commands=commands)
    yield made
    made.close()


def listed(made: Daemon, *words: str) -> dict[str, dict[str, Any]]:
    """The devices by their node."""
    done = made.ask("devices", "--json", *words)
    assert (done.returncode, done.stderr) == (0, "")
    return {each["device"]: each for each in json.loads(done.stdout)}


class TestJson:
    def test_a_phone_has_all_that_it_says_of_itself(self, usb: Usb, made: Daemon) -> None:
        usb.plug(Phone("1d6b", "0002", interfaces=("09:00:00",), device_class="09"), "4")
        phone = usb.plug(Phone("18D1", "4ee7", "1A-1", (ADB, "08:06:50"), properties={"ID_X": "y"}), "4.2")
        found = listed(made)[phone.node]
        parents, properties = found.pop("parents"), found.pop("property")
        name = f"{usb.bus}-4.2"
        assert found == {
            "subsystem": "usb", "devtype": "usb_device", "kernel": name, "driver": "usb",
            "id": "18d1:4ee7", "vendor_id": "18d1", "product_id": "4ee7", "serial": "1A-1",
            "port": [name], "path": "pci-0000:00:14.0-usb-0:4.2", "interface": [ADB, "08:06:50"],
            "attr": {
                "idVendor": "18D1", "idProduct": "4ee7", "serial": "1A-1", "bDeviceClass": "00",
                "busnum": str(usb.bus),
            },
            "rule": "attr",
            "device": phone.node, "identity": "serial:1A-1", "syspath": phone.syspath,
            "model": found["model"], "instances": [], "missing": [], "override": None, "pool": "",
        }  # fmt: skip
        assert (properties["ID_X"], properties["ID_SERIAL_SHORT"]) == ("y", "1A-1")
        assert [each["kernel"] for each in parents] == [f"{usb.bus}-4", f"usb{usb.bus}", "0000:00:14.0"]

    def test_what_hangs_from_a_usb_device_has_its_values_too(self, usb: Usb, made: Daemon) -> None:
        cable = usb.plug_serial(Phone("0403", "6001", "A5", (SERIAL,)), "2", f"ttyUSB{usb.bus}")
        found = listed(made)[cable.below[0].node]
        assert (found["subsystem"], found["id"], found["serial"]) == ("tty", "0403:6001", "A5")
        assert (found["port"], found["interface"]) == ([f"{usb.bus}-2"], [SERIAL])
        assert [each["subsystem"] for each in found["parents"]] == ["usb-serial", "usb", "usb", "usb", "pci"]
        assert found["parents"][0]["driver"] == "ftdi_sio"
        assert found["rule"] is None

    def test_what_a_device_does_not_say_is_left_out(self, usb: Usb, made: Daemon) -> None:
        phone = usb.plug(Phone(interfaces=()), "3")
        found = listed(made)[phone.node]
        assert {"serial", "interface"}.isdisjoint(found)
        assert found["identity"] == f"port:{usb.bus}-3"

    def test_a_rule_of_everything_that_is_listed_matches(self, usb: Usb, made: Daemon) -> None:
        phone = usb.plug(Phone(serial="1A-1", interfaces=(ADB, SERIAL)), "4")
        found = listed(made)[phone.node]
        keys = [key.name for key in KEYS if key.name not in ("mac", "location")]  # of interfaces, and of hubs
        assert set(keys) <= set(found)
        match = {key: found[key] for key in (*keys, "property", "attr")}
        match["parent"] = {key: found["parents"][0][key] for key in ("subsystem", "kernel", "property")}
        made.write_rules(json.dumps({"rules": [{"name": "all", "match": match, "ignore": True}]}))
        done = made.ask("explain", phone.node, "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["rules"][0]["failed"] is None

    def test_hostile_strings_come_through_as_they_are(self, usb: Usb, made: Daemon) -> None:
        phone = usb.plug(Phone(serial=_HOSTILE), "4")
        assert listed(made)[phone.node]["serial"] == _HOSTILE


class TestTable:
    def test_each_device_has_a_line_below_the_names_of_the_keys(self, usb: Usb, made: Daemon) -> None:
        phone = usb.plug(Phone(serial="1A-1", interfaces=(ADB, SERIAL)), "4")
        done = made.ask("devices")
        assert (done.returncode, done.stderr) == (0, "")
        head, *lines = done.stdout.splitlines()
        assert head.lower().split() == [
            "device", "rule", "instance", "subsystem", "kernel", "driver", "id", "serial", "port", "path",
            "interface", "mac",
        ]  # fmt: skip
        (line,) = (each for each in lines if each.startswith(phone.node))
        name = f"{usb.bus}-4"
        assert line.split() == [
            phone.node, "attr", "usb", name, "usb", "18d1:4ee7", "1A-1", name, "pci-0000:00:14.0-usb-0:4",
            ADB, SERIAL,
        ]  # fmt: skip

    def test_hostile_strings_are_escaped(self, usb: Usb, made: Daemon) -> None:
        usb.plug(Phone(serial=_HOSTILE), "4")
        done = made.ask("devices")
        assert _ESCAPED in done.stdout
        assert set(filter(str.isprintable, done.stdout)) | {"\n"} == set(done.stdout)

    def test_a_machine_without_devices_has_an_empty_list(self, usb: Usb, made: Daemon) -> None:
        for node in list(listed(made)):
            usb.unplug(_root_hub(usb, node))
        assert listed(made) == {}
        done = made.ask("devices")
        assert (done.returncode, done.stdout) == (0, "")


def _root_hub(usb: Usb, node: str) -> Plugged:
    hub = usb._there[f"usb{usb.bus}"]
    assert hub.node == node
    return hub


def test_virtual_devices_are_shown_when_asked_for(console: Console, configure: Configure) -> None:
    console.plug()
    made = configure(_RULE)
    done = made.ask("devices")
    assert re.search(
        r"^not shown: \d+ virtual or PCI devices; --all shows them too$", done.stdout, re.MULTILINE
    )
    assert console.node not in done.stdout
    assert set(console.nodes) <= set(listed(made, "--all"))


@pytest.mark.usefixtures("udevd")
def test_it_needs_no_root(console: Console) -> None:
    console.plug()
    settle()
    with tempfile.TemporaryDirectory(prefix="hpr-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        Path(folder, "rules.yaml").write_text(_RULE)
        config = Path(folder, "config.yaml")
        config.write_text(f"rules: {folder}/rules.yaml\n")
        done = as_nobody("devices", "--all", "--json", "--config", config)
    assert (done.returncode, done.stderr) == (0, "")
    assert console.node in {each["device"] for each in json.loads(done.stdout)}
