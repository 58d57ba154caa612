"""What is booted: a kernel, an initial file system, Debian with all that the cases need, and the project.

Everything comes from Debian's packages and from the wheels that the lock files name. What does not change
with the project is kept in the user's cache folder, by a key of what it was made from.
"""

from __future__ import annotations

import fcntl
import lzma
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal, get_args

from tests.support.lab import debian
from tests.support.lab.debian import PROJECT, lines, run

Release = Literal["bookworm", "trixie"]
# Both have LXD, and an Incus of their backports.
RELEASES: Final[tuple[Release, ...]] = get_args(Release)
_PACKAGES: Final = (
    "systemd", "systemd-sysv", "dbus", "udev", "kmod", "util-linux", "procps", "iproute2", "e2fsprogs",
    "lxd", "lxd-client", "python3", "python3-venv", "python3-systemd", "busybox-static", "ca-certificates",
    "adb", "fastboot", "libusb-1.0-0", "libinput10", "iw",
    # What a server runs virtual machines with.
    "qemu-system-x86", "qemu-utils", "ovmf", "genisoimage", "gdisk",
)  # fmt: skip
_BACKPORTS: Final = ("incus-base", "incus-client")
# What is in those packages in Debian 12, and that Incus runs no virtual machine without.
_APART: Final[Mapping[Release, tuple[str, ...]]] = MappingProxyType(
    {"bookworm": (), "trixie": ("qemu-system-modules-spice", "virtiofsd")}
)
# Hundreds of megabytes of drivers for what the guest does not have.
_LEFT_OUT: Final = (
    "drivers/comedi", "drivers/iio", "drivers/infiniband", "drivers/media", "drivers/staging",
    "drivers/gpu/drm/amd", "drivers/gpu/drm/i915", "drivers/gpu/drm/nouveau", "drivers/gpu/drm/radeon",
    "drivers/net/ethernet", "drivers/net/wireless", "sound",
)  # fmt: skip
# What is plugged into it (hands.py) all the same, and radios that the kernel makes up: patterns.
_NOT_LEFT_OUT: Final = (
    "drivers/net/ethernet/intel/e1000e",
    "drivers/net/wireless/**/mac80211_hwsim.ko*",
    *(f"drivers/media/{each}" for each in ("usb/uvc", "v4l2-core", "mc", "common")),
)
_FIRST_MODULES: Final = (
    "virtio_pci",
    "virtio_blk",
    "9pnet_virtio",
    "9p",
    "overlay",
    "squashfs",
    "crc32c_generic",
    "ext4",
)
# What of the development lock runs the cases.
_TEST_WHEELS: Final = ("pytest", "pytest-timeout", "iniconfig", "pluggy", "packaging", "pygments")
_UNIT: Final = "suite.service"
# How what is packed by it begins (RFC 8878, 3.1.1).
_ZSTD: Final = bytes.fromhex("28b52ffd")

# The kernel gives it what it needs to find the rest; see guest.py for the disks and shares.
_FIRST: Final = """\
#!/bin/busybox sh
set -e
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
for module in {modules}; do modprobe $module; done
mount -t squashfs -o ro /dev/vda /base
mount -t squashfs -o ro /dev/vdb /project
if [ -e /dev/vdc ]; then mount -t ext4 /dev/vdc /rw; else mount -t tmpfs -o size=80% rw /rw; fi
mkdir -p /rw/upper /rw/work
mount -t overlay -o lowerdir=/project:/base,upperdir=/rw/upper,workdir=/rw/work overlay /root
mkdir -p /root/results
mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144 results /root/results
umount /proc /sys /dev
exec switch_root /root "$(busybox cat /root/results/init)"
"""


@dataclass(frozen=True, slots=True)
class Image:
    """Files to boot from. project is of this call, and goes with `folder`; the others are kept."""

    kernel: Path
    initial: Path
    base: Path
    project: Path


@contextmanager
def image(release: Release = "bookworm", packages: Mapping[str, Path] | None = None) -> Iterator[Image]:
    """Build what is missing; the project itself is packed each time. Raises CalledProcessError.

    release   Debian's, whose kernel, systemd, Python and servers the guest has
    packages  files that the cases want beside them, in packages/, by the names of their folders there
    """
    base = _base(release)
    with tempfile.TemporaryDirectory(prefix="hpv-", dir=base) as folder:
        project = _project(base, Path(folder), packages or {})
        yield Image(base / "vmlinux", base / "initial.cpio", base / "base.squashfs", project)


def prepare(release: Release) -> None:
    """Build what is missing of the files that are kept. Two processes must not do so at once."""
    _base(release)


# --- what is kept -------------------------------------------------------------------------------------------


def _base(release: Release) -> Path:
    """The folder with everything that does not change with the project."""
    made_from = [path.read_bytes() for path in (Path(__file__), Path(debian.__file__), *debian.LOCKS)]
    return debian.kept("vm", [release.encode(), *made_from], lambda folder: _build(folder, release))


def _build(folder: Path, release: Release) -> None:
    root = folder / "root"
    print(f"vm: packages of Debian's {release}", flush=True)
    suite = f"{release}-backports"
    packages = (*_PACKAGES, *_APART[release], *(f"{each}/{suite}" for each in _BACKPORTS))
    debian.bootstrap(root, release, [suite], packages, "tests/vm/image.py")
    print("vm: Python's packages", flush=True)
    debian.install_wheels(root, _TEST_WHEELS)
    print("vm: the kernel", flush=True)
    _kernel(folder, root, release)
    print("vm: the image", flush=True)
    _squash(root, folder / "base.squashfs")


def _kernel(folder: Path, root: Path, release: Release) -> None:
    """Debian's kernel, its modules in the image, and an initial file system with the first of them."""
    unpacked = folder / "kernel"
    debian.extract(unpacked, release, "linux-image-amd64")
    modules = next(unpacked.glob("**/lib/modules/*"))
    kept = [path for each in _NOT_LEFT_OUT for path in (modules / "kernel").glob(each)]
    for each in kept:
        each.rename(unpacked / each.name)
    for name in _LEFT_OUT:
        shutil.rmtree(modules / "kernel" / name)
    for each in kept:
        each.parent.mkdir(parents=True, exist_ok=True)
        (unpacked / each.name).rename(each)
    (folder / "vmlinux").write_bytes(_uncompressed(next((unpacked / "boot").glob("vmlinuz-*")).read_bytes()))
    version = modules.name
    target = root / "lib" / "modules" / version
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(modules, target)
    run("depmod", "-b", root, version)
    _initial(folder, root, target)
    shutil.rmtree(unpacked)


def _uncompressed(kernel: bytes) -> bytes:
    """The ELF file in a bzImage (the kernel's boot.rst: payload_offset); it boots in half the time."""
    setup = (kernel[0x1F1] or 4) + 1
    start = setup * 512 + int.from_bytes(kernel[0x248:0x24C], "little")
    length = int.from_bytes(kernel[0x24C:0x250], "little")
    # The last four bytes are the length of what comes out.
    packed = kernel[start : start + length - 4]
    if packed.startswith(_ZSTD):
        return subprocess.run(["zstd", "--decompress"], input=packed, check=True, capture_output=True).stdout
    return lzma.LZMADecompressor().decompress(packed)


def _initial(folder: Path, root: Path, modules: Path) -> None:
    """An initial file system: busybox, the modules that reach the disks, and a script."""
    tree = folder / "initial"
    for each in ("bin", "dev", "proc", "sys", "base", "project", "rw", "root"):
        (tree / each).mkdir(parents=True)
    shutil.copy(root / "usr" / "bin" / "busybox", tree / "bin" / "busybox")
    wanted = lines("modprobe", "-d", root, "-S", modules.name, "-a", "--show-depends", *_FIRST_MODULES)
    for line in wanted:
        source = Path(line.split()[1]) if line.startswith("insmod ") else None
        if source is not None:
            target = tree / "lib" / "modules" / source.relative_to(modules.parent)
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.suffix == ".xz":
                # busybox's modprobe loads no compressed ones.
                target.with_suffix("").write_bytes(lzma.decompress(source.read_bytes()))
            else:
                shutil.copy(source, target)
    for name in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
        shutil.copy(modules / name, tree / "lib" / "modules" / modules.name)
    run("depmod", "-b", tree, modules.name)
    init = tree / "init"
    init.write_text(_FIRST.format(modules=" ".join(_FIRST_MODULES)))
    init.chmod(0o755)
    names = "\n".join(str(path.relative_to(tree)) for path in sorted(tree.rglob("*")))
    packed = subprocess.run(
        ["busybox", "cpio", "-o", "-H", "newc"],
        cwd=tree,
        input=names.encode(),
        check=True,
        capture_output=True,
    ).stdout
    (folder / "initial.cpio").write_bytes(packed)
    shutil.rmtree(tree)


# --- what is of the project ---------------------------------------------------------------------------------


def _project(base: Path, folder: Path, packages: Mapping[str, Path]) -> Path:
    """A layer over the image: the project's wheel, installed as anybody would, and the tests beside it."""
    layer, work, whole = (folder / name for name in ("layer", "work", "whole"))
    for each in (layer, work, whole):
        each.mkdir(mode=0o755)
    with (PROJECT / "pyproject.toml").open("rb") as project:
        # Groups that begin at once build in one folder. The lock ends with the file.
        fcntl.flock(project, fcntl.LOCK_EX)
        # setuptools puts what it finds there into the wheel, files that are no more among it.
        shutil.rmtree(PROJECT / "build" / "lib", ignore_errors=True)
        run(
            sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps",
            "--no-build-isolation", f"--wheel-dir={folder}", PROJECT,
        )  # fmt: skip
    wheel = next(folder.glob("*.whl"))
    # In a mount namespace of its own, which takes the mount with it whatever happens.
    script = (
        'mount -t overlay overlay -o "lowerdir=$1,upperdir=$2,workdir=$3" "$4"; cp "$5" "$4/tmp"; '
        'exec chroot "$4" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin '
        '/opt/hotplugd/bin/python -m pip install --quiet --no-index --no-deps "/tmp/${5##*/}"'
    )
    run("unshare", "--mount", "sh", "-ec", script, "sh", base / "root", layer, work, whole, wheel)
    shutil.rmtree(layer / "tmp")
    tree = layer / "opt" / "e2e"
    # Not the package itself: what is tested is what was installed.
    for name in ("tests", "benchmarks", "rules", "systemd", "docs"):
        shutil.copytree(PROJECT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "config.example.yaml", "README.md"):
        shutil.copy(PROJECT / name, tree)
    for name, path in packages.items():
        (tree / "packages" / name).mkdir(parents=True)
        shutil.copy(path, tree / "packages" / name)
    units = layer / "etc" / "systemd" / "system"
    wanted = units / "multi-user.target.wants"
    wanted.mkdir(parents=True)
    shutil.copy(PROJECT / "tests" / "vm" / _UNIT, units)
    (wanted / _UNIT).symlink_to(f"../{_UNIT}")
    # Without one systemd takes each boot for the first, and enables whatever is installed.
    (layer / "etc" / "machine-id").write_text(f"{'5eed' * 8}\n")
    packed = folder / "project.squashfs"
    _squash(layer, packed)
    return packed


# --- programs -----------------------------------------------------------------------------------------------


def _squash(tree: Path, packed: Path) -> None:
    run(
        "mksquashfs",
        tree,
        packed,
        "-comp",
        "zstd",
        "-Xcompression-level",
        "3",
        "-noappend",
        "-quiet",
        "-no-progress",
    )
