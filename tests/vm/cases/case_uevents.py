"""A program inside that waits for its device by libusb, while the device becomes another one."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.conftest import StartDaemon
from tests.support.lab.container import Container
from tests.support.lab.uevents import monitor
from tests.support.lab.wait import eventually
from tests.support.phones import Accelerator, Hub
from tests.support.phones.containers import DEADLINE, arrives

Launch = Callable[..., Container]

RULE = """
rules:
  - name: coral
    match: {id: ["1a6e:089a", "18d1:9302"]}
    attach: {to: c1}
"""
# Says what libusb calls it back for, and opens what comes, as whoever uses it would.
PROGRAM = """
import ctypes, struct
usb = ctypes.CDLL("libusb-1.0.so.0")
pointer, number = ctypes.c_void_p, ctypes.c_int
callback = ctypes.CFUNCTYPE(number, pointer, pointer, number, pointer)
assert usb.libusb_init(None) == 0
def heard(_, device, event, __):
    described = ctypes.create_string_buffer(18)
    usb.libusb_get_device_descriptor(pointer(device), described)
    vendor, product = struct.unpack_from("<HH", described.raw, 8)
    handle = pointer()
    opened = event == 1 and usb.libusb_open(pointer(device), ctypes.byref(handle)) == 0
    if opened:
        usb.libusb_close(handle)
    what = "opened" if opened else "arrived" if event == 1 else "left"
    print(what, f"{vendor:04x}:{product:04x}", flush=True)
    return 0
heard = callback(heard)
assert usb.libusb_hotplug_register_callback(None, 3, 0, -1, -1, -1, heard, None, None) == 0
print("ready", flush=True)
while True:
    usb.libusb_handle_events(None)
"""


@contextmanager
def libusb(container: Container) -> Iterator[Callable[[], str]]:
    """The program, in all of the container's namespaces. Gives what it says next."""
    # libudev hears udevd's form only where this is (systemd: sd_device_monitor_new_full).
    assert container.run("sh", "-c", "mkdir -p /run/udev && touch /run/udev/control").code == 0
    words = ["nsenter", f"--target={container.pid}", "--all", "/usr/bin/python3", "-u", "-c", PROGRAM]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process.stdout.readline
        finally:
            process.kill()


def test_a_device_that_becomes_another_is_followed(hub: Hub, launch: Launch, daemon: StartDaemon) -> None:
    home = launch("c1")
    running = daemon(RULE)
    stick = Accelerator()
    with libusb(home) as said, monitor(home) as printed:
        port = hub.plug(stick)
        assert said() == "opened 1a6e:089a\n"
        arrives(home, port)
        stick.become_ready()
        assert {said(), said()} == {"left 1a6e:089a\n", "opened 18d1:9302\n"}
        node = arrives(home, port)
        eventually(lambda: printed().count(f"DEVNAME={node}\n") >= 2, DEADLINE)
        hub.unplug(stick)
        assert said() == "left 18d1:9302\n"
        text = printed()
        assert all(text.count(f"{who} - ") for who in ("KERNEL", "UDEV"))
    assert running.status()["problems"] == []
