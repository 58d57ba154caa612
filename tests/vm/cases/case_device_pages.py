"""Devices that modules of the kernel make without hardware, by the rules of the pages about devices.

Each goes into the instances that the page names, and out of them once the kernel has it no more.
"""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import StartDaemon
from tests.support.device_pages import part
from tests.support.lab.container import Container
from tests.support.lab.udevd import settle
from tests.support.lab.wait import eventually
from tests.support.phones import Hub
from tests.support.phones.gadget import Control, Endpoint, Gadget, Identity, Interface
from tests.support.phones.keyboard import Keyboard
from tests.vm.machine import DEADLINE, Machine, Serial

Launch = Callable[..., Container]

# The groups that the rules of the pages name, besides those of the image.
_GROUPS = ("audio:x:29:", "kvm:x:105:", "render:x:106:", "input:x:107:", "tss:x:108:", "nut:x:109:")
_VENDOR, _BULK = (0xFF, 0xFF, 0xFF), (Endpoint(0x81), Endpoint(0x02))
# include/uapi/linux/uinput.h and uhid.h.
_UI_DEV_CREATE, _UI_DEV_DESTROY, _UI_SET_EVBIT, _UI_SET_KEYBIT = 0x5501, 0x5502, 0x40045564, 0x40045565
_EV_KEY, _BTN_GAMEPAD = 1, 0x130
_UHID_CREATE2, _UHID_DESTROY, _BUS_BLUETOOTH = 11, 1, 5
# A gamepad of eight buttons (HID 1.11, 6.2.2).
_PAD = bytes.fromhex("05010905a10105091901290815002501750195088102c0")
_N_PPS = 18
_TIOCSETD = 0x5423


class Plain:
    """A USB device that answers its drivers with zeros. It is there until it is pulled."""

    def __init__(self, identity: Identity, control: Control | None = None) -> None:
        self._identity = identity
        self._control = control or (lambda setup, _data, length: bytes(length) if setup[0] & 0x80 else b"")
        self.returns = False

    def gadget(self) -> Gadget:
        """What it is."""
        return Gadget(self._identity, control=self._control)


def run(*words: str) -> None:
    subprocess.run(words, check=True)


@contextmanager
def modules(*words: str) -> Iterator[None]:
    """A module, with parameters. It is loaded meanwhile."""
    run("modprobe", *words)
    try:
        yield
    finally:
        run("modprobe", "--remove", words[0])


@contextmanager
def for_good(*loads: str) -> Iterator[None]:
    """Modules that stay, each with its parameters."""
    for each in loads:
        run("modprobe", *each.split())
    yield


@contextmanager
def watchdog() -> Iterator[None]:
    """The first one: the machine's own is not there meanwhile."""
    run("modprobe", "--remove", "iTCO_wdt")
    with modules("softdog"):
        yield


@contextmanager
def plugged(*devices: Plain | Keyboard) -> Iterator[None]:
    with Hub() as hub:
        for each in devices:
            hub.plug(each)
        yield


@contextmanager
def gamepad() -> Iterator[None]:
    """One that a program in an instance made (include/uapi/linux/uinput.h, struct uinput_user_dev)."""
    run("modprobe", "uinput")
    file = os.open("/dev/uinput", os.O_WRONLY | os.O_NONBLOCK)
    try:
        fcntl.ioctl(file, _UI_SET_EVBIT, _EV_KEY)
        fcntl.ioctl(file, _UI_SET_KEYBIT, _BTN_GAMEPAD)
        name = b"Sunshine X-Box One pad (seat1)"
        os.write(file, struct.pack("=80sHHHHI", name, 3, 0x45E, 0x2EA, 1, 0) + bytes(4 * 4 * 64))
        fcntl.ioctl(file, _UI_DEV_CREATE)
        yield
        fcntl.ioctl(file, _UI_DEV_DESTROY)
    finally:
        os.close(file)


@contextmanager
def over_bluetooth() -> Iterator[None]:
    """A controller as the host's bluetoothd makes it (include/uapi/linux/uhid.h)."""
    run("modprobe", "uhid")
    file = os.open("/dev/uhid", os.O_RDWR | os.O_NONBLOCK)
    try:
        names = struct.pack("128s64s64s", b"Wireless Controller", b"", b"a0:ab:51:33:c1:05")
        ids = struct.pack("=HHIIII", len(_PAD), _BUS_BLUETOOTH, 0x1209, 1, 0x100, 0)
        os.write(file, struct.pack("=I", _UHID_CREATE2) + names + ids + _PAD.ljust(4096, b"\0"))
        yield
        os.write(file, struct.pack("=I", _UHID_DESTROY))
    finally:
        os.close(file)


@contextmanager
def loop() -> Iterator[None]:
    """A loop device over a file."""
    image = Path("/var/lib/images/builder.img")
    image.parent.mkdir(parents=True, exist_ok=True)
    image.write_bytes(bytes(1 << 20))
    found = subprocess.run(
        ["losetup", "--find", "--show", image], check=True, capture_output=True, text=True
    ).stdout.strip()
    try:
        yield
    finally:
        run("losetup", "--detach", found)


@contextmanager
def volume() -> Iterator[None]:
    run("dmsetup", "create", "vg0-db", "--table", "0 2048 zero")
    try:
        yield
    finally:
        run("dmsetup", "remove", "--retry", "vg0-db")


@contextmanager
def pulses() -> Iterator[None]:
    """A tty whose carrier is a clock (Documentation/driver-api/pps.rst)."""
    with Machine() as machine:
        cable = Serial(machine, 4)
        cable.plug()
        settle()
        file = os.open(cable.node, os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY)
        try:
            fcntl.ioctl(file, _TIOCSETD, struct.pack("i", _N_PPS))
            yield
            fcntl.ioctl(file, _TIOCSETD, struct.pack("i", 0))
        finally:
            os.close(file)
            cable.unplug()


def modem() -> Identity:
    """One with two ttys and a control node beside its network interface (drivers option, qmi_wwan)."""
    ttys = [Interface((0xFF, 1, each), _ends(number)) for number, each in enumerate((1, 2))]
    control = Interface((0xFF, 1, 9), (Endpoint(0x87, 3), *_ends(2)))
    return Identity(0x12D1, 0x155E, "0123456789ABCDEF", (*ttys, control))


def _ends(number: int) -> tuple[Endpoint, Endpoint]:
    return Endpoint(0x81 + 2 * number), Endpoint(0x02 + 2 * number)


@dataclass(frozen=True, slots=True)
class Tried:
    """A device of a part of the pages.

    title   the part's
    make    makes the device, and takes it away
    inside  patterns of its nodes on the host, by instance; `path` is where the one that there is lies inside
    stays   whether the kernel keeps it for good
    """

    title: str
    make: Callable[[], AbstractContextManager[None]]
    inside: dict[str, tuple[str, ...]]
    path: str = ""
    stays: bool = False


TRIED = {
    "watchdog": Tried("Watchdogs", watchdog, {"kiosk": ("/dev/watchdog0",)}, "/dev/watchdog"),
    "tape": Tried(
        "Tape and optical drives",
        lambda: modules("scsi_debug", "ptype=1"),
        {"bacula": ("/dev/nst0", "/dev/st0", "/dev/sg[0-9]")},
    ),
    "drive": Tried(
        "Tape and optical drives",
        lambda: modules("scsi_debug", "ptype=5"),
        {"burner": ("/dev/sr0", "/dev/sg[0-9]")},
    ),
    "KVM": Tried(
        "KVM and TPM",
        lambda: for_good("kvm_amd nested=0", "vhost_net", "vhost_vsock"),
        dict.fromkeys(("builder", "emulator"), ("/dev/kvm", "/dev/vhost-net", "/dev/vhost-vsock")),
        stays=True,
    ),
    "I2C": Tried(
        "Buses of a board", lambda: for_good("i2c-dev", "i2c-i801"), {"sensors": ("/dev/i2c-0",)}, stays=True
    ),
    "GPU of a board": Tried(
        "GPUs and codecs of a board", lambda: modules("vgem"), {"jellyfin": ("/dev/dri/renderD*",)}
    ),
    "virtual gamepad": Tried("Virtual gamepads", gamepad, {"seat1": ("/dev/input/event*",)}),
    "controller over Bluetooth": Tried(
        "Controllers over Bluetooth", over_bluetooth, {"steam": ("/dev/input/event*", "/dev/hidraw0")}
    ),
    "pulses": Tried("Clocks and GNSS receivers", pulses, {"chrony": ("/dev/pps0",)}),
    "volume": Tried("Volumes", volume, {"db": ("/dev/dm-0",)}, "/dev/data"),
    "image": Tried("Volumes", loop, {"builder": ("/dev/loop0",)}, "/dev/image"),
    "flash chip": Tried("Flash chips", lambda: modules("mtdram"), {"flasher": ("/dev/mtd0",)}),
    "PPP": Tried("Tunnels and PPP", lambda: modules("ppp_generic"), {"vpn": ("/dev/ppp",)}),
    "binder": Tried(
        "Android in a container",
        lambda: for_good("binder_linux devices=binder,hwbinder,vndbinder"),
        {"android": ("/dev/binder", "/dev/hwbinder", "/dev/vndbinder")},
        stays=True,
    ),
    "four ports": Tried(
        "Adapters with several ports",
        lambda: plugged(
            Plain(
                Identity(
                    0x0403,
                    0x6011,
                    "FT6ABCDE",
                    [Interface(_VENDOR, _ends(each)) for each in range(4)],
                    release=0x0800,
                )
            )
        ),
        {"rack-FT6ABCDE": ("/dev/ttyUSB2",)},
        "/dev/console-c",
    ),
    "modem": Tried(
        "Modems that switch their mode",
        lambda: plugged(Plain(modem())),
        {"router": ("/dev/ttyUSB0", "/dev/ttyUSB1", "/dev/cdc-wdm0")},
    ),
    "printer": Tried(
        "Printers",
        lambda: plugged(Plain(Identity(0x03F0, 0x2B17, "CN1", [Interface((7, 1, 2), _BULK)]))),
        {"cups": ("/dev/usb/lp0",)},
    ),
    "instrument": Tried(
        "Measuring instruments",
        lambda: plugged(Plain(Identity(0x1AB1, 0x04CE, "DS1ZA170500001", [Interface((0xFE, 3, 1), _BULK)]))),
        {"bench": ("/dev/usbtmc0",)},
    ),
    "wallet": Tried(
        "Hardware wallets and button panels",
        lambda: plugged(Keyboard("Nano", ids=(0x2C97, 0x1011))),
        {"wallet": ("/dev/hidraw0",)},
    ),
}


def nodes(patterns: tuple[str, ...], others: frozenset[Path] = frozenset()) -> list[Path]:
    """The first node on the host that is like each pattern, but for others; fewer where one is not there."""
    found = [set(Path("/dev").glob(each.removeprefix("/dev/"))) - others for each in patterns]
    return [min(each) for each in found if each]


def made(patterns: tuple[str, ...], others: frozenset[Path] = frozenset()) -> list[Path]:
    """Those nodes, once all are there."""
    eventually(lambda: len(nodes(patterns, others)) == len(patterns), DEADLINE, pause=0.1)
    return nodes(patterns, others)


def has(container: Container, host: Path, path: str) -> bool:
    """Whether the host's node is in there, at this path."""
    number = host.stat().st_rdev
    seen = container.look(path)
    return seen is not None and os.makedev(seen.major, seen.minor) == number


def test_a_flash_chip_that_the_host_has_mounted_is_kept(
    launch: Launch, daemon: StartDaemon, tmp_path: Path
) -> None:
    home = launch("flasher")
    running = daemon(part("Flash chips").rules)
    with modules("mtdram"), modules("mtdblock"):
        run("mke2fs", "-q", "-F", "/dev/mtdblock0")
        run("mount", "/dev/mtdblock0", str(tmp_path))
        try:
            (node,) = made(("/dev/mtd0",))
            eventually(lambda: "is mounted" in running.ask("explain", str(node)).stdout, DEADLINE, pause=0.1)
            eventually(lambda: str(node) not in home.nodes(), DEADLINE, pause=0.1)
        finally:
            run("umount", str(tmp_path))


@pytest.mark.parametrize("tried", TRIED.values(), ids=list(TRIED))
def test_it_goes_in_as_its_page_says_and_out_again(launch: Launch, daemon: StartDaemon, tried: Tried) -> None:
    homes = {name: launch(name) for name in tried.inside}
    for home in homes.values():
        home.run("sh", "-c", f"printf '%s\\n' {' '.join(_GROUPS)} >>/etc/group")
    settle()
    running = daemon(part(tried.title).rules)
    # The machine has a power button, which is an input device.
    others = frozenset() if tried.stays else frozenset(Path("/dev/input").glob("event*"))
    with tried.make():
        there = {
            (name, tried.path or str(each)): each
            for name, patterns in tried.inside.items()
            for each in made(patterns, others)
        }
        eventually(
            lambda: all(has(homes[name], host, path) for (name, path), host in there.items()),
            DEADLINE,
            pause=0.1,
        )
        problems = str(running.status()["problems"])
        assert not any(name in problems for name in homes), problems
    if not tried.stays:
        eventually(lambda: not any(path in homes[name].nodes() for name, path in there), DEADLINE, pause=0.1)
