"""What is in the way of a device, word for word; and what a rule without anything in its way comes to."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hotplugd.model.problem import Problem
from hotplugd.model.values import Device, InstanceName
from hotplugd.plan.desired import Wants, wants
from hotplugd.plan.identity import identity
from hotplugd.plan.kinds.kind import Want
from hotplugd.plan.kinds.registry import kind_named
from hotplugd.rules.ruleset import Attach
from tests.support.devices import (
    all_with,
    box,
    console,
    disk,
    gpu,
    interface,
    pci,
    phone,
    plugged,
    rule,
    ruleset,
)
from tests.unit import devices

ONE = console(1)
NIC = interface()
CARD = gpu()[0]
NO_NODE = "it has no device node; only network interfaces, GPUs and PCI devices go in without"
NO_PCI = "is for what is a PCI device or a function of one, and it is none"
NO_PATH = "is not below /dev in letters, digits and _ : + @ , = -"
NO_LINK = "is not below /dev in letters, digits and _ : + @ , = . -"
RESERVED = "belongs to every container; give another"
FORCE = "`force: true` in the rule attaches it all the same"
ILLEGAL = "is no legal instance name (1 to 63 letters, digits and dashes, a letter first and no dash last)"
SEVERAL = "can be in one instance at a time, and `to` names several"

# The device, what `attach` says besides `to: box`, and what is in the way.
SAID: list[tuple[Device, str, str]] = [
    (devices.CABLE, "mode: '0660'", NO_NODE),
    (replace(ONE, slot=""), "mode: '0660'", NO_NODE),
    (ONE, "as: nic", "`as: nic` is for network interfaces, and it is of subsystem 'tty'"),
    (
        replace(NIC, slot="", stays="it is wireless, and there is no iw"),
        "project: default",
        "it is wireless, and there is no iw",
    ),
    (ONE, "as: gpu", f"`as: gpu` {NO_PCI}"),
    (ONE, "as: pci", f"`as: pci` {NO_PCI}"),
    (replace(CARD, parent=replace(pci(), slot="")), "as: gpu", f"`as: gpu` {NO_PCI}"),
    (CARD, "path: /dev/dri/card7", "a gpu has no `path` inside; take it out of the rule"),
    (NIC, "path: /dev/x", "a nic has no `path` inside; take it out of the rule"),
    (pci(), "path: /dev/x", "a pci has no `path` inside; take it out of the rule"),
    (NIC, "link: /dev/x", "a nic has no node that a `link` could lead to; take it out of the rule"),
    (pci(), "link: /dev/x", "a pci has no node that a `link` could lead to; take it out of the rule"),
    (ONE, "name: eth0", "`name` is for network interfaces; take it out of the rule"),
    (
        phone(1),
        "path: /dev/phone",
        "a USB device keeps its node's path, where libusb looks for it; take `path` out of the rule",
    ),
    (
        console(1, "a.b"),
        "path: '/dev/{serial}'",
        "path '/dev/a.b' has a dot, and the server never removes such nodes; give another",
    ),
    (console(1, "a\n"), "path: '/dev/{serial}'", f"path '/dev/a\\x0a' {NO_PATH}"),
    (console(1, "null"), "path: '/dev/{serial}'", f"path '/dev/null' {RESERVED}"),
    (console(1, "a b"), "link: '/dev/{serial}'", f"link '/dev/a b' {NO_LINK}"),
    (console(1, "../x"), "link: '/dev/{serial}'", f"link '/dev/../x' {NO_LINK}"),
    (console(1, "./x"), "link: '/dev/{serial}'", f"link '/dev/./x' {NO_LINK}"),
    (console(1, "..\x1b"), "link: '/dev/{serial}'", f"link '/dev/..\\x1b' {NO_LINK}"),
    (console(1, "ttyUSB1"), "link: '/dev/{serial}'", "link '/dev/ttyUSB1' is where the node itself is; "),
    (console(1, "ttyUSB1/x"), "link: '/dev/{serial}'", "link '/dev/ttyUSB1/x' is where the node itself is; "),
    (console(1, "pts/1"), "link: [/dev/x, '/dev/{serial}']", f"link '/dev/pts/1' {RESERVED}"),
    (console(1, ""), "link: '/dev/{serial}'", "the device has no serial, which '/dev/{serial}' needs"),
    (
        replace(disk(), in_use="mounted on /srv"),
        "mode: '0660'",
        f"the host uses it: mounted on /srv; {FORCE}",
    ),
]


@pytest.mark.parametrize(("device", "attach", "message"), SAID)
def test_what_is_in_the_way_is_said_in_full(device: Device, attach: str, message: str) -> None:
    rules = all_with(attach)
    if message.endswith("; "):
        message += "give another, or take it out"
    assert wants(rules, device) == Wants(
        device, rules.rules[0], problems=(Problem(str(device), "r", message),), unfit=message
    )


# The device, what `attach` says besides naming two instances, and why it can be in one alone.
ALONE: list[tuple[Device, str, str]] = [
    (NIC, "force: false", f"a nic {SEVERAL}"),
    (pci(), "share: true", f"a pci {SEVERAL}"),
    (CARD, "share: false", "`to` names several instances, and the rule says `share: false`"),
    (
        disk(),
        "force: true",
        (
            "`to` names several instances, and what two of them write at once to a disk destroys its file "
            "systems; `share: true` in the rule attaches it all the same"
        ),
    ),
]


@pytest.mark.parametrize(("device", "more", "message"), ALONE)
def test_why_a_device_can_be_in_one_instance_alone_is_said_in_full(
    device: Device, more: str, message: str
) -> None:
    found = wants(ruleset(rule("{subsystem: '*'}", f"{{to: [a, b], {more}}}")), device)
    assert (found.wants, found.problems) == ((), (Problem(str(device), "r", message),))


def test_a_hub_is_said_in_full_and_concerns_nobody() -> None:
    hub = replace(phone(1), attrs={"bDeviceClass": "09"})
    message = f"it is a USB hub, through which the host reaches other devices; {FORCE}"
    found = wants(all_with("force: false"), hub)
    assert found.problems == (Problem("/dev/bus/usb/001/001", "r", message, guard=True),)


def test_what_goes_along_with_what_is_kept_names_both_reasons() -> None:
    hub = replace(phone(1), attrs={"bDeviceClass": "09"})
    tty = plugged(devices.tty(hub, "ttyACM0"), 166, 0)
    rules = ruleset(rule("{kernel: 1-1}", "{to: box, with: tty}"))
    message = (
        "/dev/bus/usb/001/001, with which it would go, is kept: it is a USB hub, through which the host "
        f"reaches other devices; {FORCE}"
    )
    problem = Problem("/dev/ttyACM0", "r", message)
    assert wants(rules, tty) == Wants(tty, rules.rules[0], problems=(problem,), anchor=hub, unfit=message)
    used = replace(tty, in_use="x")
    assert wants(rules, used).problems[0].message == f"the host uses it: x; {FORCE}"


def test_a_name_that_is_not_legal_is_said_in_full() -> None:
    rules = ruleset(rule("{subsystem: '*'}", "{to: [box, 'c{serial}']}"))
    message = f"'c\\x1b' {ILLEGAL}"
    found = wants(rules, phone(1, "\x1b"))
    assert found.problems == (Problem("/dev/bus/usb/001/001", "r", message),)
    assert [str(each.instance) for each in found.wants] == [str(box().id)]


def test_nothing_in_the_way_is_a_want_with_everything_in_it() -> None:
    rules = all_with("link: ['/dev/{serial}', /dev/l.1, /dev/l.1], path: /dev/ttyX, project: lab")
    attach = Attach(("box",), "lab", "/dev/ttyX", ("/dev/{serial}", "/dev/l.1", "/dev/l.1"))
    want = Want(
        ONE,
        rules.rules[0],
        attach,
        InstanceName("lab", "box"),
        kind_named("node"),
        "/dev/ttyX",
        ONE.slot,
        ("/dev/A5001", "/dev/l.1"),
    )
    assert wants(rules, ONE) == Wants(ONE, rules.rules[0], (want,))


# The device, what `attach` says besides, and as what, where and by which enumeration it goes in.
GOES: dict[str, tuple[Device, str, tuple[str, str, str]]] = {
    "a tty": (ONE, "", ("node", "/dev/ttyUSB1", ONE.slot)),
    "an interface": (NIC, "", ("nic", "enp1s0", NIC.slot)),
    "an interface with a name": (NIC, "name: lan0", ("nic", "lan0", NIC.slot)),
    "a PCI device": (pci(), "", ("pci", "", pci().slot)),
    "the PCI device of an interface": (NIC, "as: pci", ("pci", "", pci().slot)),
    "a GPU's node": (CARD, "", ("gpu", "/dev/dri/card1", pci().slot)),
    "a GPU's node as such": (CARD, "as: node", ("node", "/dev/dri/card1", CARD.slot)),
    "a GPU's node with a link": (CARD, "link: /dev/card", ("gpu", "/dev/dri/card1", pci().slot)),
    "a display behind USB": (
        replace(CARD, parent=replace(phone(), parent=pci())),
        "",
        ("node", "/dev/dri/card1", CARD.slot),
    ),
    "a link next to the node": (
        console(1, "ttyUSB12"),
        "link: '/dev/{serial}'",
        ("node", "/dev/ttyUSB1", ONE.slot),
    ),
    "a link with dots in its name": (
        console(1, "a..b"),
        "link: '/dev/{serial}'",
        ("node", "/dev/ttyUSB1", ONE.slot),
    ),
}


@pytest.mark.parametrize(("device", "more", "expected"), GOES.values(), ids=GOES)
def test_a_device_goes_in_as_what_it_is(device: Device, more: str, expected: tuple[str, str, str]) -> None:
    found = wants(all_with(more or "force: false"), device)
    assert [(each.kind.name, each.target, each.slot) for each in found.wants] == [expected]
    assert found.problems == ()


def test_what_goes_along_has_nothing_of_the_device_above_but_its_place() -> None:
    tty = plugged(devices.tty(phone(1), "ttyACM0"), 166, 0)
    item = "{match: {subsystem: tty}, path: /dev/m, link: '/dev/{port}'}"
    rules = ruleset(
        rule("{vendor_id: 18d1}", f"{{to: '{{kernel}}', link: /dev/p, mode: '0600', with: {item}}}")
    )
    found = wants(rules, tty)
    assert found.problems == (
        Problem(
            "/dev/ttyACM0",
            "r",
            f"'1-1' {ILLEGAL}",
        ),
    )
    rules = ruleset(
        rule("{vendor_id: 18d1}", f"{{to: 'c-{{kernel}}', link: /dev/p, mode: '0600', with: {item}}}")
    )
    (want,) = wants(rules, tty).wants
    assert (want.instance.name, want.target, want.links, want.attach.mode) == (
        "c-1-1",
        "/dev/m",
        ("/dev/1-1",),
        "0600",
    )


def test_what_goes_along_is_what_it_is_whatever_the_device_above_goes_in_as() -> None:
    card = pci()
    nic = interface(above=card)
    rules = ruleset(rule("{subsystem: pci}", "{to: box, as: pci, name: lan0, with: net}"))
    found = wants(rules, nic)
    assert [(each.kind.name, each.target) for each in found.wants] == [("nic", "enp1s0")]


def test_a_device_without_a_node_stands_for_what_is_below_it_alone() -> None:
    bare = pci()
    rules = ruleset(rule("{subsystem: pci}", "{to: box, with: video4linux}"))
    assert wants(rules, bare) == Wants(bare, rules.rules[0])
    as_pci = ruleset(rule("{subsystem: pci}", "{to: box, as: pci, with: video4linux}"))
    assert [each.kind.name for each in wants(as_pci, bare).wants] == ["pci"]
    node = phone(1)
    rules = ruleset(rule("{subsystem: usb}", "{to: box, with: tty}"))
    assert [each.kind.name for each in wants(rules, node).wants] == ["node"]
    below = replace(interface(above=bare), slot="")
    rules = ruleset(rule("{subsystem: pci}", "{to: box, with: net}"))
    assert "the kernel keeps it in the network" in wants(rules, below).problems[0].message


def test_an_interfaces_identity_is_its_permanent_address() -> None:
    assert identity(NIC) == "mac:00:e0:4c:00:00:01"
    assert identity(replace(NIC, attrs={"address": "A\x1b"})) == "mac:a\\x1b/enp1s0"
    zeros = {"address": "00:00:00:00:00:00"}
    functions = [
        replace(interface(number), attrs=zeros, properties={"ID_PATH": f"pci-0000:03:10.{number}"})
        for number in (1, 2)
    ]
    assert [identity(each) for each in functions] == [
        "path:pci-0000:03:10.1/enp1s0",
        "path:pci-0000:03:10.2/enp2s0",
    ]
    assert identity(replace(disk(), properties={"ID_PATH": "a\x1b"})) == "path:a\\x1b"
