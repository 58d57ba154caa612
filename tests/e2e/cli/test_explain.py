"""`hotplugd explain`: what each rule makes of a device, where it goes, and what holds it up."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import StartDaemon
from tests.e2e.cli.conftest import Configure
from tests.support.lab.commands import Commands
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.kernel import Console
from tests.support.lab.usb import Phone, Usb
from tests.support.lab.wait import eventually


def explained(made: Daemon, device: object) -> dict[str, Any]:
    done = made.ask("explain", str(device), "--json")
    assert (done.returncode, done.stderr) == (0, "")
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def rules(*written: str) -> str:
    return "rules:\n" + "".join(f"  - {each}\n" for each in written)


def takes(console: Console, to: object, name: str = "screen") -> str:
    return f"{{name: {name}, match: {{subsystem: vc, kernel: vcsa{console.number}}}, attach: {{to: {to}}}}}"


@pytest.fixture
def apart(usb: Usb, commands: Commands) -> Iterator[Daemon]:
    """Commands that see the made-up bus, and no server."""
    made = Daemon(usb.root / "none", rules(), usb.environment, commands=commands)
    yield made
    made.close()


class TestWhichDevice:
    @pytest.fixture
    def made(self, apart: Daemon) -> Daemon:
        apart.write_rules(rules("{name: one, match: {serial: 1A}, ignore: true}"))
        return apart

    def test_a_device_has_five_kinds_of_names(self, usb: Usb, made: Daemon, tmp_path: Path) -> None:
        phone = usb.plug(Phone(serial="1A"), "4")
        usb.plug(Phone(serial="2B"), "5")
        link = tmp_path / "phone"
        link.symlink_to(phone.node)
        for name in (phone.node, link, phone.syspath, f"{usb.bus}-4", "1A"):
            assert explained(made, name)["device"] == phone.node

    def test_one_that_is_not_there_is_told(self, made: Daemon) -> None:
        done = made.ask("explain", "9-9", "--json")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(
            "hotplugd: no device 9-9 is plugged in: expected a node, a path in /sys"
        )
        assert len(done.stderr.splitlines()) == 1

    def test_one_of_two_of_the_same_name_is_named_by_its_place(self, usb: Usb, made: Daemon) -> None:
        cable = usb.plug_serial(Phone("0403", "6001", "A5"), "2", f"{usb.bus}-2")
        tty = cable.below[0]
        done = made.ask("explain", f"{usb.bus}-2")
        assert (done.returncode, done.stdout) == (1, "")
        assert f"2 devices are called {usb.bus}-2; name one by its node or path:" in done.stderr
        assert f"  {cable.node} (serial A5, " in done.stderr
        assert cable.syspath in done.stderr
        assert tty.syspath in done.stderr
        assert explained(made, tty.syspath)["device"] == tty.node

    def test_one_that_udevd_has_not_processed_is_told(self, usb: Usb, made: Daemon) -> None:
        phone = usb.plug(Phone(serial="1A"), "4")
        for root in (Path("/"), usb.root):
            (root / f"run/udev/data/c{phone.major}:{phone.minor}").unlink()
        done = made.ask("explain", phone.node)
        assert done.returncode == 1
        assert "udevd has not processed it" in done.stderr


class TestRules:
    def test_each_rule_tells_its_first_failed_condition(self, usb: Usb, apart: Daemon) -> None:
        phone = usb.plug(Phone(serial="1A"), "4")
        apart.write_rules(
            rules(
                "{name: tty, match: {subsystem: tty}, ignore: true}",
                "{name: other, match: {vendor_id: 18d1, serial: 2B, port: 9-9}, ignore: true}",
                "{name: above, match: {parent: {driver: ehci*}}, ignore: true}",
                "{name: never, match: {not: {serial: 1*}}, ignore: true}",
                "{name: mine, match: {serial: 1A}, attach: {to: c1}}",
                "{name: later, match: {vendor_id: 18d1}, ignore: true}",
            )
        )
        document = explained(apart, phone.node)
        file = str(apart.rules / "50-test.yaml")
        assert [(each["name"], each["file"], each["line"]) for each in document["rules"]] == [
            (name, file, line) for line, name in enumerate(("tty", "other", "above", "never", "mine"), 2)
        ]
        failed = [each["failed"] for each in document["rules"]]
        assert failed[0] == {"key": "subsystem", "wanted": "'tty'", "found": "'usb'"}
        assert failed[1] == {"key": "serial", "wanted": "'2B'", "found": "'1A'"}
        assert (failed[2]["key"], failed[2]["wanted"]) == ("parent.driver", "'ehci*'")
        assert failed[3]["key"] == "not"
        assert failed[4] is None
        assert (document["rule"], document["ignored"]) == ("mine", False)
        lines = apart.ask("explain", phone.node).stdout.splitlines()
        assert f"rule other ({file}:3): no; serial: wants '2B', has '1A'" in lines
        assert f"rule mine ({file}:6): matches" in lines
        assert not any("later" in line for line in lines)

    def test_where_none_matches_it_says_so(self, usb: Usb, apart: Daemon) -> None:
        phone = usb.plug(Phone(), "4")
        apart.write_rules(rules("{name: one, match: {serial: 1A}, attach: {to: c1}}"))
        document = explained(apart, phone.node)
        assert (document["rule"], document["ignored"], document["wants"]) == (None, False, [])
        assert document["rules"][0]["failed"]["found"] == "none"
        assert "no rule takes it" in apart.ask("explain", phone.node).stdout.splitlines()

    def test_one_that_ignores_it_is_the_last_word(self, usb: Usb, apart: Daemon) -> None:
        phone = usb.plug(Phone(), "4")
        apart.write_rules(
            rules(
                "{name: hands-off, match: {vendor_id: 18d1}, ignore: true}",
                "{name: all, match: {id: '*'}, attach: {to: c1}}",
            )
        )
        document = explained(apart, phone.node)
        assert (document["rule"], document["ignored"], document["wants"]) == ("hands-off", True, [])
        assert "rule hands-off ignores it" in apart.ask("explain", phone.node).stdout.splitlines()

    def test_guard_rails_are_told(self, usb: Usb, apart: Daemon) -> None:
        hub = usb.plug(Phone("1d6b", "0002", interfaces=("09:00:00",), device_class="09"), "4")
        apart.write_rules(rules("{name: all, match: {id: '*'}, attach: {to: c1}}"))
        problems = explained(apart, hub.node)["problems"]
        assert any("it is a USB hub" in each["message"] for each in problems)

    def test_hostile_strings_are_escaped(self, usb: Usb, apart: Daemon) -> None:
        phone = usb.plug(Phone(serial="1A\x1b[31m\u202e"), "4")
        apart.write_rules(rules("{name: other, match: {serial: 2B}, attach: {to: c1}}"))
        shown = apart.ask("explain", phone.node).stdout
        assert set(filter(str.isprintable, shown)) | {"\n"} == set(shown)
        assert "1A\\x1b[31m\\u202e" in shown


class TestFate:
    def test_without_a_server_it_says_what_rules_say_and_that(self, usb: Usb, apart: Daemon) -> None:
        phone = usb.plug(Phone(), "4")
        apart.write_rules(rules("{name: one, match: {vendor_id: 18d1}, attach: {to: c1, project: lab}}"))
        document = explained(apart, phone.node)
        (place,) = document["wants"]
        assert (place["project"], place["instance"], place["path"]) == ("lab", "c1", phone.node)
        (problem,) = document["problems"]
        assert problem["device"] == phone.node
        assert problem["message"].startswith("the server cannot be asked: LXD or Incus is not running: ")

    def test_all_of_it(self, container: Container, console: Console, configure: Configure) -> None:
        console.plug()
        made = configure(rules(takes(console, f"[{container}, lost]")))
        document = explained(made, console.node)
        names = {
            "subsystem", "kernel", "property", "attr", "device", "identity", "syspath", "parents",
            "rules", "rule", "along", "ignored", "wants", "attachments", "changes", "problems", "holders",
            "warnings", "holds", "model", "by", "instances", "missing", "override",
            "pool", "lease", "claims", "inside",
        }  # fmt: skip
        assert names == set(document)
        assert [each["instance"] for each in document["wants"]] == [str(container), "lost"]
        assert document["attachments"] == []
        ((change,), (problem,)) = document["changes"], document["problems"]
        assert (change["action"], change["instance"]) == ("add", str(container))
        assert "no instance 'lost'" in problem["message"]
        made.ask("run", "--once")
        document = explained(made, console.node)
        ((attachment,), changes) = document["attachments"], document["changes"]
        assert (attachment["device"], attachment["path"]) == (console.node, console.node)
        assert (attachment["instance"], attachment["rule"]) == (str(container), "screen")
        assert (attachment["verified"], changes) == (True, [])
        shown = made.ask("explain", console.node).stdout
        assert f"attached to default/{container}, seen inside" in shown

    def test_what_belongs_to_somebody_else_is_in_its_way(
        self, container: Container, console: Console, configure: Configure
    ) -> None:
        foreign = {"type": "unix-char", "source": "/dev/zero", "path": console.node}
        container.patch({"devices": {"theirs": foreign}})
        console.plug()
        made = configure(rules(takes(console, container)))
        document = explained(made, console.node)
        assert document["changes"] == []
        (problem,) = document["problems"]
        message = f"{console.node} in {container} belongs to its entry 'theirs', which is not ours"
        assert (problem["device"], problem["rule"], problem["message"]) == (console.node, "screen", message)

    def test_what_the_daemon_could_not_do_is_told(
        self, container: Container, console: Console, daemon: StartDaemon
    ) -> None:
        # A folder in its place with something in it: the server cannot make the node.
        container.run("mkdir", "-p", f"{console.node}/full")
        console.plug()
        running = daemon(rules(takes(console, container)))
        eventually(lambda: running.status()["problems"])
        document = explained(running, console.node)
        assert [each["action"] for each in document["changes"]] == ["add"]
        (problem,) = document["problems"]
        assert (problem["device"], problem["rule"]) == (console.node, "screen")
        assert str(container) in problem["message"]
        other = explained(running, "/dev/null" if os.path.exists("/sys/class/mem/null") else "/dev/zero")
        assert other["problems"] == []


class TestDrivers:
    """Interfaces of the device that drivers of the host have."""

    def warnings(
        self, usb: Usb, apart: Daemon, driver: str, module: str, attach: str = "{to: c1}"
    ) -> list[str]:
        receiver = usb.plug(Phone("0bda", "2838", serial="SDR"), "4")
        usb.bind(receiver, 0, driver, module)
        apart.write_rules(rules(f"{{name: radio, match: {{serial: SDR}}, attach: {attach}}}"))
        found: list[str] = explained(apart, receiver.node)["warnings"]
        return found

    def test_one_that_can_be_kept_off_is_named_with_its_module(self, usb: Usb, apart: Daemon) -> None:
        (told,) = self.warnings(usb, apart, "dvb_usb_rtl28xxu", "dvb_usb_rtl28xxu")
        assert told == (
            f"its interface {usb.bus}-4:1.0 is the host's driver's, dvb_usb_rtl28xxu: a program inside that "
            f"asks for that by libusb is told that it is busy, unless it detaches the driver itself; to keep "
            f"the driver off, write `blacklist dvb_usb_rtl28xxu` into /etc/modprobe.d/hotplugd.conf, run "
            f"`modprobe -r dvb_usb_rtl28xxu`, and plug the device in again"
        )

    @pytest.mark.parametrize(
        ("driver", "module", "way"),
        [
            ("usbhid", "usbhid", "`options usbhid quirks=0x0bda:0x2838:0x0004`"),
            ("usb-storage", "usb_storage", "`options usb-storage quirks=0bda:2838:i`"),
            ("uas", "uas", "`options usb-storage quirks=0bda:2838:i`"),
            (
                "cdc_acm",
                "cdc_acm",
                'a udev rule: ACTION=="bind", SUBSYSTEM=="usb", DRIVER=="cdc_acm", ATTRS{idVendor}=="0bda"',
            ),
            ("ftdi_sio", "", "/sys/bus/usb/drivers/ftdi_sio/unbind"),
        ],
    )
    def test_one_that_the_host_needs_is_kept_off_the_model_alone(
        self, usb: Usb, apart: Daemon, driver: str, module: str, way: str
    ) -> None:
        (told,) = self.warnings(usb, apart, driver, module)
        assert way in told

    def test_one_is_wanted_where_what_it_makes_goes_in(self, usb: Usb, apart: Daemon) -> None:
        cable = usb.plug_serial(Phone("0403", "6001", serial="FT"), "4", "ttyUSB97")
        usb.bind(cable, 0, "ftdi_sio", "ftdi_sio")
        apart.write_rules(rules("{name: a, match: {serial: FT}, attach: {to: c1}}"))
        assert len(explained(apart, cable.node)["warnings"]) == 1
        apart.write_rules(rules("{name: a, match: {serial: FT}, attach: {to: c1, with: tty}}"))
        assert explained(apart, cable.node)["warnings"] == []

    def test_that_of_a_serial_cable_is_named_and_not_what_serves_all_cables(
        self, usb: Usb, apart: Daemon
    ) -> None:
        cable = usb.plug_serial(Phone("0403", "6001", serial="FT"), "4", "ttyUSB97")
        interface = usb.bind(cable, 0, "ftdi_sio", "usbserial")
        port = Path(f"{usb.root}{interface}/ttyUSB97")
        (usb.root / "ftdi_sio").mkdir()
        (usb.root / "ftdi_sio/module").symlink_to("/sys/module/ftdi_sio")
        (port / "driver").unlink(missing_ok=True)
        (port / "driver").symlink_to(usb.root / "ftdi_sio")
        apart.write_rules(rules("{name: a, match: {serial: FT}, attach: {to: c1}}"))
        (told,) = explained(apart, cable.node)["warnings"]
        assert "write `blacklist ftdi_sio` into" in told

    @pytest.mark.parametrize(("driver", "attach"), [("usbfs", "{to: c1}"), ("hub", "{to: c1}")])
    def test_some_are_in_nobody_s_way(self, usb: Usb, apart: Daemon, driver: str, attach: str) -> None:
        assert self.warnings(usb, apart, driver, driver, attach) == []


class TestWithoutNode:
    def test_a_device_without_a_node_is_known(self, usb: Usb, apart: Daemon) -> None:
        adapter = usb.plug_radio(Phone("0a12", "0001", serial="BT"), "4", "hci97")
        syspath = f"{adapter.syspath}/{adapter.port}:1.0/hci97"
        apart.write_rules(rules("{name: other, match: {serial: none}, ignore: true}"))
        for name in ("hci97", syspath):
            document = explained(apart, name)
            assert (document["syspath"], document["subsystem"]) == (syspath, "bluetooth")
            (told,) = document["warnings"]
            assert told.startswith("no rule can put it anywhere: it has no device node; ")
            assert "takes the adapter's USB device, once btusb is off it" in told
        apart.write_rules(rules("{name: radio, match: {subsystem: bluetooth}, attach: {to: c1}}"))
        document = explained(apart, "hci97")
        assert document["rule"] == "radio"
        assert "it has no device node" in document["problems"][0]["message"]


class TestHolders:
    def test_who_has_the_node_open_is_named(
        self, container: Container, console: Console, configure: Configure
    ) -> None:
        console.plug()
        made = configure(rules(takes(console, str(container))))
        with subprocess.Popen(["tail", "-f", console.node], stdout=subprocess.DEVNULL) as holder:
            try:
                path = f"/proc/{holder.pid}/fd"
                opened = [f"{path}/{each}" for each in range(3, 9)]
                eventually(lambda: any(os.path.realpath(each) == console.node for each in opened))
                # Nobody can explain what udevd has not processed.
                eventually(lambda: made.ask("explain", console.node).returncode == 0)
                document = explained(made, console.node)
                assert document["holders"] == [{"pid": holder.pid, "command": "tail", "instance": ""}]
                shown = made.ask("explain", console.node).stdout
                assert f"open in tail, process {holder.pid} of the host" in shown
            finally:
                holder.kill()
        assert explained(made, console.node)["holders"] == []
