"""A process that sees made-up devices: what it hears, in lines of JSON, and the other end of that.

`python -m tests.kernel.udev.listen [ATTRIBUTE…]` with the environment of a made-up tree. On its input,
an empty line makes it list all devices anew, and one with attributes says that rules ask for these now.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from hotplugd.host.udev import Udev
from hotplugd.model.values import Device, Devnum
from tests.kernel.udev.bench import Heard
from tests.support.lab.usb import Usb
from tests.support.lab.wait import eventually

T = TypeVar("T")


class Listening:
    """Such a process, and what it has heard so far. It has listed all devices when it is entered."""

    def __init__(self, usb: Usb, attrs: Sequence[str] = ()) -> None:
        self.heard = Heard()
        self._usb = usb
        self._attrs = attrs

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, *self._attrs], cwd=Path(__file__).parents[3],
            env=self._usb.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        try:
            os.set_blocking(self._output(), False)
            self._rest = b""
            self.until(lambda: self.heard.listings)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def until(self, check: Callable[[], T]) -> T:
        """Hear more until this is so."""

        def checked() -> T:
            self._hear()
            return check()

        return eventually(checked)

    def list(self, *attrs: str) -> None:
        """Have it list all devices, or ask for other attributes, upon which it does so too."""
        before = self.heard.listings
        assert self._process.stdin is not None
        self._process.stdin.write(" ".join(attrs).encode() + b"\n")
        self._process.stdin.flush()
        self.until(lambda: self.heard.listings > before)

    def _output(self) -> int:
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def _hear(self) -> None:
        try:
            while more := os.read(self._output(), 1 << 20):
                self._rest += more
        except BlockingIOError:
            pass
        else:
            raise RuntimeError(f"the listening process ended with {self._process.wait(10)}")
        *lines, self._rest = self._rest.split(b"\n")
        for line in lines:
            what, *said = json.loads(line)
            if what == "device":
                self.heard.device(_device(said[0]))
            elif what == "no_device":
                self.heard.no_device(said[0])
            elif what == "listed":
                self.heard.listed_devices(*([_device(each) for each in part] for part in said))
            else:
                self.heard.lost.append(said[0])

    def _end(self) -> None:
        with self._process:
            self._process.kill()


class _Teller:
    """A sink that passes everything on."""

    def device(self, device: Device) -> None:
        _tell("device", _plain(device))

    def no_device(self, syspath: str) -> None:
        _tell("no_device", syspath)

    def listed_devices(self, devices: list[Device], unprocessed: list[Device]) -> None:
        _tell("listed", [_plain(each) for each in devices], [_plain(each) for each in unprocessed])


def _tell(*said: object) -> None:
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


def _plain(device: Device) -> dict[str, Any]:
    found = {each.name: getattr(device, each.name) for each in fields(device)}
    number, above = device.devnum, device.parent
    return {
        **found,
        "properties": dict(device.properties),
        "attrs": dict(device.attrs),
        "devnum": [number.kind, number.major, number.minor] if number else None,
        "parent": _plain(above) if above else None,
    }


def _device(said: dict[str, Any]) -> Device:
    number, above = said["devnum"], said["parent"]
    return Device(
        **{
            **said,
            "devnum": Devnum(*number) if number else None,
            "parent": _device(above) if above else None,
        }
    )


async def main() -> None:
    """Listen until somebody ends us."""
    udev = Udev(frozenset(sys.argv[1:]), _Teller(), lambda why: _tell("lost", why))
    udev.start()

    def asked() -> None:
        for line in os.read(0, 4096).decode().splitlines():
            if line:
                udev.ask_for(frozenset(line.split()))
            else:
                udev.list()

    asyncio.get_running_loop().add_reader(0, asked)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
