from __future__ import annotations

from dataclasses import replace

import pytest

from hotplugd.model.values import Descriptors, Device, InstanceName
from hotplugd.plan.desired import wants
from hotplugd.plan.identity import identity
from hotplugd.plan.kinds.kind import Want
from tests.support.devices import ALL, all_with, console, disk, interface, phone, plugged, rule, ruleset
from tests.unit import devices

IDENTITIES = {
    "a serial": (phone(1, "R5C1"), "serial:R5C1"),
    "the serial of the USB device above": (console(1, "A5X"), "serial:A5X"),
    "a serial of two characters": (phone(1, "AB"), "serial:AB"),
    "no serial": (phone(1, ""), "port:1-1"),
    "a serial of one repeated character": (phone(1, "0000000"), "port:1-1"),
    "a serial of one character": (phone(1, "0"), "port:1-1"),
    "a serial with an escape sequence": (phone(1, "a\x1b[2J"), "serial:a\\x1b[2J"),
    "no port either": (replace(disk(), properties={"ID_PATH": "platform-x"}), "path:platform-x"),
    "nothing but a name": (disk(), "kernel:zram0"),
    "not even a name": (replace(disk(), kernel=""), "syspath:/sys/devices/virtual/block/zram0"),
}


@pytest.mark.parametrize(("device", "expected"), IDENTITIES.values(), ids=IDENTITIES)
def test_the_identity_is_the_most_lasting_thing_that_a_device_has(device: Device, expected: str) -> None:
    assert identity(device) == expected


def places(found: tuple[Want, ...]) -> list[str]:
    return [f"{want.instance}:{want.target}" for want in found]


def socketed(device: Device, text: str) -> Device:
    """The device, with a property of this text."""
    return replace(device, properties={**device.properties, "SOCKET": text})


# What `attach` says, the device, and where it goes.
PLACES = {
    "a name": ("{to: box}", console(1), ["box:/dev/ttyUSB1"]),
    "several": ("{to: [a, b]}", console(1), ["a:/dev/ttyUSB1", "b:/dev/ttyUSB1"]),
    "one of them twice": ("{to: [a, b, a]}", console(1), ["a:/dev/ttyUSB1", "b:/dev/ttyUSB1"]),
    "two templates of one name": ("{to: [a-1-1, 'a-{port}']}", phone(1), ["a-1-1:/dev/bus/usb/001/001"]),
    "another project": ("{to: box, project: lab}", console(1), ["lab/box:/dev/ttyUSB1"]),
    "a template": ("{to: 'ci-{serial}'}", phone(1, "R5C1"), ["ci-R5C1:/dev/bus/usb/001/001"]),
    "the serial of the USB device above": ("{to: 'ci-{serial}'}", console(1, "A5X"), ["ci-A5X:/dev/ttyUSB1"]),
    "two keys": ("{to: 'v{vendor_id}-{port}'}", phone(2), ["v18d1-1-2:/dev/bus/usb/001/002"]),
    "the longest name": ("{to: 'c{serial}'}", phone(1, "x" * 62), [f"c{'x' * 62}:/dev/bus/usb/001/001"]),
    "a property": (
        "{to: 'ci-{property.ID_SERIAL_SHORT}'}",
        phone(1, "R5C1"),
        ["ci-R5C1:/dev/bus/usb/001/001"],
    ),
    "a property in an interface's name": (
        "{to: box, name: 'l{property.SOCKET}'}",
        socketed(interface(), "7"),
        ["box:l7"],
    ),
    "a path": ("{to: box, path: /dev/ttyConsole}", console(1), ["box:/dev/ttyConsole"]),
    "a template of a path": ("{to: box, path: '/dev/tty-{port}'}", console(1), ["box:/dev/tty-2-1"]),
    "a folder that may be shared": ("{to: box, path: /dev/lxd0/x}", console(1), ["box:/dev/lxd0/x"]),
    "a USB node": ("{to: box}", phone(7), ["box:/dev/bus/usb/001/007"]),
    "a block node": ("{to: box}", disk(3), ["box:/dev/zram3"]),
    "a name that is no reserved path": ("{to: box, path: /dev/console1}", console(1), ["box:/dev/console1"]),
}


@pytest.mark.parametrize(("attach", "device", "expected"), PLACES.values(), ids=PLACES)
def test_a_device_goes_where_its_rule_says(attach: str, device: Device, expected: list[str]) -> None:
    found = wants(ruleset(rule("{subsystem: '*'}", attach)), device)
    assert places(found.wants) == expected
    assert found.problems == ()


HOSTILE = {
    "empty": "",
    "a slash": "a/b",
    "the folder above": "../../x",
    "a query": "x?project=other",
    "a fragment": "x#y",
    "percent-encoded": "x%2f",
    "a dot": "a.b",
    "an underscore": "a_b",
    "a space": "a b",
    "a line's end": "ab\n",
    "an escape sequence": "\x1b[2J",
    "a null byte": "a\0b",
    "the other direction": "a\u202eb",
    "digits of another script": "\u0661",
    "letters that look like others": "\u0430bc",
    "a dash at the end": "abc-",
    "too long": "x" * 61,
    "a template": "{port}",
}


@pytest.mark.parametrize("serial", HOSTILE.values(), ids=HOSTILE)
def test_what_makes_no_legal_name_is_a_problem_and_goes_nowhere(serial: str) -> None:
    found = wants(ruleset(rule("{subsystem: '*'}", "{to: 'ci-{serial}'}")), phone(1, serial))
    assert found.wants == ()
    assert [problem.rule for problem in found.problems] == ["r"]
    assert found.problems[0].message.isprintable()


@pytest.mark.parametrize("start", ["1", "-"])
def test_a_name_starts_with_a_letter(start: str) -> None:
    found = wants(ruleset(rule("{subsystem: '*'}", "{to: '{serial}'}")), phone(1, f"{start}abc"))
    assert found.wants == ()
    assert "no legal instance name" in found.problems[0].message


def test_one_name_that_is_not_legal_hurts_no_other() -> None:
    found = wants(ruleset(rule("{subsystem: '*'}", "{to: [box, 'ci-{serial}']}")), phone(1, "a b"))
    assert places(found.wants) == ["box:/dev/bus/usb/001/001"]
    assert [problem.message.split(" is")[0] for problem in found.problems] == ["'ci-a_b'"]


def interface_called(name: str) -> Device:
    """As whoever had it inside could leave it."""
    return replace(interface(), kernel=name)


# What `attach` says besides `to: box`, the device, and what the problem says.
HELD = {
    "path of a USB device": ("path: /dev/phone", phone(1), "keeps its node's path"),
    "path of a USB device, its own": ("path: /dev/bus/usb/001/001", phone(1), "keeps its node's path"),
    "a dot in the template's value": ("path: '/dev/{serial}'", console(1, "a.b"), "has a dot"),
    "the folder above": ("path: '/dev/{serial}'", console(1, "../../etc/passwd"), "has a dot"),
    "a space": ("path: '/dev/{serial}'", console(1, "a b"), "is not below /dev"),
    "two slashes": ("path: '/dev/{serial}'", console(1, "/a"), "is not below /dev"),
    "a slash at the end": ("path: '/dev/{serial}'", console(1, "a/"), "is not below /dev"),
    "a line's end": ("path: '/dev/{serial}'", console(1, "a\n"), "is not below /dev"),
    "a letter that is not ASCII": ("path: '/dev/{serial}'", console(1, "\u00e9"), "is not below /dev"),
    "an escape sequence": ("path: '/dev/{serial}'", console(1, "\x1b[m"), "is not below /dev"),
    "no value for the template": ("path: '/dev/{serial}'", console(1, ""), "the device has no serial"),
    "a reserved name": ("path: '/dev/{serial}'", console(1, "null"), "belongs to every container"),
    "below a reserved folder": ("path: '/dev/{serial}'", console(1, "pts/3"), "belongs to every container"),
    "the server's own folder": ("path: '/dev/{serial}'", console(1, "lxd"), "belongs to every container"),
    "the host's node is reserved": ("mode: '0660'", replace(console(1), node="/dev/tty"), "every container"),
    "a node elsewhere": ("mode: '0660'", replace(console(1), node="/run/x"), "is not below /dev"),
    "no node": ("mode: '0660'", devices.CABLE, "it has no device node"),
    "no slot": ("mode: '0660'", replace(console(1), slot=""), "it has no device node"),
    "an interface's name of dashes": ("mode: '0660'", interface_called("--help"), "no dash first"),
    "an interface's name that moves the cursor": ("name: eth0", interface_called("a\x1b[2J"), "'a\\x1b[2J'"),
    "an interface's name of one letter": ("mode: '0660'", interface_called("a"), "2 to 15 letters"),
    "a property that is a name of dots": (
        "path: '/dev/{property.SOCKET}'",
        socketed(console(1), "../x"),
        "has a dot",
    ),
    "a property that leads a link back": (
        "link: '/dev/{property.SOCKET}/x'",
        socketed(console(1), ".."),
        "is not below /dev",
    ),
    "a property that is empty": (
        "link: '/dev/{property.SOCKET}'",
        socketed(console(1), ""),
        "the device has no property.SOCKET",
    ),
    "a property that is no interface's name": (
        "name: 'l{property.SOCKET}'",
        socketed(interface(), "a/b"),
        "'la/b' is no name",
    ),
    "a property that makes an interface's name too long": (
        "name: 'l{property.SOCKET}'",
        socketed(interface(), "x" * 15),
        "is no name for a network interface",
    ),
    "udev's record of an interface": ("udev: true", interface(), "a nic has none"),
    "a disk in use": ("mode: '0660'", replace(disk(), in_use="mounted on /srv"), "uses it: mounted on /srv"),
}


@pytest.mark.parametrize(("attach", "device", "message"), HELD.values(), ids=HELD)
def test_what_cannot_be_is_one_problem_of_that_device(attach: str, device: Device, message: str) -> None:
    found = wants(all_with(attach), device)
    assert found.wants == ()
    assert [(each.device, each.rule, each.guard) for each in found.problems] == [(str(device), "r", False)]
    assert message in found.problems[0].message
    assert found.problems[0].message.isprintable()


HUBS = {
    "its class": replace(phone(1), attrs={"bDeviceClass": "09"}),
    "an interface": replace(phone(1), properties={"ID_USB_INTERFACES": ":090000:"}),
    "a subclass that the kernel takes too": replace(phone(1), properties={"ID_USB_INTERFACES": ":090100:"}),
    "any other subclass": replace(phone(1), properties={"ID_USB_INTERFACES": ":09ffff:"}),
    "an interface in its descriptors": replace(phone(1), descriptors=Descriptors(("ff:42:01", "09:01:00"))),
    "ports, whatever its class": replace(phone(1), attrs={"bDeviceClass": "ff", "maxchild": "4"}),
    "one interface of several": replace(phone(1), properties={"ID_USB_INTERFACES": ":030101:090002:"}),
}


@pytest.mark.parametrize("hub", HUBS.values(), ids=HUBS)
def test_a_hub_stays_with_the_host_and_nobody_has_to_act(hub: Device) -> None:
    found = wants(ALL, hub)
    assert found.wants == ()
    assert [problem.guard for problem in found.problems] == [True]
    assert "`force: true`" in found.problems[0].message


NO_HUBS = {
    "a console on a hub": plugged(devices.tty(HUBS["its class"]), 188, 1),
    "another class": replace(phone(1), attrs={"bDeviceClass": "90"}),
    "another interface": replace(phone(1), properties={"ID_USB_INTERFACES": ":0a0900:"}),
    "no ports": replace(phone(1), attrs={"maxchild": "0"}),
}


@pytest.mark.parametrize("device", NO_HUBS.values(), ids=NO_HUBS)
def test_what_is_no_hub_is_not_held_for_one(device: Device) -> None:
    assert len(wants(ALL, device).wants) == 1


@pytest.mark.parametrize("device", [*HUBS.values(), replace(disk(), in_use="it is swap")])
def test_force_attaches_what_a_guard_rail_holds(device: Device) -> None:
    found = wants(all_with("force: true"), device)
    assert len(found.wants) == 1
    assert found.problems == ()


CUT = ":".join(f"ff80{each:02x}" for each in range(72))
HIDING = {
    "its descriptors": replace(phone(1), descriptors=Descriptors(("ff:42:01",), "something about them")),
    "what udev has of them": replace(phone(1), properties={"ID_USB_INTERFACES": f":{CUT}:"}),
}


@pytest.mark.parametrize("device", HIDING.values(), ids=HIDING)
def test_what_may_have_other_interfaces_than_rules_see_stays(device: Device) -> None:
    for one in (device, plugged(devices.tty(device), 188, 1)):
        found = wants(ALL, one)
        assert found.wants == ()
        ((message, guard),) = [(each.message, each.guard) for each in found.problems]
        assert message.startswith("its USB descriptors may hide interfaces from the rules: ")
        assert message.endswith("; `force: true` in the rule attaches it all the same")
        assert not guard
        assert len(wants(all_with("force: true"), one).wants) == 1


def test_what_goes_along_with_one_that_hides_interfaces_stays_too() -> None:
    rules = ruleset(rule("{vendor_id: 18d1}", "{to: box, with: [tty]}"))
    assert wants(rules, plugged(devices.tty(HIDING["its descriptors"]), 188, 1)).wants == ()


def test_as_many_as_udev_can_have_are_no_reason_where_the_descriptors_are_known() -> None:
    whole = replace(HIDING["what udev has of them"], descriptors=Descriptors(("ff:42:01",)))
    fewer = replace(phone(1), properties={"ID_USB_INTERFACES": f":{CUT[:-7]}:"})
    assert len(wants(ALL, whole).wants) == len(wants(ALL, fewer).wants) == 1


def test_force_makes_no_node() -> None:
    assert wants(all_with("force: true"), devices.HUB).wants == ()


def test_the_first_rule_that_matches_wins() -> None:
    rules = ruleset(
        rule("{vendor_id: 18d1, serial: 'X*'}", "{to: never}", "narrow"),
        rule("{vendor_id: 18d1}", "{to: first}", "first"),
        rule("{subsystem: '*'}", "{to: second}", "second"),
    )
    assert [want.instance.name for want in wants(rules, phone(1)).wants] == ["first"]
    assert [want.instance.name for want in wants(rules, console(1)).wants] == ["second"]


def test_the_first_rule_wins_also_when_it_cannot_be_done() -> None:
    rules = ruleset(
        rule("{subsystem: '*'}", "{to: 'ci-{serial}'}", "first"),
        rule("{subsystem: '*'}", "{to: box}", "last"),
    )
    found = wants(rules, disk())
    assert found.wants == ()
    assert [problem.rule for problem in found.problems] == ["first"]


def test_what_is_ignored_goes_nowhere_and_is_no_problem() -> None:
    rules = ruleset(rule("{vendor_id: 18d1}", None, "no"), rule("{subsystem: '*'}", "{to: box}", "all"))
    found = wants(rules, phone(1))
    assert (found.rule and found.rule.name, found.wants, found.problems) == ("no", (), ())


def test_what_no_rule_takes_goes_nowhere_and_is_no_problem() -> None:
    found = wants(ruleset(rule("{vendor_id: 1050}", "{to: box}")), phone(1))
    assert (found.rule, found.wants, found.problems) == (None, (), ())


def test_projects_are_kept_apart() -> None:
    found = wants(ruleset(rule("{subsystem: '*'}", "{to: box, project: lab}")), console(1))
    assert [want.instance for want in found.wants] == [InstanceName("lab", "box")]


def test_a_node_whose_path_on_the_host_has_a_dot_is_where_it_can_be_with_a_link() -> None:
    """The server never removes a node with a dot in its path; programs look for it there."""
    device = replace(console(1), kernel="spidev0.0", node="/dev/spidev0.0")
    (want,) = wants(all_with("mode: '0660'"), device).wants
    assert (want.target, want.links) == ("/dev/spidev0_0", ("/dev/spidev0.0",))
    (want,) = wants(all_with("link: [/dev/spidev0.0, /dev/display]"), device).wants
    assert (want.target, want.links) == ("/dev/spidev0_0", ("/dev/spidev0.0", "/dev/display"))
    (want,) = wants(all_with("path: /dev/display"), device).wants
    assert (want.target, want.links) == ("/dev/display", ())


@pytest.mark.parametrize(
    ("serial", "written"),
    [("AB CD", "AB_CD"), ("a/b", "a_b"), ("../a", ".._a"), ("a,/b", "a,_b"), ("R5C001", "R5C001")],
)
def test_a_serial_number_in_a_template_is_written_as_udev_writes_it(serial: str, written: str) -> None:
    """A USB device says what it likes: it chooses no folder, and what has a blank goes in all the same."""
    found = wants(
        ruleset(rule("{vendor_id: 18d1}", "{to: box, link: '/dev/phones/{serial}'}")), phone(serial=serial)
    )
    assert [want.links for want in found.wants] == [(f"/dev/phones/{written}",)]
