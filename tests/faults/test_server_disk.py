"""The server's disk is full: it answers, and writes nothing down."""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import mkdtemp

import pytest

from tests.faults.server_bed import Bed, ours, there
from tests.support.lab.container import Container
from tests.support.lab.server import Server
from tests.support.lab.wait import eventually

# LXD's database begins with some 25 MB.
_SIZE = "64m"
_PAGE = 4096
_FULL = "no space left on device"


@pytest.fixture
def small(root: None, udevd: None) -> Iterator[Path]:
    """A folder on a disk that has little room."""
    folder = Path(mkdtemp(prefix="hpl-", dir="/tmp"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_SIZE},mode=711", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
        with suppress(FileNotFoundError):
            folder.rmdir()


def pad(server: Server, container: Container) -> None:
    """Have what the server writes down of an instance fill a page, so that one more entry needs another.

    It writes over what it wrote before: on a full disk it has that room, and no more.
    """
    file = server.data / "containers" / container.name / "backup.yaml"

    def written(length: int) -> int:
        container.patch({"config": {"user.pad": "x" * length}})
        return file.stat().st_size

    first = written(1)
    each = (written(101) - first) // 100
    assert written(1 + (-first - 40) % _PAGE // each) % _PAGE > _PAGE - 100


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """There is no room left while the context lasts."""
    filler = folder / "filler"
    try:
        with filler.open("wb", buffering=0) as file:
            for size in (1 << 20, 1 << 12):
                with suppress(OSError):
                    while file.write(b"\0" * size):
                        pass
        yield
    finally:
        filler.unlink()


def was_told(bed: Bed) -> bool:
    """Whether hotplugd has said that the disk is full. With its next try that may be over: its log is looked
    at. Raises AssertionError, with what it says, where not.
    """
    assert _FULL in (said := bed.daemon.log()), f"{bed.told()}\n{said[-2000:]}"
    return True


def test_a_full_disk_fails(small: Path) -> None:
    with filled(small), pytest.raises(OSError, match="No space") as failed:
        (small / "file").write_bytes(b"x" * (1 << 13))
    assert failed.value.errno == errno.ENOSPC


def test_its_disk_is_full(small: Path) -> None:
    with ExitStack() as undo:
        server = undo.enter_context(Server(small))
        bed = undo.enter_context(Bed(server, "full"))
        pad(server, bed.hurt)
        pad(server, bed.theirs)
        bed.two.plug()
        eventually(lambda: there(bed.well, bed.two))
        bed.settled()
        with bed.script() as script:
            with filled(small):
                bed.three.plug()
                bed.one.plug()
                eventually(lambda: was_told(bed))
                bed.two.unplug()
                bed.pace(".*")
                eventually(lambda: not script.running)
            eventually(lambda: there(bed.hurt, bed.one) and ours(bed.hurt), 5)
            # While its disk is full LXD can take no node out of an instance.
            eventually(lambda: not ours(bed.well) and bed.well.look(bed.two.node) is None, 5)
            bed.settled()
        bed.clean()


def test_what_it_could_neither_write_down_nor_take_back_does_not_stay(small: Path) -> None:
    """With the script it does: LXD knows of no such entry, and the script has ended."""
    with ExitStack() as undo:
        server = undo.enter_context(Server(small))
        bed = undo.enter_context(Bed(server, "half"))
        pad(server, bed.hurt)
        pad(server, bed.theirs)
        bed.settled()
        with bed.script() as script, filled(small):
            bed.one.plug()
            bed.three.plug()
            eventually(lambda: was_told(bed))
            eventually(lambda: not script.running)
            # It refused the entries, and the nodes are inside.
            for container, console in ((bed.hurt, bed.one), (bed.theirs, bed.three)):
                eventually(partial(there, container, console))
                console.unplug()
            bed.pace(f".*/instances/{bed.hurt}")
        eventually(lambda: bed.hurt.look(bed.one.node) is None, 8)
        bed.settled()
        assert not ours(bed.hurt)
        assert there(bed.theirs, bed.three)
