"""A farm of phones as a daemon tells of it: on a real control socket, with what a test plugs and pulls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from hotplugd.app import endpoints
from hotplugd.app.control_request import ControlRequest, Handler
from hotplugd.app.endpoints import Endpoint
from hotplugd.app.event_buffer import EventBuffer, Moment
from hotplugd.app.status_answers import event_lines, events
from hotplugd.app.topology import topology
from hotplugd.host.usb_ports import UsbPort
from hotplugd.model.values import Device
from hotplugd.rules.hubs import Hub, Hubs
from tests.support.serving import serving
from tests.support.usb_tree import CONTROLLER, Sockets

HUBS: Final = 4
PORTS: Final = 12
PHONES: Final = 10
_TREE: Final = Sockets(fast={})
_MODELS: Final = ("Pixel 7", "Galaxy S23", "Fairphone 5", "Xperia 10 V", "Pixel 8a")
_NAMED: Final = Hubs(
    tuple(
        Hub(
            f"shelf-{number}", (f"{CONTROLLER}-usb-0:{number}",), "",
            {str(port): str(port) for port in range(1, PORTS + 1)},
        )
        for number in range(1, HUBS + 1)
    )
)  # fmt: skip
_NOTHING: Final[Mapping[str, Any]] = {
    "ready": True, "rules": 3, "devices": 60, "attachments": [], "pending": [], "holds": [], "claims": [],
    "overrides": [], "problems": [], "unmatched": [],
    "unleased": [], "failed_reloads": 0, "lost_events": 0, "cursor": "x",
    "server": {"address": "/s", "software": "incus", "version": "7.0", "connected": True},
}  # fmt: skip


def at(location: str) -> str:
    """The socket, as the kernel names it on its bus."""
    hub, _, port = location.removeprefix("shelf-").partition("/")
    return f"{hub}.{port}"


class Farm:
    """Phones by their locations.

    lasting  the keys of `status` that stay as a test sets them
    asked    which questions came
    """

    loop: asyncio.AbstractEventLoop

    def __init__(self) -> None:
        self.phones: dict[str, Device] = {}
        self.attached: dict[str, str] = {}
        self.lasting: dict[str, Any] = {}
        self.leases: list[dict[str, Any]] = []
        self.asked: list[str] = []
        self.events = EventBuffer("1a2b3c4d")

    def fill(self) -> None:
        """Have ten phones on each shelf, each in an instance of its own."""
        for number in range(HUBS * PHONES):
            location = f"shelf-{number // PHONES + 1}/{number % PHONES + 1}"
            self.phones[location] = self.phone(location, f"R5CT{number:03}A", _MODELS[number % len(_MODELS)])
            self.attached[location] = f"runner-{number + 1}"

    def phone(self, location: str, serial: str, product: str) -> Device:
        """A phone for a port."""
        attrs = {"serial": serial, "product": product, "idVendor": "18d1", "idProduct": "4ee7"}
        return _TREE.plug(at(location), attrs=attrs)

    def plug(
        self, location: str, serial: str = "R5CT999A", product: str = "Pixel 9", to: str = "runner-99"
    ) -> None:
        """Plug a phone in, which is attached at once."""
        self.phones[location] = self.phone(location, serial, product)
        self.attached[location] = to
        self.happens("device.add", location)

    def pull(self, location: str) -> None:
        """Pull a phone."""
        self.happens("device.remove", location)
        del self.phones[location], self.attached[location]

    def named(self, location: str) -> dict[str, Any]:
        """What tells a phone from others, as documents have it."""
        phone = self.phones[location]
        return {
            "device": str(phone), "serial": phone.attrs["serial"], "model": phone.attrs["product"],
            "port": phone.kernel, "location": location, "identity": f"serial:{phone.attrs['serial']}",
        }  # fmt: skip

    def problem(self, location: str, message: str) -> dict[str, Any]:
        """A problem of a phone."""
        named = {key: value for key, value in self.named(location).items() if key != "identity"}
        return {
            **named, "rule": "phones", "message": message, "instance": "", "claim": "", "pool": "",
            "place": "",
        }  # fmt: skip

    def happens(self, event: str, location: str) -> None:
        """Tell of it."""
        instance = self.attached.get(location, "")
        told = {"event": event, "level": "info", "instance": instance, **self.named(location)}

        def do() -> None:
            self.events.keep(Moment.now(), told)
            self.events.tell()

        if hasattr(self, "loop"):
            self.loop.call_soon_threadsafe(do)
        else:
            do()

    # --- what the daemon says ---------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """As `GET /1/status`."""
        attachments = [self._attachment(each) for each in self.attached]
        return {**_NOTHING, "attachments": attachments, **self.lasting}

    def _attachment(self, location: str) -> dict[str, Any]:
        named = self.named(location)
        return {
            **named, "project": "default", "instance": self.attached[location], "path": named["device"],
            "link": "", "mode": "", "owner": "", "rule": "phones", "since": "2026-11-26T21:30:00.000+00:00",
            "verified": True, "pool": "", "claim": "", "by_hand": False,
        }  # fmt: skip

    def topology(self) -> Mapping[str, Any]:
        """As `GET /1/topology`."""
        boxes = [_TREE.plug(str(hub), ports=PORTS) for hub in range(1, HUBS + 1)]
        held = {self.phones[each].syspath: [f"default/{name}"] for each, name in self.attached.items()}
        ports = {each.syspath: dict.fromkeys(range(1, PORTS + 1), UsbPort("", "hotplug")) for each in boxes}
        root = replace(_TREE.root(), attrs={**_TREE.root().attrs, "maxchild": str(HUBS)})
        return topology([root, *boxes, *self.phones.values()], ports, _NAMED, held)

    def explain(self, asked: ControlRequest) -> dict[str, Any]:
        """As `GET /1/explain`."""
        name = asked.query["device"]
        self.asked.append(f"explain {name}")
        (location,) = [each for each, phone in self.phones.items() if str(phone) == name]
        rule = {"file": "rules.d/phones.yaml", "description": "", "enabled": True}
        failed = {"key": "serial", "wanted": "R5CX*", "found": self.phones[location].attrs["serial"]}
        return {
            **self.named(location), "port": [self.phones[location].kernel], "rule": "phones",
            "syspath": self.phones[location].syspath,
            "instances": [], "missing": [], "pool": "", "parents": [], "override": None, "subsystem": "usb",
            "rules": [
                {**rule, "name": "special", "line": 2, "failed": failed},
                {**rule, "name": "phones", "line": 6, "failed": None},
            ],
            "along": None, "ignored": False, "claims": [], "wants": [], "changes": [],
            "holds": [], "problems": [], "attachments": [self._attachment(location)], "holders": [],
            "warnings": [], "lease": None, "inside": None, "by": "daemon",
        }  # fmt: skip

    def handlers(self) -> dict[Endpoint, Handler]:
        """What is on the control socket."""

        def asking(name: str, answer: Callable[[], object]) -> Handler:
            def told(_: ControlRequest) -> object:
                self.asked.append(name)
                return answer()

            return told

        pool = {
            "name": "android", "project": "default", "instances": ["runner-*"], "per_instance": 1,
            "keep_stopped": False, "expect": 0, "empty": [], "devices": self.leases, "claims": [],
        }  # fmt: skip
        return {
            endpoints.STATUS: asking("status", self.status),
            endpoints.TOPOLOGY: asking("topology", self.topology),
            endpoints.POOLS: asking("pools", lambda: {"pools": [pool], "cordons": []}),
            endpoints.HEALTH: asking("health", lambda: {"health": "well", "findings": []}),
            endpoints.EXPLAIN: self.explain,
            endpoints.EVENTS: lambda asked: events(self.events, asked),
            endpoints.STREAM: lambda asked: event_lines(self.events, asked),
        }


@contextmanager
def farming(control: Path, farm: Farm) -> Iterator[Farm]:
    """The farm on a control socket."""
    with serving(control, farm.handlers()) as farm.loop:
        yield farm
