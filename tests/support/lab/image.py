"""A container image that is nothing but busybox, built in some ten milliseconds."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from pathlib import Path

_FOLDERS = ("bin", "sbin", "dev", "etc", "mnt", "proc", "root", "run", "sys", "tmp", "usr", "var", "var/log")
_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1::/:/bin/false\n",
    "etc/group": ("root:x:0:\ntty:x:5:\ndialout:x:20:\nvideo:x:44:\nplugdev:x:46:\n"),
    "etc/inittab": ("::sysinit:/bin/true\n::ctrlaltdel:/bin/reboot\n::shutdown:/bin/true\n"),
}
_METADATA = """\
architecture: {architecture}
creation_date: 1
properties:
  description: busybox and nothing else
"""


def build() -> bytes:
    """The image as one tar file. Raises FileNotFoundError where there is no static busybox."""
    busybox = shutil.which("busybox")
    if busybox is None:
        raise FileNotFoundError("busybox is not installed; on Debian: apt-get install busybox-static")
    applets = subprocess.run([busybox, "--list"], check=True, capture_output=True, text=True).stdout.split()
    machine = subprocess.run(["uname", "-m"], check=True, capture_output=True, text=True).stdout.strip()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        _file(tar, "metadata.yaml", _METADATA.format(architecture=machine).encode(), 0o644)
        for folder in ("rootfs", *(f"rootfs/{name}" for name in _FOLDERS)):
            _folder(tar, folder)
        for name, text in _FILES.items():
            _file(tar, f"rootfs/{name}", text.encode(), 0o644)
        _file(tar, "rootfs/bin/busybox", Path(busybox).read_bytes(), 0o755)
        for applet in sorted({*applets, "init"} - {"busybox"}):
            _link(tar, f"rootfs/bin/{applet}", "busybox")
        for name in ("lib", "lib64"):  # for programs of a /usr that is bound in
            _link(tar, f"rootfs/{name}", f"usr/{name}")
        for name in ("init", "reboot", "poweroff", "halt"):
            _link(tar, f"rootfs/sbin/{name}", "../bin/busybox")
    return buffer.getvalue()


def _folder(tar: tarfile.TarFile, name: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if name.endswith("/tmp") else 0o755
    tar.addfile(entry)


def _file(tar: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    tar.addfile(entry, io.BytesIO(content))


def _link(tar: tarfile.TarFile, name: str, target: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, target, 0o777
    tar.addfile(entry)
