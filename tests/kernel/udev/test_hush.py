"""What the kernel keeps from a socket, and what it does not."""

from __future__ import annotations

from typing import Any

import pytest
import pyudev

from hotplugd.host.bpf_filter import hush
from hotplugd.host.udev import Udev
from tests.kernel.udev.bench import Heard, until, with_udev
from tests.support.lab.kernel import Console
from tests.support.lab.udevd import settle, trigger

pytestmark = pytest.mark.usefixtures("root", "udevd")


def heard_of(console: Console, *unheard: str) -> list[str]:
    """The actions of the kernel's uevents as the console is plugged, changed and pulled."""
    monitor: Any = pyudev.Monitor.from_netlink(pyudev.Context(), "kernel")
    hush(monitor.fileno(), unheard)
    monitor.start()
    console.plug()
    with open(f"{console.syspath}/uevent", "w", encoding="ascii") as file:
        file.write("change")
    settle()
    console.unplug()
    found: list[str] = []
    while "remove" not in found:
        message = monitor.poll(20)
        assert message is not None, f"nothing more after {found}"
        if message.sys_path == console.syspath:
            found.append(message.action)
    return found


@pytest.mark.parametrize(
    ("unheard", "left"),
    [
        ((), ["add", "change", "remove"]),
        (("add",), ["change", "remove"]),
        (("change",), ["add", "remove"]),
        (("bind", "change", "add"), ["remove"]),
    ],
)
def test_all_but_these_are_heard(console: Console, unheard: tuple[str, ...], left: list[str]) -> None:
    assert heard_of(console, *unheard) == left


def test_of_a_plug_the_kernel_is_heard_twice_and_no_more(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages: list[tuple[str, str]] = []
    hear = Udev._hear

    def noted(udev: Udev, message: Any, source: str) -> None:
        if message.sys_path == console.syspath:
            messages.append((source, message.action))
        hear(udev, message, source)

    monkeypatch.setattr(Udev, "_hear", noted)

    async def script(udev: Udev, heard: Heard) -> None:
        udev.start()
        console.plug()
        await until(lambda: console.syspath in heard.devices)
        trigger("--action=change", console.syspath)
        await until(lambda: ("udev", "change") in messages)
        console.unplug()
        await until(lambda: ("udev", "remove") in messages)
        assert {action for source, action in messages if source == "kernel"} == {"add", "remove"}

    with_udev(script)
