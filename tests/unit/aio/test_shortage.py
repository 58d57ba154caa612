"""With too few descriptors nothing is taken for another than it is: an answer is whole, or there is none."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import TypeVar, cast

import pytest

from hotplugd.aio.shortage import is_short
from hotplugd.aio.threads import NoThread
from hotplugd.container.net_folders import folders
from hotplugd.container.opener import Opener, OwnNodes
from hotplugd.container.root import look, process_folder
from hotplugd.container.server_nodes import NodeFiles
from hotplugd.host import netif, server_lock, sysfs, usb_descriptors
from hotplugd.host.device_reader import Reader, all_syspaths, record_of
from hotplugd.host.in_use import in_use, in_use_by_anybody
from hotplugd.host.server_lock import is_alone
from hotplugd.model.values import CANNOT_TELL, Device, Inside
from tests.support.lab.shortage import no_more_descriptors

pytestmark = pytest.mark.usefixtures("root")

T = TypeVar("T")

# None of what is asked here has more than half as many open at once; other tests' threads may have some.
_ENOUGH = 20


def answers(ask: Callable[[], T]) -> Iterator[T]:
    """What is answered with each number of free descriptors, where anything is; with enough it has to be."""
    ask()  # what is read once and kept
    before = len(os.listdir("/proc/self/fd"))
    for free in range(_ENOUGH + 1):
        answered: list[T] = []
        failed: OSError | None = None
        try:
            with no_more_descriptors(but=free):
                answered.append(ask())
        except OSError as error:
            failed = error
        assert len(os.listdir("/proc/self/fd")) == before
        if failed is not None and free == _ENOUGH:
            raise AssertionError(f"with {free} free descriptors") from failed
        yield from answered


def same(ask: Callable[[], T]) -> int:
    """Assert that there is one answer. Returns with how many numbers of descriptors there was none."""
    whole = ask()
    found = list(answers(ask))
    assert found == [whole] * len(found)
    return _ENOUGH + 1 - len(found)


def test_what_says_that_something_is_short() -> None:
    short = OSError(errno.EMFILE, "Too many open files")
    above = PermissionError("the program for it cannot be reached")
    above.__cause__ = short
    assert all(map(is_short, (short, above, NoThread("can't start new thread"), OSError(errno.ENOMEM, "x"))))
    assert not any(map(is_short, (None, ValueError("x"), OSError("x"), PermissionError(errno.EPERM, "x"))))
    assert str(NoThread("can't start new thread")) == "can't start new thread"


def stays(syspath: str) -> bool:
    """Whether a device is none of those that other tests plug and pull."""
    return not syspath.startswith("/sys/devices/virtual/") or syspath.startswith("/sys/devices/virtual/mem/")


def test_sysfs_is_read_whole_or_not_at_all() -> None:
    lo = "/sys/devices/virtual/net/lo"
    for ask in (
        lambda: sysfs.attribute(lo, "type"),
        lambda: sysfs.read(f"{lo}/uevent"),
        lambda: sysfs.names(lo),
        lambda: sysfs.sequence_now() > 0,
        lambda: [each for each in all_syspaths() if stays(each)],
    ):
        assert same(ask) > 0
    assert sysfs.names(f"{lo}/nothing") == sysfs.names(f"{lo}/type") == []


def test_a_device_is_read_whole_or_not_at_all(tmp_path: Path) -> None:
    reader = Reader(frozenset({"dev", "address", "vendor", "size"}), str(tmp_path))
    # One of each kind that there is.
    some = {each.split("/")[-2]: each for each in all_syspaths()}
    kinds = set()
    for syspath in some.values():

        def read(syspath: str = syspath) -> object:
            reader.forget_all()
            return reader.read(syspath, None, listing=False), reader.above(syspath)

        if (seen := reader.read(syspath, None, listing=False)) is None:
            continue
        kinds.add(seen.device.subsystem)
        (tmp_path / record_of(seen.device)).write_text("I:1\nE:ID_PATH=here\n")
        assert same(read) > 0
        # Another thread may have the last one in between.
        whole = read()
        found = list(each_fails(read))
        assert len(found) > 3
        assert set(found) <= {None, whole}
    assert {"net", "mem"} <= kinds


class Short:
    """Opens files in place of os.open, but for one of them."""

    def __init__(self, which: int) -> None:
        self.left = which
        self._open = os.open

    def __call__(self, path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        self.left -= 1
        if self.left == -1:
            raise OSError(errno.EMFILE, "Too many open files")
        return self._open(path, flags, mode, dir_fd=dir_fd)


def each_fails(ask: Callable[[], T]) -> Iterator[T | None]:
    """What is answered where the first file that it opens cannot be, where the second … ; None: nothing."""
    for which in count():
        found: list[T] = []
        short = Short(which)
        with pytest.MonkeyPatch.context() as patch, suppress(OSError):
            patch.setattr(os, "open", short)
            found.append(ask())
        if short.left >= 0:
            return
        yield found[0] if found else None


def test_what_a_usb_device_is_like_is_not_guessed(tmp_path: Path) -> None:
    (tmp_path / "descriptors").write_bytes(bytes([18, 1, *[0] * 15, 0]))
    assert same(lambda: usb_descriptors.read(str(tmp_path))) == 1


def test_nor_which_address_an_interface_has() -> None:
    assert same(lambda: netif.permanent_address("lo")) == 1


def test_what_the_host_uses_is_never_free() -> None:
    # Real ones: who uses virtual disks and interfaces changes with what else runs on the host.
    disks = [each for each in sysfs.names("/sys/class/block") if is_real(f"/sys/class/block/{each}")]
    interfaces = [each for each in sysfs.names("/sys/class/net") if is_real(f"/sys/class/net/{each}")]
    devices = [
        *(Device(f"/sys/class/block/{each}", "block", each) for each in {disks[0], disks[-1]}),
        *(Device(os.path.realpath(f"/sys/class/net/{each}"), "net", each) for each in ("lo", *interfaces)),
        Device("/sys/devices/pci0/card0/drm/card0", "drm", "card0"),
        Device("/sys/devices/virtual", "pci", "0000:00:02.0"),
        Device("/sys/devices/virtual/nvme", "nvme", "nvme0"),
    ]
    assert {each.subsystem for each in devices} >= {"block", "net"}
    # Of the addresses in use the least is named: whatever else listens, it is this one.
    with socket.create_server(("127.0.0.1", 0)):
        for device in devices:
            for ask in (in_use, in_use_by_anybody):
                whole = ask(device)
                found = list(answers(lambda device=device, ask=ask: ask(device)))  # type: ignore[misc]
                assert all(each == whole or each.startswith(CANNOT_TELL) for each in found), (device, found)
                assert found[-1] == whole
                assert found[0].startswith(CANNOT_TELL), device


def is_real(folder: str) -> bool:
    """Whether a device's folder in sysfs says that there is hardware, or a bus, behind it."""
    return os.path.exists(f"{folder}/device")


def test_what_is_inside_is_seen_whole_or_not_at_all() -> None:
    def ask() -> Inside:
        root = os.open("/", os.O_PATH | os.O_DIRECTORY)
        try:
            process = process_folder(os.getpid())
        except OSError:
            os.close(root)
            raise
        return look(root, process, ["/dev/null", "/dev/none"], ["root", "nobody"], ["root"], ["lo"])

    found = ask()
    assert found.users["root"] == 0
    assert found.folders
    assert "lo" in found.folders
    assert same(ask) > 2


def test_interfaces_that_are_not_to_be_seen_are_none(tmp_path: Path) -> None:
    # Short of something and without sysfs are not the same.
    folder = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    try:
        assert folders(folder, []) == {}
        with no_more_descriptors(), pytest.raises(OSError, match="Too many"):
            folders(folder, [])
    finally:
        os.close(folder)


def test_others_are_not_taken_for_away(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(server_lock, "SLOTS", str(tmp_path))
    (tmp_path / ".lock-another").touch()
    assert same(lambda: is_alone("/a")) > 0


def ended(work: Coroutine[object, object, list[int]]) -> list[int]:
    """What comes of what waits for nothing: an event loop would need descriptors of its own."""
    try:
        work.send(None)
    except StopIteration as end:
        return cast("list[int]", end.value)
    raise AssertionError("it waits for something")


def test_the_nodes_of_an_entry_are_all_found_or_none(tmp_path: Path) -> None:
    for instance in ("one", "two"):
        (tmp_path / instance).mkdir()
        (tmp_path / instance / "unix.hp-1.dev-null").touch()
    files = NodeFiles(Opener.__new__(Opener))
    files._nodes = OwnNodes(os.open(tmp_path, os.O_PATH | os.O_DIRECTORY))

    def everywhere() -> int:
        found = ended(files.everywhere("hp-1"))
        for each in found:
            os.close(each)
        return len(found)

    try:
        assert everywhere() == 2
        assert same(everywhere) >= 2
    finally:
        files.close()
