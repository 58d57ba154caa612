"""A made-up USB controller with two buses, as the kernel names what is plugged into its sockets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from hotplugd.host.usb_ports import UsbPort
from hotplugd.model.values import Device

CONTROLLER = "pci-0000:00:14.0"


@dataclass(slots=True)
class Sockets:
    """Sockets are given by USB 2: `3.2`. By USB 3 the first number is another.

    fast   by the number of a root port for USB 2, that of the same socket for USB 3
    slow_bus, fast_bus  the numbers of the buses, which a boot gives
    path   whether udevd has given the root hubs an ID_PATH
    """

    fast: Mapping[str, str] = field(default_factory=lambda: {"3": "1", "4": "2"})
    slow_bus: int = 1
    fast_bus: int = 2
    path: bool = True
    serials: Mapping[str, str] = field(default_factory=dict)

    def root(self, *, fast: bool = False) -> Device:
        """A root hub."""
        name = f"usb{self.fast_bus if fast else self.slow_bus}"
        properties = {"ID_PATH": CONTROLLER} if self.path else {}
        attrs = {
            "idProduct": "0003" if fast else "0002",
            "maxchild": "4",
            "speed": "5000" if fast else "480",
            "serial": "0000:00:14.0",
        }
        above = Device("/sys/devices/pci0000:00/0000:00:14.0", "pci", "0000:00:14.0", driver="xhci_hcd")
        return Device(
            f"{above.syspath}/{name}",
            "usb",
            name,
            "usb_device",
            attrs=attrs,
            properties=properties,
            parent=above,
        )

    def own(self, socket: str, *, fast: bool) -> str:
        """The ports that lead to a socket on one of the buses; empty where it has none there."""
        first, dot, rest = socket.partition(".")
        first = self.fast.get(first, "") if fast else first
        return f"{first}{dot}{rest}" if first else ""

    def name(self, socket: str, *, fast: bool) -> str:
        """The kernel's name for what is in a socket, on one of the buses; empty where it has none there."""
        own = self.own(socket, fast=fast)
        return f"{self.fast_bus if fast else self.slow_bus}-{own}" if own else ""

    def plug(
        self,
        socket: str,
        *,
        fast: bool = False,
        peers: bool = True,
        ports: int = 0,
        attrs: Mapping[str, str] = MappingProxyType({}),
    ) -> Device:
        """What is in this socket, and the hubs on the way to it.

        peers  whether the kernel knows the peers of ports below hubs: a hub's other half may come later
        ports  how many it has itself
        """
        above, _, _ = socket.rpartition(".")
        parent = self.plug(above, fast=fast, peers=peers, ports=4) if above else self.root(fast=fast)
        name = self.name(socket, fast=fast)
        assert name, f"{socket} has no port on that bus"
        peer = self.name(socket, fast=not fast) if peers or not above else ""
        own = {"maxchild": str(ports), "speed": "5000" if fast else "480", **attrs}
        if socket in self.serials:
            own["serial"] = self.serials[socket]
        if peer:
            own["peer"] = peer
        return Device(
            f"{parent.syspath}/{name}", "usb", name, "usb_device",
            node=f"/dev/bus/usb/{name.replace('.', '').replace('-', '/')}",
            properties={"ID_PATH": f"{CONTROLLER}-usb-0:{self.own(socket, fast=fast)}"},
            attrs=own,
            parent=parent,
        )  # fmt: skip

    def ports(self, hub: str, count: int = 4, *, fast: bool) -> tuple[str, dict[int, UsbPort]]:
        """The syspath of a hub in a socket, empty for the root hub, and its ports."""
        device = self.plug(hub, fast=fast) if hub else self.root(fast=fast)
        found = {}
        slow = {fast: slow for slow, fast in self.fast.items()}
        for number in range(1, count + 1):
            own = slow.get(str(number), "") if fast and not hub else str(number)
            socket = f"{hub}.{number}" if hub else own
            found[number] = UsbPort(self.name(socket, fast=not fast) if socket else "", "hotplug")
        return device.syspath, found
