"""Virtual machines of a server, in the guest: KVM nested in an emulated machine, and a firmware that halts.

QEMU emulates SVM, AMD's virtualisation, so that the guest's kernel has a /dev/kvm.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final, cast

from tests.support.lab.api import metadata_of
from tests.support.lab.container import Container
from tests.support.lab.patience import patiently
from tests.support.lab.server import Server
from tests.support.lab.wait import eventually
from tests.vm.firmware import SIZE, firmware
from tests.vm.qmp import Qmp

DEADLINE: Final = 40.0
"""For what is waited for, in seconds."""
_POOL: Final = Path("/pool")
_DISK: Final = "/dev/vdc"
_MODULES: Final = ("kvm_amd", "vhost_vsock", "vfio-pci")
# What the servers look for in the folder that the environment names.
_FIRMWARE: Final = ("OVMF_CODE_4M.fd", "OVMF_CODE_4M.secboot.fd", "OVMF_CODE.fd")
_VARIABLES: Final = ("OVMF_VARS_4M.fd", "OVMF_VARS.fd")
_METADATA: Final = "architecture: x86_64\ncreation_date: 1\nproperties:\n  description: nothing at all\n"
_NODE: Final = re.compile(r"/dev/bus/usb/(\d{3})/(\d{3})( \(deleted\))?")
_USB: Final = Path("/sys/bus/usb/devices")
# Where QEMU has the devices that were given an id.
_PLUGGED: Final = "/machine/peripheral"


def make_ready(folder: Path) -> dict[str, str]:
    """Load what virtual machines need, and write their firmware. Returns the environment of a server."""
    # Without a nested one of its own: that is one more that would have to be emulated.
    subprocess.run(["modprobe", _MODULES[0], "nested=0"], check=True)
    subprocess.run(["modprobe", "-a", *_MODULES[1:]], check=True)
    with suppress(FileExistsError):
        os.symlink("/proc/self/fd", "/dev/fd")
    place = folder / "firmware"
    place.mkdir(parents=True, exist_ok=True)
    for name in _VARIABLES:
        (place / name).write_bytes(b"\xff" * SIZE)
    for name in (*_FIRMWARE, "seabios.bin"):
        (place / name).write_bytes(firmware())
    return {"INCUS_EDK2_PATH": str(place), "LXD_OVMF_PATH": str(place)}


@contextmanager
def server_on_disk() -> Iterator[Server]:
    """One with a pool on a disk: QEMU reads past the page cache, which a file system in memory cannot."""
    _POOL.mkdir(exist_ok=True)
    subprocess.run(["mount", _DISK, _POOL], check=True)
    folder = _POOL / "s"
    folder.mkdir()
    os.environ |= make_ready(folder)
    with Server(folder) as started:
        yield started


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
            # PCI devices are plugged by the ports' own means: those of ACPI need an operating system inside.
            "raw.qemu": f"-qmp unix:{self._monitor},server=on,wait=off "
            "-global ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off",
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
        said = self._ask("human-monitor-command", command_line="info usb")
        lines = (line.strip() for line in str(said).splitlines())
        return [line for line in lines if line and "Redirection" not in line]

    def passed_through(self) -> list[str]:
        """The addresses of the host's PCI devices that its QEMU has, `0000:01:00.0`."""
        there = cast("list[Mapping[str, str]]", self._ask("qom-list", path=_PLUGGED))
        names = [each["name"] for each in there if each["type"].startswith("child<vfio-pci")]
        return sorted(str(self._ask("qom-get", path=f"{_PLUGGED}/{name}", property="host")) for name in names)

    def _ask(self, command: str, **arguments: object) -> object:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self._monitor))
            monitor = Qmp(connection)
            monitor.greet()
            return monitor.execute(command, **arguments)

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


def soon(check: Callable[[], object]) -> None:
    """Wait until it is so."""
    eventually(check, DEADLINE, pause=0.05)
