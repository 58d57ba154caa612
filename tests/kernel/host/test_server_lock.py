"""The lock of the one hotplugd of each server, and what it leaves in /dev/hotplugd when it goes."""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from hotplugd.host.journals import Links, Notes
from hotplugd.host.server_lock import AlreadyRunning, is_alone, leave_nothing, lock, was_alone
from hotplugd.host.slots import Slots
from hotplugd.model.values import Entry, InstanceName, Link
from tests.kernel.host.test_slots import null

_HOLDER = """
import sys
from hotplugd.host.server_lock import lock
with lock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""

pytestmark = pytest.mark.usefixtures("root")


class TestLock:
    @pytest.fixture
    def address(self, tmp_path: Path) -> Iterator[str]:
        """A server's address that is this test's alone; its lock files go with it."""
        address = str(tmp_path / "unix.socket")
        yield address
        for each in (address, f"{address}-other"):
            name = hashlib.sha256(each.encode()).hexdigest()[:16]
            Path(f"/dev/hotplugd/.lock-{name}").unlink(missing_ok=True)

    def test_the_second_one_is_told_which_server_has_one_already(self, address: str) -> None:
        with lock(address), pytest.raises(AlreadyRunning, match=address), lock(address):
            pytest.fail("two hold one lock")

    def test_another_name_of_the_same_socket_is_the_same_server(self, address: str) -> None:
        os.symlink(address, f"{address}-alias")
        with lock(address), pytest.raises(AlreadyRunning), lock(f"{address}-alias"):
            pytest.fail("two hold one lock")

    def test_another_server_has_a_lock_of_its_own(self, address: str) -> None:
        other = f"{address}-other"
        with lock(address), lock(other):
            for each in (address, other):
                with pytest.raises(AlreadyRunning), lock(each):
                    pytest.fail("two hold one lock")

    @pytest.mark.usefixtures("folder")
    def test_whether_another_server_is_looked_after(self, address: str) -> None:
        with lock(address):
            assert is_alone(address)
            with lock(f"{address}-other"):
                assert not is_alone(address)
                assert not is_alone(f"{address}-other")
            assert is_alone(address)

    def test_it_is_free_again_afterwards(self, address: str) -> None:
        for _ in range(3):
            with lock(address):
                pass

    def test_it_is_free_again_after_an_error(self, address: str) -> None:
        with pytest.raises(ZeroDivisionError), lock(address):
            raise ZeroDivisionError
        with lock(address):
            pass

    def test_it_is_free_again_when_its_holder_was_killed(self, address: str) -> None:
        with subprocess.Popen(
            [sys.executable, "-c", _HOLDER, address], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            with pytest.raises(AlreadyRunning), lock(address):
                pytest.fail("two hold one lock")
            holder.kill()
        with lock(address):
            pass

    def test_nobody_but_root_can_take_it(self, folder: Path, tmp_path: Path) -> None:
        with lock(str(tmp_path)):
            (name,) = os.listdir(folder)
            assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600

    def test_a_link_planted_in_its_place_is_not_followed(self, folder: Path, tmp_path: Path) -> None:
        with lock(str(tmp_path)):
            (name,) = os.listdir(folder)
        (folder / name).unlink()
        (folder / name).symlink_to(tmp_path / "elsewhere")
        with pytest.raises(OSError, match="symbolic links"), lock(str(tmp_path)):
            pytest.fail("a planted link was followed")
        assert not (tmp_path / "elsewhere").exists()


def test_once_everything_is_out_nothing_is_left(folder: Path) -> None:
    with closing(Slots()) as links:
        with lock("/server"):
            for slot in ("c-1-3-5", "c-1-3-6"):
                links.make(null(slot))
            Notes("/server").note(InstanceName("default", "box"), [Entry("hp-0123456789abcdef", {})])
            Links("/server").note(InstanceName("default", "box"), {"/dev/x": Link("/dev/y", "hp")})
            assert len(list(folder.iterdir())) > 6
        links.close()
        with lock("/server"):
            assert was_alone("/server")
            leave_nothing("/server", (), alone=True)
            assert not folder.exists()
    with lock("/server"):
        assert folder.is_dir()


def test_what_another_server_has_is_left(folder: Path) -> None:
    with lock("/other"):
        pass
    with closing(Slots()) as links:
        for slot in ("c-1-3-5", "c-1-3-6"):
            links.make(null(slot))
    Notes("/other").note(InstanceName("default", "box"), [Entry("hp-0123456789abcdef", {})])
    with lock("/server"):
        assert not was_alone("/server")
        before = {each.name for each in folder.iterdir()}
        leave_nothing("/server", ["c-1-3-5"], alone=False)
        gone = before - {each.name for each in folder.iterdir()}
    assert {each for each in gone if not each.startswith(".lock-")} == {
        each for each in before if "3-5" in each
    }
    assert len(gone) > 3


def test_a_lock_that_was_taken_away_between_is_taken_anew(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = fcntl.flock
    once = [True]

    def away(file: int, how: int) -> None:
        if once:
            once.clear()
            for each in folder.glob(".lock-*"):
                each.unlink()
        real(file, how)

    monkeypatch.setattr("hotplugd.host.server_lock.fcntl.flock", away)
    with lock("/server"):
        assert len(list(folder.glob(".lock-*"))) == 1
        with pytest.raises(AlreadyRunning), lock("/server"):
            pass
