"""`make demo-phones`: phones and a serial cable on a real bus, and what adb says in the containers.

They are virtual, the bus is the kernel's (see `tests.support.phones`), and the containers are a private
LXD's. Runs in the virtual machine (`tests.vm.show`), or on a host whose kernel has vhci_hcd. Exit code 0
only when each device was seen in its own container, in every mode, nowhere else, and was gone
afterwards.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from signal import Signals
from typing import Final

from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.server import Server
from tests.support.lab.stop import clean_up_when_told_to_end, finish_undisturbed
from tests.support.lab.udevd import udevd
from tests.support.lab.wait import NotInTime, eventually
from tests.support.phones import Cable, Hub, Phone
from tests.support.phones.containers import (
    ADB,
    DEADLINE,
    FASTBOOT,
    adb_devices,
    fastboot_devices,
    launch,
    tty_number,
    usb_nodes,
)

_ENDS: Final = (Signals.SIGINT, Signals.SIGTERM, Signals.SIGHUP)
_LEFT, _RIGHT, _CABLE = "1A0021", "2B0007", "A50285BI"
_CONSOLE: Final = "/dev/ttyConsole"
_RULES: Final = f"""\
rules:
  - name: pixel-left
    match: {{vendor_id: 18d1, serial: {_LEFT}}}
    attach: {{to: c1}}

  - name: pixel-right
    match: {{vendor_id: 18d1, serial: {_RIGHT}}}
    attach: {{to: c2}}

  - name: console-cable
    match: {{subsystem: tty, id: "0403:6001", serial: {_CABLE}}}
    attach: {{to: c2, path: {_CONSOLE}, group: dialout, mode: "0660"}}
"""


@dataclass(frozen=True, slots=True)
class _Show:
    """What is on the stage: a phone of one model in each container, and the cable in the second."""

    hub: Hub
    c1: Container
    c2: Container
    left: Phone
    right: Phone
    cable: Cable

    def run(self) -> None:
        """All of it. Raises NotInTime where something was not as it should be."""
        _say("two phones of one model and a serial cable are plugged in")
        ports = [self.hub.plug(each) for each in (self.left, self.right, self.cable)]
        for name, serial, port in zip(
            ("phone", "phone", "cable"), (_LEFT, _RIGHT, _CABLE), ports, strict=True
        ):
            _print(f"{name} {serial} on port {port}")
        _until("each phone is in its own container", self._both)
        self._show_adb()
        _until(f"the cable is {_CONSOLE} in c2", lambda: self._console() == tty_number(port))
        _shell(self.c2, "ls", "-l", _CONSOLE)
        _until("there is none in c1", lambda: self.c1.look(_CONSOLE) is None)

        _say(f"{_LEFT} goes to its bootloader and comes back")
        _shell(self.c1, *ADB, "reboot", "bootloader")
        _until("it is there in fastboot", lambda: fastboot_devices(self.c1) == {_LEFT})
        _shell(self.c1, *FASTBOOT, "devices")
        _until("and nowhere else", lambda: fastboot_devices(self.c2) == set())
        _shell(self.c1, *FASTBOOT, "reboot")
        _until("each phone is in its own container", self._both)
        self._show_adb()

        _say("everything is pulled")
        for each in (self.left, self.right, self.cable):
            self.hub.unplug(each)
        _until("nothing of it is in any container", self._nothing)
        self._show_adb()

    def _both(self) -> bool:
        lists = [adb_devices(each) for each in (self.c1, self.c2)]
        nodes = [len(usb_nodes(each)) for each in (self.c1, self.c2)]
        return (lists, nodes) == ([{_LEFT: "device"}, {_RIGHT: "device"}], [1, 1])

    def _console(self) -> str:
        seen = self.c2.look(_CONSOLE)
        return seen.number if seen is not None else ""

    def _nothing(self) -> bool:
        here = (self.c1, self.c2)
        return not any(adb_devices(each) or usb_nodes(each) or each.look(_CONSOLE) for each in here)

    def _show_adb(self) -> None:
        for each in (self.c1, self.c2):
            _shell(each, *ADB, "devices")


def main() -> int:
    """Run the show. Returns the exit code."""
    if os.geteuid() != 0:
        sys.stderr.write("make demo-phones: expected root, which LXD and plugging need\n")
        return 2
    if subprocess.run(["modprobe", "vhci_hcd"], check=False, capture_output=True).returncode != 0:
        sys.stderr.write(
            "make demo-phones: expected a kernel with vhci_hcd, as Debian's has it, and this one has none; "
            "without HOST=1 it is shown in a virtual machine\n"
        )
        return 2
    clean_up_when_told_to_end(*_ENDS)
    start = time.monotonic()
    try:
        with ExitStack() as undo:
            _say("udevd, a private LXD, two containers, hotplugd")
            undo.enter_context(udevd())
            server = undo.enter_context(Server())
            c1, c2 = launch(server, "c1"), launch(server, "c2")
            hub = undo.enter_context(Hub())
            daemon = undo.enter_context(Daemon(server.socket, _RULES))
            _Show(hub, c1, c2, Phone(_LEFT), Phone(_RIGHT), Cable(_CABLE)).run()
            if problems := daemon.status()["problems"]:
                raise NotInTime(f"hotplugd has problems: {problems}")
            _say("clean-up")
            finish_undisturbed(*_ENDS)
    except KeyboardInterrupt:
        _say("stopped; everything is cleaned up")
        return 130
    except (AssertionError, RuntimeError, OSError) as error:
        sys.stderr.write(f"make demo-phones: {error}\n")
        return 1
    _print(
        f"{time.monotonic() - start:.0f} s: each was in its own container, nowhere else, and gone afterwards"
    )
    return 0


def _until(what: str, check: Callable[[], object]) -> None:
    """Wait until this is so, and say it. Raises NotInTime."""
    try:
        eventually(check, DEADLINE, pause=0.05)
    except NotInTime as error:
        raise NotInTime(f"expected that {what}: {error}") from error
    _print(f"✓ {what}")


def _shell(container: Container, *words: str) -> None:
    """Run this in there, and show it as a terminal would."""
    shown = " ".join(word for word in words if word != "/usr/bin/env" and not word.startswith("HOME="))
    done = container.run(*words)
    _print(f"{container}# {shown.replace('/usr/bin/', '')}")
    for line in filter(None, done.output.splitlines()):
        _print(f"    {line}")
    if done.code != 0:
        raise NotInTime(f"{shown} in {container} ended with {done.code}")


def _say(text: str) -> None:
    _print(f"\n=== {text}")


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
