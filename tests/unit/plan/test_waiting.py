"""Whose entries wait for udevd: those of devices that may be the one that it has not processed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hotplugd.model.values import Device, Entry, Instance
from hotplugd.plan.desired import wants
from hotplugd.plan.planner import plan_instance
from tests.support.devices import ALL, BOX, box, console, disk, entry, gpu, interface, pci


def entry_of(device: Device, instance: Instance) -> Entry:
    (change,) = plan_instance(BOX, instance, wants(ALL, device).wants, None).changes
    return change.entry


def bare(device: Device, **known: object) -> Device:
    """The device while udevd has not said what it is."""
    return replace(device, slot="", parent=None, properties={}, **known)  # type: ignore[arg-type]


MACHINE = Instance(BOX, "virtual-machine")
STOPPED = box(running=False)
CARD = gpu()[0]
NIC = interface()

# The device of the entry, where that is, what udevd has not processed, and whether the entry waits.
WAITS: dict[str, tuple[Device, Instance, Device, bool]] = {
    "a node's number": (console(1), STOPPED, bare(console(1)), True),
    "another number": (console(1), STOPPED, bare(console(2)), False),
    "the same number of a disk": (console(1), STOPPED, bare(console(1), devnum=disk(1).devnum), False),
    "a node's name alone": (console(1), STOPPED, bare(console(1), devnum=None), False),
    "an interface": (NIC, STOPPED, bare(NIC), True),
    "another interface": (NIC, STOPPED, bare(interface(2)), False),
    "what is called like an interface": (NIC, STOPPED, bare(NIC, subsystem="tty"), False),
    "what an interface is on": (NIC, STOPPED, bare(pci()), False),
    "a GPU": (CARD, STOPPED, bare(CARD, devnum=None), True),
    "the PCI device of a GPU": (CARD, STOPPED, bare(pci()), True),
    "another GPU": (CARD, STOPPED, bare(gpu(2)[0]), False),
    "a PCI device in a machine": (pci(), MACHINE, bare(pci()), True),
    "a node of a PCI device in a machine": (pci(), MACHINE, bare(CARD), True),
    "another PCI device": (pci(), MACHINE, bare(pci(2)), False),
}


@pytest.mark.parametrize(("device", "instance", "unprocessed", "stays"), WAITS.values(), ids=WAITS)
def test_an_entry_waits_for_what_may_be_its_device(
    device: Device, instance: Instance, unprocessed: Device, stays: bool
) -> None:
    its = entry_of(device, instance)
    found = plan_instance(BOX, replace(instance, entries={its.name: its}), [], None, [unprocessed], set())
    assert [each.action for each in found.changes] == ([] if stays else ["remove"])
    assert found.attachments == ()


def test_an_entry_waits_while_one_of_several_may_be_its_device() -> None:
    its = entry(console(1))
    found = plan_instance(BOX, box([its]), [], None, [bare(disk()), bare(console(1)), bare(console(2))])
    assert found.changes == ()


def test_its_path_is_taken_meanwhile() -> None:
    its = entry(console(1))
    other = replace(console(2), node=console(1).node)
    found = plan_instance(BOX, box([its]), wants(ALL, other).wants, None, [bare(console(1))])
    assert found.changes == ()
    assert [each.message for each in found.problems] == [
        f"/dev/ttyUSB1 in box is taken by the entry '{its.name}' of a device that udevd has not processed"
    ]


def test_one_without_a_place_keeps_no_place_of_others() -> None:
    its = entry_of(pci(), MACHINE)
    there = replace(MACHINE, entries={its.name: its})
    found = plan_instance(BOX, there, wants(ALL, pci(2)).wants, None, [bare(pci())])
    assert [each.action for each in found.changes] == ["add"]
    assert found.problems == ()
