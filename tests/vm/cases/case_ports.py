"""Devices that do not come up, and devices without a configuration: status names the port."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final, cast

from tests.conftest import StartDaemon
from tests.support.lab.daemon import Daemon
from tests.support.lab.wait import eventually
from tests.support.phones import Hub
from tests.support.phones.gadget import Gadget, Identity
from tests.support.phones.usbip import Submit

_SET_CONFIGURATION: Final = 9
# It is looked twice, every 15 s; the kernel gives up after a minute.
_TOLD: Final = 120.0
RULES: Final = "rules:\n  - {name: phones, match: {vendor_id: 18d1}, attach: {to: c1}}\n"


class _Mute(Gadget):
    """Refuses every request."""

    def _control(self, request: Submit) -> bytes | None:
        return None


class _Unconfigurable(Gadget):
    """Refuses each configuration, as where the controller has no room for the endpoints."""

    def _control(self, request: Submit) -> bytes | None:
        (asked,) = struct.unpack_from("<B", request.setup, 1)
        return None if asked == _SET_CONFIGURATION else super()._control(request)


class _Odd:
    """A device of one of these kinds. See `Device`."""

    returns = False

    def __init__(self, kind: type[Gadget]) -> None:
        self._kind = kind

    def gadget(self) -> Gadget:
        return self._kind(Identity(0x18D1, 0x4EE7, "ODD1", ()))


def told(daemon: Daemon, port: str) -> list[str]:
    problems = cast("list[dict[str, str]]", daemon.status()["problems"])
    return [each["message"] for each in problems if each["place"] == port]


def test_a_device_that_does_not_come_up_is_a_problem_of_its_port(hub: Hub, daemon: StartDaemon) -> None:
    running = daemon(RULES)
    port = hub.plug(odd := _Odd(_Mute))
    bus, _, number = port.partition("-")
    state = Path(f"/sys/bus/usb/devices/{bus}-0:1.0/usb{bus}-port{number}/state")
    if state.exists():  # since Linux 6.5
        eventually(lambda: told(running, port), _TOLD, pause=1.0)
        (message,) = told(running, port)
        assert f"USB port {port} last did not come up" in message
    hub.unplug(odd)


def test_a_device_without_a_configuration_is_a_problem_of_its_port(hub: Hub, daemon: StartDaemon) -> None:
    running = daemon(RULES)
    port = hub.plug(odd := _Odd(_Unconfigurable))
    eventually(lambda: told(running, port), _TOLD, pause=1.0)
    (message,) = told(running, port)
    assert f"the device in USB port {port} has no configuration" in message
    hub.unplug(odd)
    eventually(lambda: not told(running, port), _TOLD, pause=1.0)
    assert running.is_fine()
