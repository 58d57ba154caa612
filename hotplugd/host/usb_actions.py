"""Has USB devices revoked and reset, and ports of hubs switched, by a helper program: see `usb_helper`."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from hotplugd.aio.helper import Program, Unanswered
from hotplugd.aio.helper_loop import DONE
from hotplugd.aio.threads import Threads
from hotplugd.host import usb_helper
from hotplugd.model.values import Device

Switch = Literal["off", "on", "cycle"]
# For what the program does not bound itself.
_SLACK: Final = 5.0


class UsbActions:
    """Asks the program. path: where systemd listens for it.

    Ports have one of their own: a write to one may hang, and no lease waits for it.
    """

    def __init__(self, threads: Threads, path: Path) -> None:
        deadline = usb_helper.LONGEST + _SLACK
        self._devices, self._ports = (
            Program(threads, "usb", usb_helper.__name__, path, deadline, usb_helper.LIMITS) for _ in range(2)
        )

    async def revoke(self, device: Device) -> str:
        """End what any process has open of a USB device. Returns why that was not done, or nothing."""
        return await self._ask(self._devices, "revoke", device.kernel, _number(device))

    async def reset(self, device: Device) -> str:
        """Have its port reset a USB device. Returns why that was not done, or nothing."""
        return await self._ask(self._devices, "reset", device.kernel, _number(device))

    async def switch(self, hub: str, port: int, what: Switch) -> str:
        """Switch a port of a hub, by the kernel's name of that. Returns why that was not done, or nothing."""
        return await self._ask(self._ports, "port", hub, str(port), what)

    def close(self) -> None:
        """Let go of the program. What is under way is cancelled."""
        self._devices.close()
        self._ports.close()

    @staticmethod
    async def _ask(program: Program, *fields: str) -> str:
        try:
            async with program.turn:
                answer = await program.ask("\0".join(fields).encode("ascii", "replace"), ())
        except Unanswered as error:
            return str(error)
        return "" if answer == DONE else program.explained(answer.decode("utf-8", "replace"))


def _number(device: Device) -> str:
    return f"{device.devnum.major}:{device.devnum.minor}" if device.devnum is not None else ""
