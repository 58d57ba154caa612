"""What can hardly match, or does what hardly anybody means, is warned of; what may be meant is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from hotplugd.rulefile.load import load, parse
from hotplugd.rules.subsystems import SUBSYSTEMS
from tests.support.devices import rule


def doubts(match: str, attach: str | None = "{to: box}") -> list[tuple[str, str]]:
    found = parse("rules:\n" + rule(match, attach), "f").diagnostics
    assert {each.severity for each in found} <= {"warning"}, [each.render() for each in found]
    return [(each.message.removeprefix("rule 'r' "), each.hint) for each in found]


# A match, what is said of it, and what is advised.
HARDLY = [
    ("{mac: '00:e0:4c:68:01:02'}", "asks for `mac`, which network", "add `subsystem: net`"),
    ("{subsystem: tty, mac: '00:e0:4c:68:01:02'}", "asks for `mac`, which network", "add `subsystem: net`"),
    ("{driver: ftdi_sio}", "asks for the driver: 'ftdi_sio' of a USB device, which is `usb`", "take `interf"),
    ("{driver: 'cdc*'}", "asks for the driver: 'cdc*' of a USB device", "take `interface` for the device"),
    ("{subsystem: ttyy}", "asks for the subsystem 'ttyy', which is none of Linux's", "did you mean 'tty'?"),
    ("{subsystem: TTY}", "asks for the subsystem 'TTY'", "did you mean 'tty'?"),
    ("{subsystem: disk}", "asks for the subsystem 'disk'", "did you mean 'block'?"),
    ("{subsystem: [tty, qwertz]}", "asks for the subsystem 'qwertz'", "`hotplugd devices --all` shows"),
    ("{parent: {subsystem: usb_device}}", "asks for the subsystem 'usb_device'", "did you mean 'usb'?"),
    ("{subsystem: tty, kernel: /dev/ttyUSB0}", "asks for kernel: '/dev/ttyUSB0', which", "mean 'ttyUSB0'?"),
    ("{subsystem: misc, kernel: net/tun}", "asks for kernel: 'net/tun', which", "mean 'tun'?"),
    ("{subsystem: dahdi, kernel: 'dahdi!ctl'}", "asks for kernel: 'dahdi!ctl', and", "mean 'dahdi/ctl'?"),
    (
        "{devtype: usb_interface}",
        "means interfaces of USB devices, which have no node",
        "leave `devtype` out",
    ),
    ("{serial: '.*'}", "asks for serial: '.*', which looks like a regular", "`*` is any text"),
    ("{serial: 'R5C.*'}", "asks for serial: 'R5C.*', which looks like a regular", "`*` is any text"),
    (r"{subsystem: tty, kernel: 'ttyUSB\d'}", r"asks for kernel: 'ttyUSB\\d', which looks", "`*` is any"),
    ("{serial: '^R5C'}", "asks for serial: '^R5C', which looks", "`*` is any text"),
    ("{serial: 'R5C$'}", "asks for serial: 'R5C$', which looks", "`*` is any text"),
    ("{serial: '(A1|B2)'}", "asks for serial: '(A1|B2)', which looks", "`*` is any text"),
    ("{serial: '[0-9]+'}", "asks for serial: '[0-9]+', which looks", "`*` is any text"),
    ("{property: {ID_MODEL: 'Pixel.*'}}", "asks for property.ID_MODEL: 'Pixel.*', which", "`*` is any text"),
    ("{serial: 'A1,B2'}", "asks for serial: 'A1,B2', and a comma stands for itself", "a list: `[A1, B2]`"),
    ("{serial: '{A1, B2}'}", "asks for serial: '{A1, B2}', and a comma", "a list: `[A1, B2]`"),
    ("{serial: 'A1 | B2'}", "asks for serial: 'A1 | B2', where blanks count", "did you mean 'A1|B2'?"),
    ("{serial: ' A1'}", "asks for serial: ' A1', where blanks count", "did you mean 'A1'?"),
    ("{property: {id_model: Pixel}}", "asks for the property 'id_model', and", "did you mean 'ID_MODEL'?"),
    ("{not: {property: {ID_Model: Pixel}}}", "asks for the property 'ID_Model'", "did you mean 'ID_MODEL'?"),
]
FINE = [
    "{subsystem: net, mac: '00:e0:4c:68:01:02'}",
    "{subsystem: '*', mac: '00:e0:4c:68:01:02'}",
    "{driver: usb}",
    "{subsystem: tty, parent: {driver: ftdi_sio}}",
    "{parent: {driver: xhci_hcd}}",
    "{subsystem: 'tty*'}",
    "{subsystem: dahdi, kernel: dahdi/ctl}",
    "{subsystem: tenstorrent, kernel: 'tenstorrent/[!0]'}",
    "{subsystem: [gnss, hailo1x, mpp_class, printer]}",
    "{port: '1-4.*'}",
    "{path: 'pci-0000:00:14.0-usb-0:4.*'}",
    "{kernel: '1-4.*'}",
    "{subsystem: tty, kernel: 'ttyUSB[0-9]*'}",
    "{property: {ID_MODEL: 'Foo, Inc. (USB)'}}",
    "{property: {adb_user: 'yes'}}",
    "{attr: {manufacturer: 'a, b '}}",
    r"{serial: 'A\*B'}",
    "{serial: 'A|B'}",
]


@pytest.mark.parametrize(("match", "said", "advice"), HARDLY)
def test_a_match_that_can_hardly_be_met_is_warned_of(match: str, said: str, advice: str) -> None:
    ((message, hint),) = doubts(match)
    assert message.startswith(said)
    assert advice in hint


@pytest.mark.parametrize("match", FINE)
def test_a_match_that_may_be_met_is_not_warned_of(match: str) -> None:
    text = "rules:\n" + rule(match, "{to: box}")
    found = parse(text, "f").diagnostics
    assert [each.message for each in found if "cciss" not in each.message] == []


def test_interfaces_that_are_ignored_or_have_something_below_are_fine() -> None:
    assert doubts("{devtype: usb_interface}", None) == []
    assert doubts("{devtype: usb_interface}", "{to: box, with: tty}") == []


# What a rule says of where devices go, and what is said of that.
WHERE = [
    ("{serial: A}", "{to: [a, b]}", "puts each of its devices into all of 2 instances at once"),
    ("{subsystem: tty}", "{to: [a, b], as: node}", "puts each of its devices into all of 2"),
    ("{serial: A}", "{to: [a, a]}", "names the instance 'a' twice"),
    ("{serial: [1A, B]}", "{to: '{serial}'}", "makes the name '1A' of '{serial}', which no instance"),
    ("{serial: [A_1]}", "{to: 'x-{serial}'}", "makes the name 'x-A_1' of 'x-{serial}', which"),
    ("{serial: PHONE, id: '18d1:4ee7'}", "{to: a, with: [{match: {subsystem: tty, id: '0403:6001'}}]}",
     "takes nothing along by `with` and id: '0403:6001': what is below has id: '18d1:4ee7'"),
    ("{serial: PHONE}", "{to: a, with: [{match: {subsystem: tty, serial: CABLE}}]}",
     "takes nothing along by `with` and serial: 'CABLE': what is below has serial: 'PHONE'"),
]  # fmt: skip
MEANT = [
    ("{serial: A}", "{to: [a, b], share: true}"),
    ("{subsystem: drm}", "{to: [a, b]}"),
    ("{subsystem: pci}", "{to: [a, b], as: gpu}"),
    ("{serial: [A1, B]}", "{to: '{serial}'}"),
    ("{serial: A, port: 1-1}", "{to: 'x-{serial}-{port}'}"),
    ("{serial: PHONE}", "{to: a, with: [{match: {subsystem: tty, serial: 'P*'}}, tty]}"),
]


NODELESS = [
    ("{subsystem: bluetooth}", "bluetooth have no node", "once btusb is off it"),
    ("{subsystem: [hid, leds]}", "hid have no node", "`hidraw` or `input`"),
    ("{subsystem: i2c, kernel: '1-0050'}", "i2c have no node", "`i2c-dev`"),
    ("{subsystem: w1}", "w1 have no node", "owserver"),
    ("{subsystem: platform, kernel: 'fec00000.*'}", "platform have no node", "by `parent`"),
    ("{subsystem: thunderbolt}", "thunderbolt have no node", "behind it"),
]


def test_chips_of_pwm_have_a_node_since_linux_6_17() -> None:
    """It is /dev/pwmchip0 (Linux: drivers/pwm/core.c)."""
    assert doubts("{subsystem: pwm, kernel: 'pwmchip*'}", "{to: a}") == []


@pytest.mark.parametrize(("match", "said", "instead"), NODELESS)
def test_subsystems_without_nodes_are_warned_of(match: str, said: str, instead: str) -> None:
    ((message, hint),) = doubts(match, "{to: a}")
    assert message == f"attaches nothing: devices of subsystem {said}"
    assert instead in hint


@pytest.mark.parametrize(
    ("match", "attach"),
    [
        ("{subsystem: usb-serial}", "{to: a, with: tty}"),
        ("{subsystem: [bluetooth, tty]}", "{to: a}"),
        ("{subsystem: 'blue*'}", "{to: a}"),
    ],
)
def test_what_may_have_a_node_is_not_warned_of(match: str, attach: str) -> None:
    assert doubts(match, attach) == []


@pytest.mark.parametrize("item", ["bluetooth", "[tty, bluetooth]", "[{match: {subsystem: bluetooth}}]"])
def test_what_has_no_node_cannot_go_along(item: str) -> None:
    loaded = parse("rules:\n" + rule("{serial: A}", f"{{to: a, with: {item}}}"), "x.yaml")
    (error,) = loaded.errors
    assert error.message == "nothing of subsystem bluetooth can go along: its devices have no node"
    assert "host's network namespace alone" in (error.hint or "")


@pytest.mark.parametrize(("match", "attach", "said"), WHERE)
def test_where_devices_go_is_warned_of_where_hardly_anybody_means_it(
    match: str, attach: str, said: str
) -> None:
    ((message, hint),) = doubts(match, attach)
    assert message.startswith(said)
    assert hint


@pytest.mark.parametrize(("match", "attach"), MEANT)
def test_where_devices_go_is_not_warned_of_where_it_may_be_meant(match: str, attach: str) -> None:
    assert doubts(match, attach) == []


def test_what_is_asked_twice_is_said_once() -> None:
    assert len(doubts("{any: [{subsystem: ttyy, serial: A}, {subsystem: ttyy, serial: B}]}")) == 1


def test_a_subsystem_that_the_host_has_is_known(tmp_path: Path) -> None:
    text = "rules:\n" + rule("{subsystem: vendorbus}", "{to: box}")
    path = tmp_path / "r.yaml"
    path.write_text(text)
    assert [each.severity for each in load([path]).diagnostics] == ["warning"]
    assert load([path], subsystems={"vendorbus"}).diagnostics == ()
    assert {"usb", "tty", "net", "block", "drm", "video4linux", "hidraw", "vc", "pci"} <= SUBSYSTEMS
