"""Devices that belong to somebody already, by entries that are not ours."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hotplugd.claims import Claims, withheld
from hotplugd.model import Device, Entry, Instance
from hotplugd.wants import wants
from tests.devices import ALL, all_with, box, console, disk, entry, gpu, interface, pci, phone

LINK = "/dev/serial/by-id/usb-x"
CABLE = replace(console(1), properties={"DEVLINKS": f"/dev/serial/by-path/y {LINK}"})
PHONE = replace(phone(1), properties={**phone(1).properties, "BUSNUM": "001", "DEVNUM": "007"})
CARD, _ = gpu()


def claims(*instances: Instance) -> Claims:
    found = Claims()
    for each in instances:
        found.learned(each.id, each)
    return found


def other(config: dict[str, str], *, inherited: bool = False) -> Instance:
    theirs = Entry("theirs", config)
    return box(() if inherited else [theirs], [theirs] if inherited else (), name="other")


# A device, and an entry of somebody's that it belongs to.
HELD: dict[str, tuple[Device, dict[str, str]]] = {
    "a node": (CABLE, {"type": "unix-char", "source": "/dev/ttyUSB1"}),
    "a node by its path": (CABLE, {"type": "unix-char", "path": "/dev/ttyUSB1"}),
    "a link": (CABLE, {"type": "unix-char", "source": LINK, "path": "/dev/x"}),
    "a number": (CABLE, {"type": "unix-char", "path": "/dev/x", "major": "188", "minor": "1"}),
    "a block device": (disk(), {"type": "unix-block", "source": "/dev/zram0"}),
    "a disk": (disk(), {"type": "disk", "source": "/dev/zram0", "path": "/srv"}),
    "a product": (PHONE, {"type": "usb", "vendorid": "18d1", "productid": "4ee7"}),
    "a vendor": (PHONE, {"type": "usb", "vendorid": "18D1"}),
    "every USB device": (PHONE, {"type": "usb"}),
    "a serial number": (PHONE, {"type": "usb", "serial": "R5C001"}),
    "a number on the bus": (PHONE, {"type": "usb", "busnum": "1", "devnum": "7"}),
    "what hangs from a vendor's": (CABLE, {"type": "unix-hotplug", "vendorid": "0403"}),
    "an interface": (interface(), {"type": "nic", "nictype": "physical", "parent": "enp1s0"}),
    "an interface that others hang from": (
        interface(),
        {"type": "nic", "nictype": "macvlan", "parent": "enp1s0"},
    ),
    "a PCI device": (pci(), {"type": "pci", "address": "0000:01:00.0"}),
    "the card of a PCI device": (interface(), {"type": "pci", "address": "0000:01:00.0"}),
}

# A device, and an entry that has to do with others.
FREE: dict[str, tuple[Device, dict[str, str]]] = {
    "another node": (CABLE, {"type": "unix-char", "source": "/dev/ttyUSB11"}),
    "another product": (PHONE, {"type": "usb", "vendorid": "18d1", "productid": "4ee8"}),
    "another of the product": (PHONE, {"type": "usb", "vendorid": "18d1", "serial": "R5C002"}),
    "a USB device, but a tty": (CABLE, {"type": "usb", "vendorid": "0403"}),
    "a bridge": (interface(), {"type": "nic", "nictype": "bridged", "parent": "enp1s0"}),
    "a file system": (disk(), {"type": "disk", "source": "/srv", "path": "/srv"}),
    "a GPU, which may be shared": (CARD, {"type": "gpu", "pci": "0000:01:00.0"}),
    "ours": (CABLE, dict(entry(CABLE).config)),
}


@pytest.mark.parametrize("inherited", [False, True], ids=["own", "inherited"])
@pytest.mark.parametrize(("device", "config"), HELD.values(), ids=HELD)
def test_what_belongs_to_somebody_is_left_alone(
    device: Device, config: dict[str, str], *, inherited: bool
) -> None:
    found = withheld(wants(ALL, device), claims(other(config, inherited=inherited)))
    assert found.wants == ()
    assert "belongs to other by its entry 'theirs', which is not ours" in found.problems[0].message
    assert found.problems[0].guard


def test_whatever_others_call_their_entry_can_be_shown() -> None:
    theirs = Entry("\x1b[2J\n", {"type": "unix-char", "source": "/dev/ttyUSB1"})
    found = withheld(wants(ALL, CABLE), claims(box([theirs], name="other")))
    assert "'\\x1b[2J\\x0a'" in found.problems[0].message


@pytest.mark.parametrize(("device", "config"), FREE.values(), ids=FREE)
def test_what_belongs_to_nobody_goes_where_the_rule_says(device: Device, config: dict[str, str]) -> None:
    instance = other(config)
    if config.get("type", "").startswith("unix-") and "user.hotplugd.version" in config:
        instance = box([entry(device)], name="other")
    before = wants(ALL, device)
    assert before.wants
    assert withheld(before, claims(instance)) == before


def test_what_may_be_shared_is_not_left_alone() -> None:
    shared = wants(all_with("share: true"), CABLE)
    assert withheld(shared, claims(other({"type": "unix-char", "source": "/dev/ttyUSB1"}))) == shared


def test_a_gpu_that_may_not_be_shared_is_left_alone() -> None:
    alone = wants(all_with("share: false"), CARD)
    assert withheld(alone, claims(other({"type": "gpu", "pci": "0000:01:00.0"}))).wants == ()


def test_an_interface_is_left_alone_whatever_the_rule_says() -> None:
    found = wants(all_with("share: true"), interface())
    theirs = other({"type": "nic", "nictype": "physical", "parent": "enp1s0"})
    assert withheld(found, claims(theirs)).wants == ()


def test_claims_go_with_their_entry_their_instance_and_its_place() -> None:
    found = Claims()
    theirs = other({"type": "unix-char", "source": "/dev/ttyUSB1"})
    assert found.learned(theirs.id, theirs)
    assert not found.learned(theirs.id, theirs)
    assert found.holder(CABLE) is not None
    for after in (replace(theirs, entries={}), None, replace(theirs, here=False)):
        assert found.learned(theirs.id, after)
        assert found.holder(CABLE) is None
        assert found.learned(theirs.id, theirs)


def test_one_of_two_holders_is_enough() -> None:
    config = {"type": "unix-char", "source": "/dev/ttyUSB1"}
    one, two = other(config), replace(other(config), id=box(name="third").id)
    found = claims(one, two)
    found.learned(one.id, None)
    holder = found.holder(CABLE)
    assert holder is not None
    assert str(holder.instance) == "third"
