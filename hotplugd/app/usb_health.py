"""USB ports and devices that do not do well, and buses and controllers that are nearly full. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from hotplugd.model.problem import Problem
from hotplugd.model.values import Device
from hotplugd.rules.hubs import Hubs

ADDRESSES: Final = 127
"""So many devices a bus can have, its hubs among them (USB 2.0, 8.1)."""

NEAR: Final = 115
"""With so many devices on a bus that is told: a farm's next hub would not fit."""

LASTS: Final = 3600.0
"""So long, in seconds, an over-current or a device that did not come up is a problem of its port."""

COMES_UP: Final = 10.0
"""In so many seconds a device has come up that does. The kernel tries others for up to a minute."""

ROOM: Final[Mapping[str, int]] = MappingProxyType(
    {
        # "Max number of devices this xHCI host supports is 32": the VL805 of a Raspberry Pi 4, as its kernel
        # says it (github.com/raspberrypi/linux/issues/3366).
        "1106:3483": 32,
        # QEMU's qemu-xhci: XHCI_MAXSLOTS in its hw/usb/hcd-xhci.h.
        "1b36:000d": 64,
    }
)
"""So many devices a controller takes, by its PCI id: MaxSlots (xHCI 5.3.3). Sysfs does not have it."""


class UsbPorts:
    """What ports of USB hubs are called, also empty ones."""

    def __init__(self, devices: Iterable[Device], hubs: Hubs) -> None:
        self._by_name = {each.kernel: each for each in devices if each.is_usb_device}
        self._hubs = hubs

    def location(self, port: str) -> str:
        """The name of a port; empty where it has none. port: what the kernel calls a device in it"""
        device = self._by_name.get(port)
        if device is None:
            above, dot, _ = port.rpartition(".")
            hub = self._by_name.get(above if dot else f"usb{port.partition('-')[0]}")
            if hub is None:
                return ""
            device = Device(f"{hub.syspath}/{port}", "usb", port, devtype="usb_device", parent=hub)
        return self._hubs.location(device)

    def told(self, port: str) -> str:
        """The port in words."""
        location = self.location(port)
        return f"USB {location} (port {port})" if location else f"USB port {port}"

    def problem(self, port: str, message: str) -> Problem:
        """A problem of a port, and of the device in it where there is one."""
        device = self._by_name.get(port)
        return Problem(
            str(device) if device is not None else "", "", message, place=self.location(port) or port
        )


@dataclass(frozen=True, slots=True)
class Standing:
    """Ports or devices of which something is so, and was so when they were looked at before.

    since  when it was seen first, by name
    """

    since: Mapping[str, float] = field(default_factory=dict)

    def seen(self, names: Iterable[str], now: float) -> Standing:
        """Replace the names of which it is so."""
        return Standing({name: self.since.get(name, now) for name in names})

    def lasting(self, now: float) -> list[str]:
        """The names of which it is so for longer than a device takes to come up."""
        return sorted(name for name, since in self.since.items() if now - since >= COMES_UP)


@dataclass(frozen=True, slots=True)
class OverCurrents:
    """Which ports were switched off for drawing too much power.

    counts  how often since the boot, by the name of a device in the port; None before the first look
    since   by the same, when it was noticed last, and how often since the daemon looks
    """

    counts: Mapping[str, int] | None = None
    since: Mapping[str, tuple[float, int]] = field(default_factory=dict)

    def seen(self, counts: Mapping[str, int], now: float) -> OverCurrents:
        """With these counts. What was counted before the first look is nobody's news."""
        if self.counts is None:
            return OverCurrents(dict(counts))
        since = {port: noted for port, noted in self.since.items() if now - noted[0] < LASTS}
        for port, count in counts.items():
            # A hub that is plugged in anew counts from zero.
            before = self.counts.get(port, 0)
            more = count - before if count >= before else count
            if more > 0:
                since[port] = now, since.get(port, (now, 0))[1] + more
        return OverCurrents(dict(counts), since)

    def problems(self, devices: Iterable[Device], hubs: Hubs) -> Iterator[Problem]:
        """A problem for each port, which names the place."""
        ports = UsbPorts(devices, hubs)
        for port, (_, times) in sorted(self.since.items()):
            often = "once" if times == 1 else f"{times} times"
            message = (
                f"over-current at {ports.told(port)}, {often} within the last hour: what is in it draws more "
                f"power than the hub gives, or the cable has a short; the hub may have switched it off"
            )
            yield ports.problem(port, message)


def failed_ports(unfinished: Standing, ports: UsbPorts, now: float) -> Iterator[Problem]:
    """A problem for each port in which a device did not come up, for an hour: a pull is not told.

    unfinished  the ports without a device in which one was being enumerated last
    """
    for port in unfinished.lasting(now):
        if now - unfinished.since[port] < LASTS:
            message = (
                f"what was plugged into {ports.told(port)} last did not come up (`dmesg` says why): a bad "
                f"cable or port, or the device has crashed; plug it in again, or `hotplugd port cycle`"
            )
            yield ports.problem(port, message)


def unconfigured_devices(
    unconfigured: Standing, ports: UsbPorts, devices: Iterable[Device], now: float
) -> Iterator[Problem]:
    """A problem for each device that the kernel could not configure."""
    lasting = unconfigured.lasting(now)
    by_name = {each.kernel: each for each in devices if each.is_usb_device} if lasting else {}
    for name in lasting:
        controller = _controller(by_name[name]) if name in by_name else None
        which = f"controller {controller.kernel}" if controller is not None else "its controller"
        message = (
            f"the device in {ports.told(name)} has no configuration and does nothing: {which} has no room "
            f"left for it, or its hub too little power (`dmesg` says which); put some devices on another one"
        )
        yield ports.problem(name, message)


def full_controllers(devices: Iterable[Device]) -> Iterator[Problem]:
    """A problem for each controller with little room left, of those of which that is known."""
    controllers: dict[str, Device] = {}
    counts = Counter[str]()
    for each in devices:
        # A root hub takes none of the room.
        if each.is_usb_device and not each.kernel.startswith("usb"):
            controller = _controller(each)
            if controller is not None:
                controllers[controller.syspath] = controller
                counts[controller.syspath] += 1
    for syspath, number in sorted(counts.items()):
        controller = controllers[syspath]
        most = ROOM.get(controller.properties.get("PCI_ID", "").lower(), 0)
        if most and number >= most - most // 10:
            message = (
                f"controller {controller.kernel} has {number} devices, hubs among them, and takes {most}; "
                f"what is plugged in beyond that does not appear: put hubs on another one"
            )
            yield Problem("", "", message, place=controller.kernel)


def _controller(device: Device) -> Device | None:
    """The PCI device that the bus of a USB device is of; None where it is none."""
    return next((above for above in device.ancestors() if above.subsystem == "pci"), None)


def full_buses(devices: Iterable[Device]) -> Iterator[Problem]:
    """A problem for each bus that has few addresses left."""
    buses = Counter(
        each.kernel.removeprefix("usb").partition("-")[0] for each in devices if each.is_usb_device
    )
    for bus, number in sorted(buses.items()):
        if number >= NEAR:
            message = (
                f"USB bus {bus} has {number} devices, hubs among them, and {ADDRESSES} are the most: what is "
                f"plugged in beyond that does not appear; controllers may have room for fewer: put hubs on "
                f"another one"
            )
            yield Problem("", "", message, place=f"usb{bus}")
