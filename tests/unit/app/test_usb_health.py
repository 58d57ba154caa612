"""USB ports and devices that do not do well, and buses and controllers that are nearly full."""

from __future__ import annotations

from dataclasses import replace

from hotplugd.app.usb_health import (
    COMES_UP,
    LASTS,
    NEAR,
    OverCurrents,
    Standing,
    UsbPorts,
    failed_ports,
    full_buses,
    full_controllers,
    unconfigured_devices,
)
from hotplugd.model.values import Device
from hotplugd.rules.hubs import NO_HUBS, Hub, Hubs
from tests.support.devices import console, phone


def told(over: OverCurrents) -> list[str]:
    return [each.message for each in over.problems([phone(4)], NO_HUBS)]


def test_what_was_counted_before_the_first_look_is_no_news() -> None:
    over = OverCurrents().seen({"1-4": 7}, 0).seen({"1-4": 7}, 15)
    assert told(over) == []


def test_a_port_that_counts_more_is_a_problem_for_an_hour() -> None:
    over = OverCurrents().seen({}, 0).seen({"1-4": 1}, 15)
    (problem,) = over.problems([phone(4), console(1)], NO_HUBS)
    assert problem.message.startswith("over-current at USB port 1-4, once within the last hour: ")
    assert (problem.device, problem.place) == ("/dev/bus/usb/001/004", "1-4")
    over = over.seen({"1-4": 3}, 30)
    assert ", 3 times within" in told(over)[0]
    assert told(over.seen({"1-4": 3}, 30 + LASTS - 1))
    assert told(over.seen({"1-4": 3}, 30 + LASTS)) == []


def test_a_hub_that_is_plugged_in_anew_counts_from_zero() -> None:
    over = OverCurrents().seen({"1-4": 9}, 0).seen({}, 15).seen({"1-4": 1}, 30)
    assert ", once within" in told(over)[0]
    over = OverCurrents().seen({"1-4": 9}, 0).seen({"1-4": 2}, 15)
    assert ", 2 times within" in told(over)[0]


def test_a_bus_that_is_nearly_full_is_a_problem() -> None:
    many = [replace(phone(1), kernel=f"3-1.{number}") for number in range(NEAR)]
    assert [*full_buses(many[1:])] == []
    (problem,) = full_buses([*many, phone(2), console(1)])
    assert problem.message.startswith(f"USB bus 3 has {NEAR} devices, hubs among them, and 127 are the most")
    assert problem.place == "usb3"


SHELF = Hubs((Hub("shelf", ("pci-0000:00:14.0",), "", {"A": "1", "D": "4"}),))


def controller(pci_id: str = "1106:3483", name: str = "0000:01:00.0") -> Device:
    return Device(f"/sys/devices/pci/{name}", "pci", name, properties={"PCI_ID": pci_id})


def on(above: Device, bus: int, ports: int) -> list[Device]:
    """So many devices on a bus of a controller, and the bus itself."""
    root = Device(f"{above.syspath}/usb{bus}", "usb", f"usb{bus}", devtype="usb_device", parent=above)
    return [root, *(replace(phone(1), kernel=f"{bus}-{port}", parent=root) for port in range(1, ports + 1))]


def test_a_device_that_does_not_come_up_is_a_problem_of_its_port_for_an_hour() -> None:
    root = replace(next(iter(phone(1).ancestors())), properties={"ID_PATH": "pci-0000:00:14.0"})
    ports = UsbPorts([root, phone(2)], SHELF)
    found = Standing().seen(["1-4"], 0)
    assert [*failed_ports(found, ports, 0)] == []
    found = found.seen(["1-4"], 15)
    (problem,) = failed_ports(found, ports, 15)
    assert problem.message.startswith("what was plugged into USB shelf/D (port 1-4) last did not come up")
    assert (problem.device, problem.place) == ("", "shelf/D")
    assert len([*failed_ports(found, ports, LASTS - 1)]) == 1
    assert [*failed_ports(found, ports, LASTS)] == []
    # It has come up, and another one does not.
    assert [*failed_ports(found.seen([], 30).seen(["1-4"], 45), ports, 45)] == []
    # Nobody knows the hub.
    (problem,) = failed_ports(Standing({"3-1.2": 0}), ports, COMES_UP)
    assert problem.place == "3-1.2"


def test_a_device_without_a_configuration_is_a_problem_that_names_its_controller() -> None:
    devices = on(controller(), 3, 2)
    found = Standing({"3-2": 0})
    assert [*unconfigured_devices(found, UsbPorts(devices, NO_HUBS), devices, COMES_UP - 1)] == []
    (problem,) = unconfigured_devices(found, UsbPorts(devices, NO_HUBS), devices, 2 * LASTS)
    assert "the device in USB port 3-2 has no configuration" in problem.message
    assert "controller 0000:01:00.0 has no room left" in problem.message
    assert (problem.device, problem.place) == (str(devices[2]), "3-2")
    (problem,) = unconfigured_devices(Standing({"9-1": 0}), UsbPorts(devices, NO_HUBS), devices, LASTS)
    assert "its controller has no room" in problem.message


def test_a_controller_that_is_nearly_full_is_a_problem_where_its_room_is_known() -> None:
    one, other = controller(), controller("8086:a36d", "0000:00:14.0")
    # Both of its buses count, and their root hubs do not.
    assert [*full_controllers([*on(one, 3, 14), *on(one, 4, 14)])] == []
    many = [*on(one, 3, 14), *on(one, 4, 15), *on(other, 1, 60)]
    (problem,) = full_controllers([*many, console(1)])
    assert problem.message.startswith(
        "controller 0000:01:00.0 has 29 devices, hubs among them, and takes 32; "
    )
    assert problem.place == "0000:01:00.0"
