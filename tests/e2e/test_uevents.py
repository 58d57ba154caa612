"""What those inside real containers hear of devices."""

from __future__ import annotations

import os
import re
import signal
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.conftest import StartDaemon
from tests.e2e.test_daemon import names, rules, there
from tests.support.lab.container import HOSTS_NETWORK, Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.kernel import Console, Zram
from tests.support.lab.uevents import ENTER, KERNEL, LIBUDEV, listening, monitor
from tests.support.lab.usb import Phone, Usb
from tests.support.lab.wait import eventually, steadily

ADD = ["add kernel", "add libudev"]
REMOVE = ["remove kernel", "remove libudev"]
PRIVILEGED = {"security.privileged": "true"}
SCREEN = "/dev/screen"


def attach(console: Console, *to: Container) -> str:
    """To a path that is nobody else's: a privileged container hears of the host's own, from the kernel."""
    return rules(to=f"[{', '.join(map(str, to))}]", kernel=names(console), more=f", path: {SCREEN}")


def program(running: Daemon) -> int:
    """The process of the program that injects, where the daemon started it."""
    for task in Path(f"/proc/{running.pid}/task").iterdir():
        # A thread, or what it has started, may end meanwhile.
        with suppress(FileNotFoundError, ProcessLookupError):
            for child in (task / "children").read_text().split():
                if b"\0hotplugd.container.inject_helper\0" in Path("/proc", child, "cmdline").read_bytes():
                    return int(child)
    return 0


@pytest.mark.parametrize("config", [{}, PRIVILEGED], ids=["unprivileged", "privileged"])
def test_those_inside_hear_in_both_forms_what_comes_and_goes(
    launch: Callable[..., Container], console: Console, daemon: StartDaemon, config: dict[str, str]
) -> None:
    container = launch(config=config)
    daemon(attach(console, container))
    with listening(container.pid) as ear, listening(os.getpid()) as host, monitor(container) as printed:
        console.plug()
        eventually(lambda: ear.actions(SCREEN) == ADD)
        assert there(container, console, SCREEN)
        console.unplug()
        eventually(lambda: ear.actions(SCREEN) == ADD + REMOVE)
        assert container.look(SCREEN) is None
        eventually(lambda: printed().count(f"DEVNAME={SCREEN}\n") == 4)
        syspath = console.syspath.removeprefix("/sys")
        heads = [each.splitlines()[0] for each in printed().split("\n\n") if f"DEVNAME={SCREEN}\n" in each]
        assert [re.sub(r" *\[.*\] ", " ", head).split() for head in heads] == [
            [who, action, syspath, "(vc)"] for action in ("add", "remove") for who in ("KERNEL", "UDEV")
        ]
        assert not host.of(SCREEN)
    assert {each.user for each in ear.of(SCREEN)} == {0}
    number = {"SUBSYSTEM": "vc", "DEVPATH": syspath, "MAJOR": "7", "MINOR": str(128 + console.number)}
    for each in ear.of(SCREEN):
        assert {key: each[key] for key in number} == number
        assert int(each["SEQNUM"]) > 0
        assert not any(key.startswith("HOTPLUGD") or key == "DEVLINKS" for key, _ in each.properties)


def test_a_disk_is_told_of_with_its_kind(container: Container, zram: Zram, daemon: StartDaemon) -> None:
    zram.plug()
    with listening(container.pid) as ear:
        daemon(rules(to=str(container), subsystem="block", kernel=zram.name, more=", path: /dev/disk"))
        eventually(lambda: ear.actions("/dev/disk") == ADD)
        zram.unplug()
        eventually(lambda: ear.actions("/dev/disk") == ADD + REMOVE)
    assert {each["DEVTYPE"] for each in ear.of("/dev/disk")} == {"disk"}


def test_a_container_on_the_hosts_network_is_told_nothing(
    launch: Callable[..., Container], console: Console, daemon: StartDaemon
) -> None:
    shares, has = launch(config=HOSTS_NETWORK), launch()
    running = daemon(attach(console, shares, has))
    with listening(os.getpid()) as host, listening(has.pid) as ear:
        for _ in range(2):
            console.plug()
            eventually(lambda: there(shares, console, SCREEN))
            eventually(lambda: ear.actions(SCREEN)[-2:] == ADD)
            console.unplug()
            eventually(lambda: shares.look(SCREEN) is None)
            eventually(lambda: ear.actions(SCREEN)[-2:] == REMOVE)
        steadily(lambda: not host.of(SCREEN), 0.2)
    assert running.status()["problems"] == []


def test_after_a_restart_those_inside_are_told_once_more_and_after_a_reload_not(
    container: Container, console: Console, daemon: StartDaemon
) -> None:
    console.plug()
    with listening(container.pid) as ear:
        running = daemon(attach(console, container))
        eventually(lambda: ear.actions(SCREEN) == ADD)
        running.reload()
        running.kill()
        running.start()
        eventually(lambda: ear.actions(SCREEN) == ADD * 2)
        running.stop()
        assert running.ask("run", "--once").returncode == 0
        assert eventually(lambda: ear.actions(SCREEN) == ADD * 3)
        running.start()
        console.unplug()
        eventually(lambda: ear.actions(SCREEN) == ADD * 4 + REMOVE)


def test_the_next_life_of_a_container_is_told(
    container: Container, console: Console, daemon: StartDaemon
) -> None:
    console.plug()
    running = daemon(attach(console, container))
    container.stop()
    # So that somebody listens by the time it is told.
    running.send(signal.SIGSTOP)
    container.start()
    with listening(container.pid) as ear:
        running.send(signal.SIGCONT)
        eventually(lambda: ear.actions(SCREEN) == ADD)
        console.unplug()
        eventually(lambda: ear.actions(SCREEN) == ADD + REMOVE)


def test_a_device_that_is_replugged_goes_and_comes_in_this_order(
    container: Container, console: Console, daemon: StartDaemon
) -> None:
    running = daemon(attach(console, container))
    with listening(container.pid) as ear:
        console.plug()
        eventually(lambda: ear.actions(SCREEN) == ADD)
        # So quickly that both are one change for the daemon.
        running.send(signal.SIGSTOP)
        console.unplug()
        console.plug()
        running.send(signal.SIGCONT)
        eventually(lambda: ear.actions(SCREEN) == ADD + REMOVE + ADD)
        numbers = [int(each["SEQNUM"]) for each in ear.of(SCREEN, KERNEL)]
        assert numbers == sorted(numbers)
        first, gone, second = ear.of(SCREEN, LIBUDEV)
        assert first.get("USEC_INITIALIZED") == gone.get("USEC_INITIALIZED") != second.get("USEC_INITIALIZED")


def test_when_the_program_dies_another_tells(
    container: Container, console: Console, daemon: StartDaemon
) -> None:
    running = daemon(attach(console, container))
    with listening(container.pid) as ear:
        console.plug()
        eventually(lambda: ear.actions(SCREEN) == ADD)
        before = program(running)
        os.kill(before, signal.SIGKILL)
        console.unplug()
        eventually(lambda: ear.actions(SCREEN) == ADD + REMOVE)
        assert program(running) not in (0, before)
        assert "device.untold" not in running.log()


@pytest.mark.alone
def test_a_program_that_hangs_holds_up_no_device_and_is_said_until_it_is_told(
    containers: tuple[Container, Container], console: Console, daemon: StartDaemon
) -> None:
    running = daemon(attach(console, *containers))
    with listening(containers[0].pid) as one, listening(containers[1].pid) as two:
        console.plug()
        eventually(lambda: one.actions(SCREEN) == two.actions(SCREEN) == ADD)
        hung = program(running)
        os.kill(hung, signal.SIGSTOP)
        start = time.monotonic()
        console.unplug()
        eventually(lambda: not any(each.look(SCREEN) for each in containers))
        console.plug()
        eventually(lambda: all(there(each, console, SCREEN) for each in containers))
        assert time.monotonic() - start < 1.5
        message = "was not told that it is gone: the program for it does not answer within 2 s"
        eventually(lambda: message in running.log())
        eventually(lambda: one.actions(SCREEN) == two.actions(SCREEN) == ADD + REMOVE + ADD)
        eventually(running.is_fine)
        assert 1 <= running.log().count("device.untold") <= 2
        assert program(running) != hung


def test_no_namespace_of_a_container_is_kept(
    container: Container, console: Console, daemon: StartDaemon
) -> None:
    running = daemon(attach(console, container))
    space = os.readlink(f"/proc/{container.pid}/ns/net")
    with listening(container.pid) as ear:
        console.plug()
        eventually(lambda: ear.actions(SCREEN) == ADD)

    def held(pid: int) -> list[str]:
        found = []
        for each in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                found.append(os.readlink(each))
        return [each for each in found if each.startswith("net:")]

    eventually(lambda: space not in held(running.pid) + held(program(running)))


@pytest.fixture
def low_bus(root: None) -> Iterator[Usb]:
    """A bus with a number that libusb takes."""
    with Usb(250) as bus:
        yield bus


def test_a_phone_is_told_of_as_the_kernel_and_udevd_would(
    container: Container, usb: Usb, daemon: StartDaemon
) -> None:
    rule = f"rules:\n  - {{name: a, match: {{serial: AAA}}, attach: {{to: {container}}}}}\n"
    daemon(rule, usb.environment)
    more = {
        "ID_MODEL": "evil\x1b[2J",
        "ID_MODEL_FROM_DATABASE": "Pixel 7",
        "DEVLINKS": "/dev/x",
        "TAGS": ":a:",
    }
    with listening(container.pid) as ear:
        phone = usb.plug(Phone(serial="AAA", properties=more), "1")
        eventually(lambda: ear.actions(phone.node) == ADD)
        usb.unplug(phone)
        eventually(lambda: ear.actions(phone.node) == ADD + REMOVE)
    for each in ear.of(phone.node):
        numbers = {key: each[key] for key in ("DEVTYPE", "BUSNUM", "DEVNUM", "PRODUCT", "MAJOR")}
        assert numbers == {
            "DEVTYPE": "usb_device",
            "BUSNUM": f"{usb.bus:03}",
            "DEVNUM": phone.node[-3:],
            "PRODUCT": "18d1/4ee7/100",
            "MAJOR": "189",
        }
        assert each.get("ID_MODEL") is each.get("DEVLINKS") is each.get("TAGS") is None
    for each in ear.of(phone.node, LIBUDEV):
        assert each["ID_SERIAL_SHORT"] == "AAA"
        assert each["ID_MODEL_FROM_DATABASE"] == "Pixel 7"


# libusb in a container's namespaces, with the made-up tree as its /sys. Says what its callback is told.
_LIBUSB = f"""
{ENTER}
usb = ctypes.CDLL("libusb-1.0.so.0")
pointer, number = ctypes.c_void_p, ctypes.c_int
context, callback = pointer(), ctypes.CFUNCTYPE(number, pointer, pointer, number, pointer)
assert usb.libusb_init(ctypes.byref(context)) == 0
def heard(_, device, event, __):
    described = ctypes.create_string_buffer(18)
    usb.libusb_get_device_descriptor(pointer(device), described)
    vendor, product = struct.unpack_from("<HH", described.raw, 8)
    print("arrived" if event == 1 else "left", f"{{vendor:04x}}:{{product:04x}}", flush=True)
    return 0
heard = callback(heard)
assert usb.libusb_hotplug_register_callback(context, 3, 0, -1, -1, -1, heard, None, None) == 0
print("ready", flush=True)
while True:
    usb.libusb_handle_events(context)
"""


@contextmanager
def libusb(container: Container, usb: Usb) -> Iterator[Callable[[], str]]:
    """Gives the next thing that libusb's callback says."""
    mount = 'mount --bind "$0/sys" /sys && exec "$@"'
    words = ["unshare", "--mount", "sh", "-c", mount, str(usb.root), sys.executable, "-c", _LIBUSB]
    with subprocess.Popen([*words, str(container.pid)], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process.stdout.readline
        finally:
            process.kill()


@pytest.mark.parametrize("config", [{}, PRIVILEGED], ids=["unprivileged", "privileged"])
def test_libusb_inside_calls_back(
    launch: Callable[..., Container], low_bus: Usb, daemon: StartDaemon, config: dict[str, str]
) -> None:
    container = launch(config=config)
    rule = f"rules:\n  - {{name: a, match: {{serial: AAA}}, attach: {{to: {container}}}}}\n"
    running = daemon(rule, low_bus.environment)
    with libusb(container, low_bus) as said:
        for _ in range(2):
            running.send(signal.SIGSTOP)
            phone = low_bus.plug(Phone(serial="AAA"), "1")
            described = struct.pack(
                "<BBHBBBBHHHBBBB", 18, 1, 0x200, 0, 0, 0, 64, 0x18D1, 0x4EE7, 1, 0, 0, 0, 1
            )
            configured = struct.pack("<BBHBBBBB", 9, 2, 9, 0, 1, 0, 0x80, 50)
            place = low_bus.root / phone.syspath.lstrip("/")
            (place / "descriptors").write_bytes(described + configured)
            (place / "bConfigurationValue").write_text("1\n")
            running.send(signal.SIGCONT)
            assert said() == "arrived 18d1:4ee7\n"
            low_bus.unplug(phone)
            assert said() == "left 18d1:4ee7\n"


def test_it_is_heard_soon_after_the_node_is_there(
    container: Container, console: Console, daemon: StartDaemon
) -> None:
    daemon(attach(console, container))
    took: list[float] = []
    with listening(container.pid) as ear:
        for _ in range(11):
            console.plug()
            eventually(lambda: there(container, console, SCREEN))
            seen = time.monotonic()
            eventually(lambda: ear.actions(SCREEN)[-2:] == ADD)
            took.append(ear.of(SCREEN, LIBUDEV)[-1].at - seen)
            console.unplug()
            eventually(lambda: ear.actions(SCREEN)[-2:] == REMOVE)
    assert statistics.median(took) < 0.1, took
    sys.stderr.write(f"node inside to uevent heard: {[f'{each * 1000:.1f}' for each in took]} ms\n")
