"""What the host itself uses of its disks: asked of the real kernel about real ones."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from hotplugd.host import disks
from hotplugd.host.in_use import in_use, in_use_by_anybody
from hotplugd.model.values import CANNOT_TELL, Device
from tests.support.lab.kernel import Zram
from tests.support.lab.mounts import elsewhere
from tests.support.lab.udevd import settle
from tests.support.lab.wait import eventually

pytestmark = pytest.mark.usefixtures("root", "udevd")


def run(*words: str | Path) -> str:
    done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout.strip()


def undo(*words: str | Path) -> None:
    """Run what takes something away, again while udevd still looks at it."""
    eventually(lambda: [run(*words)])


def block(name: str) -> Device:
    return Device(os.path.realpath(f"/sys/class/block/{name}"), "block", name, node=f"/dev/{name}")


@pytest.fixture
def disk(zram: Zram) -> Device:
    """A disk of 16 MB that nobody uses."""
    zram.plug()
    settle()
    Path(zram.syspath, "disksize").write_text("16M")
    return block(zram.name)


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[Device]:
    """A disk with a partition, over a file."""
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(16 << 20)
    with ExitStack() as stack:
        node = run("losetup", "--find", "--show", image)
        stack.callback(undo, "losetup", "--detach", node)
        run("addpart", node, "1", "2048", "16384")
        stack.callback(undo, "delpart", node, "1")
        settle()
        yield block(os.path.basename(node))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """Where to mount something, with a name that the kernel escapes."""
    folder = tmp_path / "a place\tto \\mount"
    folder.mkdir()
    yield folder
    if folder.is_mount():
        undo("umount", folder)


def test_a_disk_that_nobody_uses_is_free(disk: Device, loop: Device) -> None:
    assert (in_use(disk), in_use(loop), in_use(block(f"{loop.kernel}p1"))) == ("", "", "")


def test_a_member_of_an_imported_pool_is_in_use(
    disk: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No kernel here has ZFS: only what its module shows of a pool is made up.
    monkeypatch.setattr(disks, "_ZFS", str(tmp_path))
    member = replace(disk, properties={"ID_FS_TYPE": "zfs_member", "ID_FS_LABEL": "tank"})
    assert in_use(member) == ""
    (tmp_path / "tank").mkdir()
    assert in_use(member) == f"{disk.kernel} is part of the ZFS pool tank"
    for label in ("", "..", "a/b"):
        assert in_use(replace(member, properties={**member.properties, "ID_FS_LABEL": label})) == ""


def test_the_pci_device_of_what_the_host_uses_is_in_use() -> None:
    routes = Path("/proc/net/route").read_text().splitlines()[1:]
    name = next(line.split()[0] for line in routes if line.split()[1] == "00000000")
    path = Path(os.path.realpath(f"/sys/class/net/{name}"))
    above = [each for each in path.parents if (each / "subsystem").resolve().name == "pci"]
    if not above:  # an interface of a machine without PCI: the path above it is none of its devices
        assert in_use(Device(str(path), "net", name)) == "it has the default route"
        return
    found = in_use(Device(str(above[0]), "pci", above[0].name))
    assert found == f"{name}: it has the default route"


def test_a_mounted_disk_is_in_use_until_it_is_unmounted(disk: Device, place: Path) -> None:
    run("busybox", "mke2fs", "-b", "4096", disk.node)
    run("mount", disk.node, place)
    assert in_use(disk) == f"{disk.kernel} is mounted on {place}"
    undo("umount", place)
    assert in_use(disk) == ""


def test_a_mounted_partition_keeps_its_whole_disk_in_use(loop: Device, place: Path) -> None:
    run("busybox", "mke2fs", "-b", "4096", f"{loop.node}p1")
    run("mount", f"{loop.node}p1", place)
    why = f"{loop.kernel}p1 is mounted on {place}"
    assert in_use(loop) == why
    assert in_use(block(f"{loop.kernel}p1")) == why
    undo("umount", place)
    assert in_use(loop) == ""


def test_a_disk_is_in_use_for_as_long_as_the_host_swaps_on_it(disk: Device) -> None:
    run("mkswap", disk.node)
    assert in_use(disk) == ""
    run("swapon", disk.node)
    try:
        assert in_use(disk) == f"{disk.kernel} is swap space"
    finally:
        undo("swapoff", disk.node)
    assert in_use(disk) == ""


def test_swap_by_another_name_of_the_disk_is_swap_on_the_disk(disk: Device, tmp_path: Path) -> None:
    (tmp_path / "by-label").symlink_to(disk.node)
    run("mkswap", disk.node)
    run("swapon", tmp_path / "by-label")
    try:
        assert in_use(disk) == f"{disk.kernel} is swap space"
    finally:
        undo("swapoff", disk.node)


def test_swapping_on_a_partition_keeps_its_whole_disk_in_use(loop: Device) -> None:
    run("mkswap", f"{loop.node}p1")
    run("swapon", f"{loop.node}p1")
    try:
        assert in_use(loop) == f"{loop.kernel}p1 is swap space"
    finally:
        undo("swapoff", f"{loop.node}p1")


def test_a_disk_that_is_part_of_another_is_in_use(tmp_path: Path) -> None:
    # Not every kernel can stack disks, so the folder is laid out as one that can would do it.
    for folder in ("sdz/holders", "sdz/sdz1/holders/dm-0"):
        (tmp_path / folder).mkdir(parents=True)
    for name, number in (("sdz", "8:400"), ("sdz/sdz1", "8:401")):
        (tmp_path / name / "dev").write_text(f"{number}\n")
    (tmp_path / "sdz/sdz1/partition").write_text("1\n")
    assert in_use(Device(str(tmp_path / "sdz"), "block", "sdz")) == "sdz1 is part of dm-0"
    (tmp_path / "sdz/sdz1/holders/dm-0").rmdir()
    assert in_use(Device(str(tmp_path / "sdz"), "block", "sdz")) == ""


def test_a_disk_under_a_file_system_with_a_number_of_its_own_is_in_use(
    disk: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    # btrfs, bcachefs and ZFS are mounted by a number that is no disk's. The line is the kernel's own.
    line = f"52 27 0:54 / /srv rw,relatime - btrfs {disk.node} rw,space_cache=v2,subvolid=5,subvol=/\n"
    read_text = Path.read_text

    def recorded(path: Path, encoding: str | None = None, errors: str | None = None) -> str:
        return line if path.name == "mountinfo" else read_text(path, encoding, errors)

    monkeypatch.setattr(Path, "read_text", recorded)
    assert in_use(disk) == f"{disk.kernel} is mounted on /srv"


def test_what_lvm_has_put_together_is_in_use_without_a_volume_that_is_active(disk: Device) -> None:
    said = {"ID_FS_TYPE": "LVM2_member", "LVM_VG_NAME_COMPLETE": "pool"}
    assert in_use(replace(disk, properties=said)) == f"{disk.kernel} is part of the volume group pool"
    del said["LVM_VG_NAME_COMPLETE"]
    assert in_use(replace(disk, properties=said)) == ""


def test_a_disk_under_a_loop_device_is_in_use(disk: Device) -> None:
    node = run("losetup", "--find", "--show", disk.node)
    assert in_use(disk) == f"{disk.kernel} is part of {os.path.basename(node)}"
    undo("losetup", "--detach", node)
    eventually(lambda: in_use(disk) == "")


def test_a_disk_that_is_mounted_in_another_mount_namespace_is_in_use(disk: Device, place: Path) -> None:
    run("busybox", "mke2fs", "-b", "4096", disk.node)
    with elsewhere("mount", disk.node, str(place)) as pid:
        assert in_use(disk) == ""
        assert in_use_by_anybody(disk) == f"{disk.kernel} is mounted by sh (process {pid})"
    eventually(lambda: in_use_by_anybody(disk) == "")


def test_what_leads_to_a_disk_that_is_mounted_in_another_mount_namespace_is_in_use(
    loop: Device, place: Path
) -> None:
    run("busybox", "mke2fs", "-b", "4096", f"{loop.node}p1")
    # What is below the disk's folder here is below the folders of what leads to a disk elsewhere.
    ways = [Device(loop.syspath, each, each) for each in ("pci", "nvme", "scsi_generic", "mtd")]
    others = [Device(loop.syspath, each, each) for each in ("tty", "usb")]
    with elsewhere("mount", f"{loop.node}p1", str(place)) as pid:
        assert [in_use(each) for each in ways] == [""] * 4
        why = f"{loop.kernel}p1 is mounted by sh (process {pid})"
        assert [in_use_by_anybody(each) for each in ways] == [why] * 4
        assert [in_use_by_anybody(each) for each in others] == [""] * 2
    eventually(lambda: in_use_by_anybody(ways[0]) == "")


def test_a_mount_that_calls_itself_a_disk_uses_none(disk: Device, place: Path) -> None:
    # What a file system that has no disk says for its source is whatever who mounts it likes.
    with elsewhere("mount", "-t", "tmpfs", disk.node, str(place)):
        assert in_use_by_anybody(disk) == ""


@contextmanager
def no_descriptors() -> Iterator[None]:
    """No file can be opened while the context lasts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_what_cannot_be_told_is_not_free(disk: Device) -> None:
    lo = Device("/sys/devices/virtual/net/lo", "net", "lo")
    card = Device("/sys/devices/pci0000:00/0000:00:1f.0", "pci", "0000:00:1f.0")
    with no_descriptors():
        found = [in_use(each) for each in (disk, lo, card)]
        found.append(in_use_by_anybody(disk))
    for each in found:
        assert each.startswith(f"{CANNOT_TELL}: ")
        assert "Too many open files" in each


def test_another_way_to_what_the_host_uses_is_in_use() -> None:
    routes = Path("/proc/net/route").read_text().splitlines()[1:]
    name = next(line.split()[0] for line in routes if line.split()[1] == "00000000")
    above = str(Path(os.path.realpath(f"/sys/class/net/{name}")).parent.parent)
    why = f"{name}: it has the default route"
    top = next(str(each) for each in Path(above).parents if each.name.startswith("pci"))
    assert in_use(Device(top, "usb", "1-1", "usb_device")) == in_use(Device(top, "pci", "top")) != ""
    assert in_use(Device(above, "nvme", "nvme0")) == why
    assert in_use(Device(above, "usb", "1-1:1.0", "usb_interface")) == ""
    assert in_use(Device(above, "tty", "ttyS0")) == ""


def test_a_disk_that_was_pulled_meanwhile_is_free(zram: Zram) -> None:
    zram.plug()
    gone = block(zram.name)
    zram.unplug()
    assert in_use(gone) == ""


def test_a_name_that_begins_another_is_another_disk(disk: Device) -> None:
    run("mkswap", disk.node)
    run("swapon", disk.node)
    try:
        shorter = Device(disk.syspath[:-1], "block", disk.kernel[:-1])
        assert in_use(shorter) == ""
    finally:
        undo("swapoff", disk.node)
