"""Uevents by way of a program that dies, hangs, refuses, is systemd's or ours."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from hotplugd.aio.helper import words
from hotplugd.aio.threads import NoThread, Threads
from hotplugd.container import inject_helper, injector
from hotplugd.container.injector import Injector
from hotplugd.container.root import Lost, Network
from hotplugd.host.properties import kernel_lines
from hotplugd.host.sysfs import sequence_now
from hotplugd.model.ports import Unfit, Untold
from hotplugd.model.uevent import Uevent
from hotplugd.model.values import InstanceName
from tests.support.devices import phone
from tests.support.lab.shortage import no_more_descriptors
from tests.support.lab.uevents import ROOT, Ear, listening, namespaces, socket_unit
from tests.support.lab.wait import ended, eventually, steadily

BOX = InstanceName("default", "box")
PATH = "/dev/phone"
ADD = Uevent("add", phone(), PATH)
HEARD = ["add kernel", "add libudev"]
PROGRAM = words(inject_helper.__name__)


class Bench:
    """An injector for one instance, and what is heard there."""

    def __init__(self, space: int, ear: Ear, path: Path) -> None:
        self.ear = ear
        self.space = space
        self.shared = False
        self.injector = Injector(Threads(), self.network, kernel_lines, sequence_now, path)

    async def network(self, name: InstanceName) -> Network | None:
        if name != BOX:
            raise Lost(f"{name} has no init any more")
        return None if self.shared else Network(os.open(f"/proc/{self.space}/ns/net", os.O_RDONLY), ROOT)

    async def tell(self, count: int = 1, uevent: Uevent = ADD) -> None:
        """Have it heard so many times more."""
        before = len(self.ear.messages)
        for _ in range(count):
            await self.injector.inject(BOX, uevent)
        eventually(lambda: len(self.ear.messages) == before + 2 * count)

    @property
    def process(self) -> subprocess.Popen[bytes]:
        program = self.injector._program.running
        assert program is not None
        assert program.process is not None
        return program.process


Script = Callable[[Bench], Awaitable[None]]


@pytest.fixture
def run(root: None, tmp_path: Path) -> Iterator[Callable[[Script], None]]:
    """Runs a script, and sees that nothing is left of it."""

    async def work(bench: Bench, script: Script) -> None:
        try:
            await script(bench)
        finally:
            bench.injector.close()

    with namespaces() as space, listening(space) as ear:
        before = len(os.listdir("/proc/self/fd"))

        def start(script: Script) -> None:
            async def all_of_it() -> None:
                await work(Bench(space, ear, tmp_path / "inject"), script)

            asyncio.run(all_of_it())
            eventually(lambda: len(os.listdir("/proc/self/fd")) == before)
            eventually(lambda: not waiters())

        yield start


def environment(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


def waiters() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "hotplugd-inject"]


@contextmanager
def patience(bench: Bench, seconds: float, starting: float | None = None) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench.injector._program, "deadline", seconds)
        patch.setattr(bench.injector._program, "starting", seconds if starting is None else starting)
        patch.setattr(injector, "_DEADLINE", seconds)
        yield


class TestChild:
    def test_one_program_serves_all(self, run: Callable[[Script], None]) -> None:
        async def script(bench: Bench) -> None:
            await bench.tell()
            first = bench.process
            await bench.tell(20)
            assert bench.process is first
            assert bench.ear.actions(PATH) == HEARD * 21
            assert environment(first.pid) == b""
            bench.injector.close()
            eventually(lambda: ended(first.pid))

        run(script)

    def test_one_that_died_is_replaced_and_nobody_notices(self, run: Callable[[Script], None]) -> None:
        async def script(bench: Bench) -> None:
            await bench.tell()
            for _ in range(3):
                before = bench.process
                before.kill()
                eventually(partial(ended, before.pid))
                await bench.tell()
                assert bench.process.pid != before.pid

        run(script)

    def test_where_no_file_can_be_opened_nothing_is_told_by_halves(
        self, run: Callable[[Script], None]
    ) -> None:
        async def script(bench: Bench) -> None:
            await bench.tell()
            uevent = replace(ADD, device=replace(ADD.device, syspath="/sys/devices/virtual/mem/null"))
            told: list[Uevent] = []
            # With the highest numbers the program for it can be started anew.
            for free in range(16):
                with no_more_descriptors(but=free), suppress(Untold):
                    told.append(await bench.injector.inject(BOX, uevent))
            assert told
            assert all("MAJOR=1" in each.kernel for each in told)
            with (
                no_more_descriptors(),
                pytest.raises(Untold, match="what the kernel says of it cannot be read"),
            ):
                await bench.injector.inject(BOX, uevent)

        run(script)

    def test_nor_where_there_is_no_thread(
        self, run: Callable[[Script], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def script(bench: Bench) -> None:
            await bench.tell()

            async def none(work: Callable[[], str], deadline: float) -> str:
                raise NoThread("can't start new thread")

            with monkeypatch.context() as patch:
                patch.setattr(bench.injector._threads, "call", none)
                with pytest.raises(Untold, match="can't start new thread"):
                    await bench.injector.inject(BOX, ADD)
            await bench.tell()

        run(script)

    def test_nor_where_there_is_none_to_wait_for_its_end(
        self, run: Callable[[Script], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = threading.Thread.start

        def start(thread: threading.Thread) -> None:
            if thread.name == "hotplugd-inject":
                raise RuntimeError("can't start new thread")
            real(thread)

        async def script(bench: Bench) -> None:
            with monkeypatch.context() as patch:
                patch.setattr(threading.Thread, "start", start)
                with pytest.raises(Untold, match="can't start new thread"):
                    await bench.injector.inject(BOX, ADD)
            assert bench.injector._program.running is None
            await bench.tell()

        run(script)

    def test_one_that_hangs_is_ended_and_replaced(self, run: Callable[[Script], None]) -> None:
        async def script(bench: Bench) -> None:
            await bench.tell()
            before = bench.process
            before.send_signal(signal.SIGSTOP)
            start = time.monotonic()
            with patience(bench, 0.3), pytest.raises(Untold, match="does not answer within 0 s"):
                await bench.injector.inject(BOX, ADD)
            assert 0.25 < time.monotonic() - start < 2
            eventually(lambda: ended(before.pid))
            await bench.tell()

        run(script)

    def test_while_it_hangs_the_loop_goes_on(self, run: Callable[[Script], None]) -> None:
        async def script(bench: Bench) -> None:
            await bench.tell()
            bench.process.send_signal(signal.SIGSTOP)
            with patience(bench, 0.5):
                stuck = asyncio.ensure_future(bench.injector.inject(BOX, ADD))
                longest, last = 0.0, time.monotonic()
                while not stuck.done():
                    await asyncio.sleep(0.001)
                    longest, last = max(longest, time.monotonic() - last), time.monotonic()
            assert isinstance(stuck.exception(), Untold)
            assert longest < 0.2

        run(script)

    def test_an_answer_that_comes_late_is_nobody_elses(self, run: Callable[[Script], None]) -> None:
        async def script(bench: Bench) -> None:
            await bench.tell()
            before = bench.process
            before.send_signal(signal.SIGSTOP)
            waiting = asyncio.ensure_future(bench.injector.inject(BOX, ADD))
            await asyncio.sleep(0.05)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            await bench.tell()
            assert bench.process.pid != before.pid

        run(script)

    def test_what_is_under_way_at_the_end_is_cancelled(self, run: Callable[[Script], None]) -> None:
        async def script(bench: Bench) -> None:
            await bench.tell()
            process = bench.process
            process.send_signal(signal.SIGSTOP)
            waiting = [asyncio.ensure_future(bench.injector.inject(BOX, ADD)) for _ in range(3)]
            await asyncio.sleep(0.05)
            start = time.monotonic()
            bench.injector.close()
            done = await asyncio.gather(*waiting, return_exceptions=True)
            assert {type(each) for each in done} == {asyncio.CancelledError}
            assert time.monotonic() - start < 1
            eventually(lambda: ended(process.pid))

        run(script)

    def test_many_at_once_are_told_one_after_the_other(self, run: Callable[[Script], None]) -> None:
        async def script(bench: Bench) -> None:
            await asyncio.gather(*(bench.injector.inject(BOX, ADD) for _ in range(50)))
            eventually(lambda: bench.ear.actions(PATH) == HEARD * 50)

        run(script)

    def test_one_that_does_not_start_is_said(
        self, run: Callable[[Script], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def script(bench: Bench) -> None:
            monkeypatch.setattr(bench.injector._program, "words", ("/nonexistent",))
            with pytest.raises(Untold, match=r"cannot be reached: .*No such file"):
                await bench.injector.inject(BOX, ADD)
            monkeypatch.setattr(bench.injector._program, "words", ("/bin/true",))
            with pytest.raises(Untold, match="ended"):
                await bench.injector.inject(BOX, ADD)
            monkeypatch.setattr(bench.injector._program, "words", PROGRAM)
            await bench.tell()

        run(script)

    def test_one_without_privileges_says_what_would_have_them(
        self, run: Callable[[Script], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        async def script(bench: Bench) -> None:
            words = ("setpriv", "--bounding-set=-sys_admin", *PROGRAM)
            monkeypatch.setattr(bench.injector._program, "words", words)
            message = f"not permitted; under systemd, hotplugd-inject.socket has to be there \\({tmp_path}"
            with pytest.raises(Untold, match=message):
                await bench.injector.inject(BOX, ADD)

        run(script)


class TestSocket:
    def test_the_program_behind_the_socket_is_asked(
        self, run: Callable[[Script], None], tmp_path: Path
    ) -> None:
        async def script(bench: Bench) -> None:
            with socket_unit(tmp_path / "inject", *PROGRAM) as programs:
                await bench.tell(5)
                assert len(programs) == 1
                assert bench.injector._program.running is not None
                assert bench.injector._program.running.process is None
                programs[0].kill()
                programs[0].wait(10)
                await bench.tell()
                assert len(programs) == 2
                bench.injector.close()
                assert programs[1].wait(10) == 0

        run(script)

    def test_a_socket_where_nobody_listens_is_said(
        self, run: Callable[[Script], None], tmp_path: Path
    ) -> None:
        async def script(bench: Bench) -> None:
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stale:
                stale.bind(str(tmp_path / "inject"))
            with pytest.raises(Untold, match="Connection refused"):
                await bench.injector.inject(BOX, ADD)

        run(script)

    def test_one_that_is_slow_to_start_is_waited_for_and_no_other_is_started(
        self, run: Callable[[Script], None], tmp_path: Path
    ) -> None:
        os.mkfifo(gate := tmp_path / "gate")

        async def script(bench: Bench) -> None:
            wait_and_serve = ("sh", "-c", 'read -r _ <"$0"; exec "$@"', str(gate), *PROGRAM)
            with socket_unit(tmp_path / "inject", *wait_and_serve) as programs, patience(bench, 0.2, 30):
                told = asyncio.ensure_future(bench.injector.inject(BOX, ADD))
                done, _ = await asyncio.wait([told], timeout=0.5)
                assert not done
                gate.write_text("\n")
                await told
                assert len(programs) == 1
                # Once it has answered, it has no more time than others.
                programs[0].send_signal(signal.SIGSTOP)
                with pytest.raises(Untold, match="does not answer within 0 s"):
                    await bench.injector.inject(BOX, ADD)
                programs[0].kill()

        run(script)

    def test_one_behind_which_nobody_answers_is_said(
        self, run: Callable[[Script], None], tmp_path: Path
    ) -> None:
        async def script(bench: Bench) -> None:
            with socket_unit(tmp_path / "inject", "sleep", "60"):
                with patience(bench, 0.2), pytest.raises(Untold, match="does not answer"):
                    await bench.injector.inject(BOX, ADD)
                bench.injector.close()

        run(script)


class TestTelling:
    def test_what_the_kernel_says_is_read_for_an_add_and_handed_back(
        self, run: Callable[[Script], None]
    ) -> None:
        null = replace(phone(), syspath="/sys/devices/virtual/mem/null")

        async def script(bench: Bench) -> None:
            told = await bench.injector.inject(BOX, Uevent("add", null, PATH))
            assert told.kernel == "MAJOR=1\nMINOR=3\nDEVNAME=null\nDEVMODE=0666"
            gone = replace(told, action="remove", kernel="BUSNUM=001")
            assert await bench.injector.inject(BOX, gone) == gone
            eventually(lambda: len(bench.ear.messages) == 4)
            assert bench.ear.messages[2]["BUSNUM"] == "001"

        run(script)

    def test_what_a_device_wrote_among_the_kernels_variables_is_not_told(
        self, run: Callable[[Script], None], tmp_path: Path
    ) -> None:
        forged = replace(phone(), syspath=f"{tmp_path}/forged")
        os.mkdir(forged.syspath)
        own = "MAJOR=189\nMINOR=1\nDEVNAME=bus/usb/001/002\nPRODUCT=1/2/3"
        Path(forged.syspath, "uevent").write_text(f'{own}\nNAME="P\nBUSNUM=007\nMODALIAS=x"\nTYPE=9\n')

        async def script(bench: Bench) -> None:
            assert (await bench.injector.inject(BOX, Uevent("add", forged, PATH))).kernel == own

        run(script)

    def test_a_device_that_is_gone_is_told_with_what_is_known(self, run: Callable[[Script], None]) -> None:
        async def script(bench: Bench) -> None:
            assert (await bench.injector.inject(BOX, ADD)).kernel == ""
            eventually(lambda: bench.ear.actions(PATH) == HEARD)

        run(script)

    @pytest.mark.alone
    def test_a_device_whose_sysfs_hangs_is_told_without_and_costs_one_thread(
        self, run: Callable[[Script], None], tmp_path: Path
    ) -> None:
        wedged = replace(phone(), syspath=f"{tmp_path}/wedged")
        os.mkdir(wedged.syspath)
        os.mkfifo(f"{wedged.syspath}/uevent")

        async def script(bench: Bench) -> None:
            await bench.tell()  # to start the program takes longer
            with patience(bench, 0.2):
                await bench.tell(uevent=Uevent("add", wedged, PATH))
                start = time.monotonic()
                await bench.tell(uevent=Uevent("add", wedged, PATH))
            assert time.monotonic() - start < 0.15
            assert bench.injector._reading == {wedged.syspath}
            os.close(os.open(f"{wedged.syspath}/uevent", os.O_WRONLY))
            while bench.injector._reading:
                await asyncio.sleep(0.001)

        run(script)

    def test_a_container_on_the_hosts_network_is_told_nothing(self, run: Callable[[Script], None]) -> None:
        async def script(bench: Bench) -> None:
            bench.shared = True
            with listening(os.getpid()) as host:
                await bench.injector.inject(BOX, ADD)
                steadily(lambda: not host.of(PATH), 0.1)
            assert bench.injector._program.running is None

        run(script)

    def test_an_instance_that_is_gone_is_not_told(self, run: Callable[[Script], None]) -> None:
        async def script(bench: Bench) -> None:
            with pytest.raises(Untold, match="other has no init any more"):
                await bench.injector.inject(InstanceName("default", "other"), ADD)

        run(script)

    def test_a_device_without_a_fit_name_is_unfit(self, run: Callable[[Script], None]) -> None:
        async def script(bench: Bench) -> None:
            with pytest.raises(Unfit, match="SUBSYSTEM"):
                await bench.injector.inject(BOX, replace(ADD, device=replace(phone(), subsystem="\n")))
            await bench.tell()

        run(script)
