"""One life of the guest: from the kernel's first line to its last, and what came of it."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

from tests.support.lab.debian import PROJECT
from tests.vm.hands import hands
from tests.vm.image import Image

# The logs of each guest, in a folder of its own.
RESULTS: Final = PROJECT / "build" / "e2e"
SCRIPT: Final = "/opt/e2e/tests/vm/start"
SYSTEMD: Final = "/sbin/init"
_DISK: Final = 1 << 30
# With two the guest may hang, or end with "Oops: int3", where its kernel patches its own code: QEMU 7.2 may
# go on running, on one of them, the breakpoint of a patch that the other one made and that is over.
_PROCESSORS: Final = "1"
_KERNEL: Final = ("console=ttyS0", "quiet", "panic=-1", "oops=panic")
# Both servers are in the image; in a guest with systemd one of them is started.
_UNITS: Final = {
    "lxd": ("lxd.service", "lxd.socket", "lxd-containers.service"),
    "incus": ("incus.service", "incus.socket", "incus-startup.service"),
}


@dataclass(frozen=True, slots=True)
class Board:
    """What a guest runs on.

    memory  in MiB
    iommu   whether there is one; without it the guest gives no PCI device to a virtual machine of its own
    """

    memory: int = 1536
    iommu: bool = False


BOARD: Final = Board()


@dataclass(frozen=True, slots=True)
class Case:
    """One case: its name, `passed`, `failed` or `skipped`, how long it took in seconds, and what it said."""

    name: str
    outcome: str
    seconds: float
    text: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one boot.

    code     the suite's exit code; None where it never wrote one
    problem  why there is none
    """

    code: int | None
    problem: str
    cases: tuple[Case, ...]


def boot(
    image: Image,
    folder: Path,
    command: Sequence[str],
    *,
    server: str = "lxd",
    init: str = SCRIPT,
    deadline: float,
    disk: Path | None = None,
    board: Board = BOARD,
) -> Outcome:
    """Boot once, run a command in there, and leave all logs in `folder`.

    command   its exit code is the outcome's; what it writes to /dev/ttyS1 is shown here
    server    `lxd` or `incus`, for the cases that start one
    init      the first process
    deadline  in seconds; a guest that takes longer is ended
    disk      a file system image in which everything that the guest writes outlives it
    board     what the guest runs on
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "init").write_text(init)
    (folder / "server").write_text(server)
    (folder / "command").write_text(shlex.join(command))
    problem = ""
    try:
        with hands() as (options, inherited):
            words = [*_machine(image, folder, disk, board, server), *options]
            subprocess.run(words, stdin=subprocess.DEVNULL, check=True, timeout=deadline, pass_fds=inherited)
    except subprocess.TimeoutExpired:
        problem = f"the guest did not switch itself off within {deadline:.0f} s"
    except subprocess.CalledProcessError as error:
        problem = f"QEMU ended with {error.returncode}"
    code = _code(folder)
    if code is None and not problem:
        problem = "the guest ended without the suite's exit code: see its console for a panic"
    return Outcome(None if problem else code, problem, _cases(folder / "junit.xml"))


def make_disk(path: Path) -> None:
    """An empty disk with a file system, for what has to outlive a guest."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with path.open("wb") as file:
        file.truncate(_DISK)
    subprocess.run(["mkfs.ext4", "-q", "-F", path], check=True)


def _machine(image: Image, folder: Path, disk: Path | None, board: Board, server: str) -> list[str]:
    drives = [(image.base, "readonly=on"), (image.project, "readonly=on")]
    if disk is not None:
        # It has to outlive guests, and not this machine: a guest does not wait for a disk that is busy.
        drives.append((disk, "readonly=off,cache=unsafe"))
    masked = [f"systemd.mask={unit}" for name, units in _UNITS.items() if name != server for unit in units]
    options = (*_KERNEL, *masked, *(("intel_iommu=on",) if board.iommu else ()))
    # Before what it is for.
    translation = ("-device", "intel-iommu,intremap=on") if board.iommu else ()
    return [
        "qemu-system-x86_64", "-machine", "q35", *translation,
        "-accel", "tcg,tb-size=512", "-cpu", "max", "-smp", _PROCESSORS,
        "-m", str(board.memory), "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
        "-serial", f"file:{folder / 'console.txt'}", "-serial", "stdio", "-nic", "none",
        "-kernel", str(image.kernel), "-initrd", str(image.initial),
        "-append", " ".join(options),
        *(word for path, how in drives for word in ("-drive", f"file={path},format=raw,if=virtio,{how}")),
        "-virtfs", f"local,path={folder},mount_tag=results,security_model=none",
    ]  # fmt: skip


def _code(folder: Path) -> int | None:
    path = folder / "code"
    text = path.read_text().strip() if path.exists() else ""
    return int(text) if text.isdecimal() else None


def _cases(report: Path) -> tuple[Case, ...]:
    """The cases of a JUnit report; none where there is no report."""
    if not report.exists():
        return ()
    return tuple(_case(element) for element in ET.parse(report).iter("testcase"))


def _case(element: ET.Element) -> Case:
    name = f"{element.get('classname', '').rpartition('.')[2]}::{element.get('name', '')}"
    seconds = float(element.get("time", "0"))
    for tag, outcome in (("failure", "failed"), ("error", "failed"), ("skipped", "skipped")):
        found = element.find(tag)
        if found is not None:
            # What pytest says of an expected failure comes as a skip.
            return Case(name, outcome, seconds, found.get("message", ""))
    return Case(name, "passed", seconds, "")
