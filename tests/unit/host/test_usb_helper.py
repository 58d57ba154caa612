"""The program that revokes USB devices and switches ports: what it writes where, and what it never does."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from hotplugd.aio.helper import words
from hotplugd.aio.helper_loop import DONE, serve_one
from hotplugd.host import usb_helper
from hotplugd.host.usb_helper import LIMITS, UsbHelper

NUMBER = "189:5"
# What somebody who broke into the daemon would like to reach.
BAD = [
    b"",
    b"revoke",
    b"revoke\x001-4",
    b"revoke\x001-4\x00189:5\x00more",
    b"revoke\x001-4\n\x00189:5",
    b"revoke\x00../1-4\x00189:5",
    b"revoke\x001-4/../1-3\x00189:5",
    b"revoke\x001-4:1.0\x00189:5",
    b"revoke\x00usb1\x00189:0",
    b"revoke\x00\x00",
    b"revoke\x001-4\x00",
    b"revoke\x001-4\x00189:6",
    b"revoke\x001-4\x00-1:5",
    b"revoke\x001-3\x00189:3",
    b"revoke\x001-5\x00189:7",
    b"revoke\x001-9\x00189:9",
    b"revoke\x00\xd9\xa1-4\x00189:5",
    b"reset\x001-3\x00189:3",
    b"reset\x001-4\x00189:5",
    b"reset\x001-4:1.0\x00189:5",
    b"port\x001-4\x001\x00off",
    b"port\x00usb1\x000\x00off",
    b"port\x00usb1\x0099\x00off",
    b"port\x00usb1\x004\x00disable",
    b"port\x00usb1\x004\x00off\x00",
    b"port\x00usb1\x00../4\x00off",
    b"port\x00..\x004\x00off",
    b"port\x00usb1\x006\x00off",
    b"port\x00usb1\x007\x00off",
    b"bind\x001-4\x00189:5",
    b"authorize\x001-4\x00189:5",
]


class Tree:
    """A sysfs with a hub on bus 1, a phone in port 4 of it, and a USB 3 half of that socket on bus 2."""

    def __init__(self, root: Path) -> None:
        self.sys = root / "sys"
        self.driver = self.sys / "bus/usb/drivers/usb"
        self.devices = self.sys / "devices/pci0000:00/0000:00:14.0"
        (self.sys / "bus/usb/devices").mkdir(parents=True)
        self.driver.mkdir(parents=True)
        for name in ("bind", "unbind"):
            (self.driver / name).write_text("")
        self.usb("usb1", "usb1", "189:0", hub=True)
        self.usb("usb2", "usb2", "189:128", hub=True)
        self.phone = self.usb("1-4", "usb1/1-4", NUMBER)
        self.usb("1-3", "usb1/1-3", "189:3", hub=True)
        self.usb("1-5", "usb1/1-5", "189:7", driver="usbip-host")
        self.port = self.add_port("usb1/1-0:1.0/usb1-port4")
        self.peer = self.add_port("usb2/2-0:1.0/usb2-port2")
        (self.port / "peer").symlink_to(self.peer)
        # A port that leads out, and one of a kernel that cannot switch it.
        out = root / "usb3-port1"
        out.mkdir()
        (out / "disable").write_text("")
        (self.add_port("usb1/1-0:1.0/usb1-port6") / "peer").symlink_to(out)
        (self.add_port("usb1/1-0:1.0/usb1-port7") / "disable").unlink()
        interface = self.phone / "1-4:1.0"
        interface.mkdir()
        (interface / "uevent").write_text("DEVTYPE=usb_interface\n")
        (self.sys / "bus/usb/devices/1-4:1.0").symlink_to(interface)
        self.before = self.written()

    def usb(self, name: str, place: str, number: str, *, hub: bool = False, driver: str = "usb") -> Path:
        folder = self.devices / place
        folder.mkdir(parents=True)
        texts = {
            "uevent": f"MAJOR=189\nDEVTYPE=usb_device\nDRIVER={driver}\n",
            "dev": number,
            "bDeviceClass": "09" if hub else "00",
            "maxchild": "8" if hub else "0",
            "busnum": "1",
            "devnum": "6",
        }
        for file, text in texts.items():
            (folder / file).write_text(f"{text}\n")
        (folder / "driver").symlink_to(self.sys / "bus/usb/drivers" / driver)
        (self.sys / "bus/usb/devices" / name).symlink_to(folder)
        return folder

    def add_port(self, place: str) -> Path:
        folder = self.devices / place
        folder.mkdir(parents=True)
        (folder / "disable").write_text("")
        return folder

    def written(self) -> dict[Path, str]:
        """What all files have in them."""
        root = self.sys.parent
        return {
            each: each.read_text() for each in root.rglob("*") if each.is_file() and not each.is_symlink()
        }

    def helper(self) -> UsbHelper:
        return UsbHelper(self.sys, self.sys.parent / "nodes", write=0.2, pause=0.05)

    def ask(self, *fields: str) -> None:
        self.helper().handle("\0".join(fields).encode(), ())


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_a_device_is_unbound_and_bound_again(tree: Tree) -> None:
    seen: list[str] = []

    class Watched(UsbHelper):
        def _write(self, file: Path, text: str) -> None:
            seen.append(f"{file.name} {text}")
            # As the kernel does.
            (tree.phone / "driver").unlink(missing_ok=True)
            if file.name == "bind":
                (tree.phone / "driver").symlink_to(tree.driver)

    Watched(tree.sys, tree.sys).handle(b"revoke\x001-4\x00189:5", ())
    assert seen == ["unbind 1-4", "bind 1-4"]
    # One that is not bound, since the program was killed in between, is bound.
    (tree.phone / "driver").unlink()
    Watched(tree.sys, tree.sys).handle(b"revoke\x001-4\x00189:5", ())
    assert seen[2:] == ["bind 1-4"]


def test_both_ports_of_a_socket_are_switched_with_a_pause(tree: Tree) -> None:
    begun = time.monotonic()
    tree.ask("port", "usb1", "4", "cycle")
    assert time.monotonic() - begun >= 0.05
    # What is written later stands over what was there before.
    assert (tree.port / "disable").read_text() == "0"
    assert (tree.peer / "disable").read_text() == "0"
    tree.ask("port", "usb2", "2", "off")
    assert (tree.peer / "disable").read_text() == "1"
    assert (tree.port / "disable").read_text() == "0"


def test_two_requests_have_the_pause_between_off_and_on(tree: Tree) -> None:
    helper = tree.helper()
    begun = time.monotonic()
    for what in (b"off", b"on"):
        helper.handle(b"port\x00usb1\x004\x00" + what, ())
    assert time.monotonic() - begun >= 0.05


def test_a_write_that_hangs_is_given_up_and_not_repeated(tree: Tree) -> None:
    # The open waits for a reader.
    (tree.port / "disable").unlink()
    os.mkfifo(tree.port / "disable")
    helper = tree.helper()
    with pytest.raises(ValueError, match="the kernel cannot switch usb1-port4"):
        helper.handle(b"port\x00usb1\x004\x00off", ())
    (tree.driver / "unbind").unlink()
    os.mkfifo(tree.driver / "unbind")
    with pytest.raises(ValueError, match=r"hangs in the kernel: no answer in 0 s"):
        helper.handle(b"revoke\x001-4\x00189:5", ())
    with pytest.raises(ValueError, match=r"an earlier request to .* hangs"):
        helper.handle(b"revoke\x001-4\x00189:5", ())
    # Let the thread end.
    os.close(os.open(tree.driver / "unbind", os.O_RDONLY | os.O_NONBLOCK))


def test_a_port_is_switched_on_where_switching_off_failed(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper, done = tree.helper(), list[str]()

    def write(file: Path, text: str) -> None:
        done.append(f"{file.parent.name} {text}")
        if text == "1":
            raise ValueError("it hangs")

    monkeypatch.setattr(helper, "_write", write)
    with pytest.raises(ValueError, match="it hangs"):
        helper.handle(b"port\x00usb1\x004\x00cycle", ())
    assert done == ["usb1-port4 1", "usb1-port4 0", "usb2-port2 0"]


def test_a_device_that_cannot_be_bound_again_is_said(tree: Tree) -> None:
    (tree.driver / "bind").unlink()
    (tree.phone / "driver").unlink()
    with pytest.raises(ValueError, match="could not be bound to 1-4 again"):
        tree.ask("revoke", "1-4", NUMBER)


@pytest.mark.parametrize("message", BAD)
def test_it_refuses_all_else(tree: Tree, message: bytes) -> None:
    with pytest.raises((ValueError, OSError)):
        tree.helper().handle(message, ())
    assert tree.written() == tree.before


def test_a_folder_that_leads_out_of_sysfs_is_no_device(tree: Tree, tmp_path: Path) -> None:
    outside = tmp_path / "1-8"
    outside.mkdir()
    for name, text in (("uevent", "DEVTYPE=usb_device\n"), ("dev", NUMBER)):
        (outside / name).write_text(text)
    (tree.sys / "bus/usb/devices/1-8").symlink_to(outside)
    with pytest.raises(ValueError, match="there is no USB device 1-8"):
        tree.ask("revoke", "1-8", NUMBER)


def test_a_node_that_is_none_of_the_device_is_not_reset(tree: Tree) -> None:
    node = tree.sys.parent / "nodes/001/006"
    node.parent.mkdir(parents=True)
    node.write_text("")
    with pytest.raises(ValueError, match="is not the node of 1-4"):
        tree.ask("reset", "1-4", NUMBER)
    node.unlink()
    node.symlink_to("/dev/null")
    with pytest.raises(OSError, match="symbolic links"):
        tree.ask("reset", "1-4", NUMBER)


def test_whatever_comes_it_answers_and_writes_nothing(tree: Tree) -> None:
    """Requests that are cut, joined, changed in single bytes, or nothing but noise."""
    random = Random(20)
    words = [*b"revoke reset port 1-4 usb1 1-3 4 off on 189:5 .. /".split(b" "), b""]
    helper = tree.helper()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    allowed = {b"revoke\x001-4\x00189:5"} | {
        b"port\x00usb1\x004\x00" + what for what in (b"off", b"on", b"cycle")
    }
    with ours, theirs:
        for _ in range(3000):
            kind = random.random()
            if kind < 0.6:
                message = b"\0".join(random.choices(words, k=random.randint(1, 5)))
            elif kind < 0.9:
                noise = bytearray(random.choice(BAD) or b"x")
                noise[random.randrange(len(noise))] = random.randrange(256)
                message = bytes(noise)
            else:
                message = random.randbytes(random.randint(1, 300))
            if not message or message in allowed:
                continue
            descriptors = [0] if random.random() < 0.1 else []
            with suppress(OSError):
                socket.send_fds(ours, [message], descriptors)
                assert serve_one(theirs, LIMITS, helper.handle)
                assert ours.recv(LIMITS.answer) != DONE, message
    assert tree.written() == tree.before


def test_it_is_started_by_itself_and_ends_with_whoever_asks() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, subprocess.Popen(words(usb_helper.__name__), stdin=theirs.fileno(), env={}) as process:
        theirs.close()
        ours.send(b"revoke\x000-0\x000:0")
        assert ours.recv(LIMITS.answer) == b"there is no USB device 0-0"
        ours.shutdown(socket.SHUT_WR)
        assert process.wait(20) == 0
