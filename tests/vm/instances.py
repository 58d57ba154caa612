"""Virtual machines of a server, in the guest: KVM nested in an emulated machine, and a firmware that halts.

QEMU emulates SVM, AMD's virtualisation, so that the guest's kernel has a /dev/kvm. An operating system inside
such a machine, OVMF even, ends the emulation now and then (QEMU 7.2); four bytes that halt do not, and what a
virtual machine has been given is seen from its QEMU all the same.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, cast

from tests.support.lab.api import metadata_of
from tests.support.lab.container import Container
from tests.support.lab.patience import patiently
from tests.support.lab.server import Server
from tests.vm.qmp import Qmp

_MODULES: Final = ("kvm_amd", "vhost_vsock")
# What the servers look for in the folder that the environment names.
_FIRMWARE: Final = ("OVMF_CODE_4M.fd", "OVMF_CODE_4M.secboot.fd", "OVMF_CODE.fd")
_VARIABLES: Final = ("OVMF_VARS_4M.fd", "OVMF_VARS.fd")
_SIZE: Final = 1 << 16
# cli; hlt; jmp to the hlt: at the address where a processor begins, 16 bytes below the end.
_HALT: Final = b"\xfa\xf4\xeb\xfd"
_METADATA: Final = "architecture: x86_64\ncreation_date: 1\nproperties:\n  description: nothing at all\n"
_NODE: Final = re.compile(r"/dev/bus/usb/(\d{3})/(\d{3})( \(deleted\))?")
_USB: Final = Path("/sys/bus/usb/devices")


def make_ready(folder: Path) -> dict[str, str]:
    """Load what virtual machines need, and write their firmware. Returns the environment of a server."""
    # Without a nested one of its own: that is one more that would have to be emulated.
    subprocess.run(["modprobe", _MODULES[0], "nested=0"], check=True)
    subprocess.run(["modprobe", "-a", *_MODULES[1:]], check=True)
    with suppress(FileExistsError):
        os.symlink("/proc/self/fd", "/dev/fd")
    firmware = folder / "firmware"
    firmware.mkdir(parents=True, exist_ok=True)
    empty = bytearray(b"\xff" * _SIZE)
    for name in _VARIABLES:
        (firmware / name).write_bytes(empty)
    empty[-16 : -16 + len(_HALT)] = _HALT
    for name in (*_FIRMWARE, "seabios.bin"):
        (firmware / name).write_bytes(empty)
    return {"INCUS_EDK2_PATH": str(firmware), "LXD_OVMF_PATH": str(firmware)}


def import_image(server: Server) -> str:
    """Give the server an image of a virtual machine with an empty disk. Returns its fingerprint."""
    with tempfile.TemporaryDirectory(dir=server.folder) as name:
        folder = Path(name)
        (folder / "metadata.yaml").write_text(_METADATA)
        disk = ["qemu-img", "create", "-q", "-f", "qcow2", str(folder / "rootfs.img"), "16M"]
        subprocess.run(disk, check=True)
        with tarfile.open(folder / "image.tar", "w") as tar:
            for each in ("metadata.yaml", "rootfs.img"):
                tar.add(folder / each, each)
        packed = (folder / "image.tar").read_bytes()
    headers = {"Content-Type": "application/octet-stream"}
    return str(metadata_of(server.api.request("POST", "/1.0/images", packed, headers))["fingerprint"])


class VirtualMachine(Container):
    """One that the server has. Its `pid` is QEMU's."""

    def __init__(self, server: Server, name: str, fingerprint: str) -> None:
        super().__init__(server.api, name)
        self._monitor = server.folder / f"{name}.qmp"
        config = {
            "security.secureboot": "false",
            "limits.memory": "128MiB",
            "limits.cpu": "1",
            "raw.qemu": f"-qmp unix:{self._monitor},server=on,wait=off",
        }
        root = {"type": "disk", "path": "/", "pool": "default", "size": "20MiB"}
        body = {
            "name": name,
            "type": "virtual-machine",
            "source": {"type": "image", "fingerprint": fingerprint},
            "config": config,
            "devices": {"root": root},
        }
        server.api.request("POST", "/1.0/instances", body)

    def serials(self) -> list[str]:
        """The serial numbers of the USB devices whose nodes its QEMU has open; `gone` of what is none."""
        return sorted(_serials().get(each, "gone") for each in self.open_nodes())

    def open_nodes(self) -> set[str]:
        """The nodes of USB devices that its QEMU has open, `001/004`."""
        found = set()
        for each in Path(f"/proc/{self.pid}/fd").iterdir():
            with suppress(OSError):
                node = _NODE.fullmatch(os.readlink(each))
                if node is not None:
                    found.add(f"{node[1]}/{node[2]}{node[3] or ''}")
        return found

    def attached(self) -> list[str]:
        """What its QEMU says of USB devices, one a line."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self._monitor))
            monitor = Qmp(connection)
            monitor.greet()
            said = monitor.execute("human-monitor-command", command_line="info usb")
        lines = (line.strip() for line in str(said).splitlines())
        return [line for line in lines if line and "Redirection" not in line]

    def ours(self) -> Mapping[str, Mapping[str, str]]:
        """Its entries of hotplugd's, by name."""
        return {key: each for key, each in self.devices.items() if key.startswith("hp-")}

    def _change(self, action: str) -> None:
        patiently(partial(super()._change, action))


def _serials() -> dict[str, str]:
    found = {}
    for each in _USB.iterdir():
        with suppress(OSError, ValueError):
            number = f"{int((each / 'busnum').read_text()):03}/{int((each / 'devnum').read_text()):03}"
            serial = each / "serial"
            found[number] = serial.read_text().strip() if serial.exists() else "none"
    return found


def problems(status: Mapping[str, object]) -> list[str]:
    """What a daemon says is wrong."""
    return [str(each["message"]) for each in cast("list[Mapping[str, object]]", status["problems"])]
