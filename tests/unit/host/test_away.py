"""What is in an instance, and what the host still has of it."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import cast

from hotplugd.host.away import on_host
from hotplugd.host.device_reader import Reader
from hotplugd.model.values import Device
from tests.support.devices import gpu, pci

ROOT = Device("/sys/devices/pci0000:00/0000:00:1c.0", "pci", "0000:00:1c.0", driver="pcieport", slot="p-1")
THERE = replace(pci(), driver="vfio-pci", parent=ROOT)
CARD = replace(gpu()[0], away=True)


def reader(found: Device | None) -> Reader:
    return cast("Reader", SimpleNamespace(above=lambda _: found))


def test_what_is_made_of_a_pci_device_is_on_that_with_the_driver_that_it_had() -> None:
    found = on_host(CARD, reader(THERE))
    assert found == replace(CARD, parent=replace(THERE, driver="some"))


def test_a_pci_device_is_below_what_is_above_it_now() -> None:
    device = replace(pci(), away=True)
    assert on_host(device, reader(THERE)) == replace(device, parent=ROOT)


def test_one_that_is_gone_or_another_has_nothing() -> None:
    for found in (None, replace(THERE, slot=pci(born=2).slot)):
        for device in (CARD, replace(pci(), away=True)):
            assert on_host(device, reader(found)) is None


def test_what_hangs_from_no_bus_has_nothing() -> None:
    assert on_host(replace(CARD, parent=None), reader(THERE)) is None
