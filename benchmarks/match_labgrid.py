"""labgrid's udev matching: its own resources, of its own code, and pyudev's devices.

Each resource is asked for each device, as labgrid does with each event. A resource that has found its device
looks for no other, so it forgets it before each round.
"""

from __future__ import annotations

import json
from typing import Any

import pyudev
from labgrid import Target  # type: ignore[import-not-found]  # it is in an environment of its own
from labgrid.resource.udev import USBResource  # type: ignore[import-not-found]

from benchmarks.rounds import Matcher


class Labgrid(Matcher):
    """`setup` takes matches by name, as JSON."""

    def setup(self, text: str) -> None:
        """Make a resource for each match."""
        target = Target("bench")
        self._resources = [
            (name, USBResource(target, name, match=dict(match))) for name, match in json.loads(text).items()
        ]
        self._devices: list[Any] = []

    def read(self) -> None:
        """List them as labgrid does, but once for all resources."""
        context = pyudev.Context()
        self._devices = list(context.list_devices(subsystem="usb", DEVTYPE="usb_device"))

    def match(self) -> list[tuple[str, str]]:
        """Ask all resources for all devices."""
        found: list[tuple[str, str]] = []
        for _, resource in self._resources:
            resource.device, resource.avail = None, False
        for device in self._devices:
            for name, resource in self._resources:
                if resource.device is None and resource.try_match(device):
                    found.append((device.sys_name, name))
        return found


if __name__ == "__main__":
    Labgrid().serve()
