"""What tells devices apart by their place, whatever number a bus has."""

from __future__ import annotations

from dataclasses import replace

from hotplugd.model.values import Device
from hotplugd.rulefile.bus_numbers import lasting_paths
from tests.unit.devices import HUB, tty, usb

PATH = "pci-0000:00:14.0-usb-0:4.2"


def phone(product: str = "0002", peer: str = "") -> Device:
    """At port 1-4.2 of a root hub with this product number."""
    above = replace(HUB, attrs={"idProduct": product})
    made = usb(properties={"ID_PATH": PATH}, attrs={"peer": peer} if peer else {})
    return replace(made, parent=above)


def test_a_socket_for_both_speeds_has_two_paths() -> None:
    found = lasting_paths(phone(peer="2-1.2"))
    assert found == ("pci-0000:00:14.0-usbv2-0:4.2", "pci-0000:00:14.0-usbv3-0:1.2")
    assert lasting_paths(phone("0003", peer="2-1.2"))[1] == "pci-0000:00:14.0-usbv2-0:1.2"


def test_a_socket_for_one_speed_has_one() -> None:
    assert lasting_paths(phone()) == ("pci-0000:00:14.0-usbv2-0:4.2",)
    assert lasting_paths(phone("0001", peer="2-1.2")) == ("pci-0000:00:14.0-usbv1-0:4.2",)


def test_without_a_usb_revision_the_path_is_id_path() -> None:
    assert lasting_paths(phone("")) == (PATH,)


def test_devices_below_have_the_interface_in_their_path() -> None:
    console = tty(phone(peer="2-1.2"), properties={"ID_PATH": f"{PATH}:1.0"})
    assert lasting_paths(console) == ("pci-0000:00:14.0-usbv2-0:4.2:1.0", "pci-0000:00:14.0-usbv3-0:1.2:1.0")


def test_a_device_without_id_path_has_no_lasting_path() -> None:
    assert lasting_paths(Device("/sys/devices/virtual/block/zram0", "block", "zram0")) == ()
    assert lasting_paths(replace(phone(), properties={})) == ()


def test_other_devices_keep_their_id_path() -> None:
    disk = Device(
        "/sys/devices/pci/block/sda", "block", "sda", properties={"ID_PATH": "pci-0000:00:1f.2-ata-1"}
    )
    assert lasting_paths(disk) == ("pci-0000:00:1f.2-ata-1",)
