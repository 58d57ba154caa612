"""Looks into real containers that come to nothing, take for ever, or end meanwhile."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import pytest

from hotplugd.aio.threads import NoThread, Threads
from hotplugd.container import inspector
from hotplugd.container.inspector import Inspector
from hotplugd.container.opener import Opener
from hotplugd.model.ports import Gone, Unreachable
from hotplugd.model.values import Devnum, Inside, InstanceName, Node
from tests.support.lab.container import Container
from tests.support.lab.fuse import hanging
from tests.support.lab.server import Server
from tests.support.lab.shortage import no_more_descriptors

_ALONE = frozenset({"lo"})
_NULL = Inside(nodes={"/dev/null": Node(Devnum("char", 1, 3), 0o666)}, interfaces=_ALONE)


class Bench:
    """An inspector of some containers, and what it says of them."""

    def __init__(self, *containers: Container) -> None:
        self.containers = {name(each): each for each in containers}
        self.asked: list[InstanceName] = []
        self.changed: list[InstanceName] = []
        self.ended: list[InstanceName] = []
        self.threads = Threads()
        self.opener = Opener(self.threads, Path("/nonexistent"))
        self.inspector = Inspector(
            self.threads, self.opener, self.init, self.changed.append, self.ended.append
        )

    async def init(self, instance: InstanceName) -> int:
        self.asked.append(instance)
        await asyncio.sleep(0)
        return await self.threads.call(lambda: self.containers[instance].pid, 20)

    async def look(self, container: Container, *paths: str) -> Inside:
        return await self.inspector.look(name(container), paths)

    async def off(self, work: Callable[[], object]) -> None:
        """Do something that takes long, with the loop going on meanwhile."""
        await self.threads.call(work, 60)


def name(container: Container) -> InstanceName:
    return InstanceName(container.project, container.name)


def with_bench(script: Callable[[Bench], Awaitable[None]], *containers: Container) -> None:
    """Run a script with an inspector, and see that nothing is left of it."""
    before = descriptors()

    async def run() -> None:
        bench = Bench(*containers)
        try:
            await script(bench)
        finally:
            bench.inspector.close()
        await until(lambda: descriptors_but_the_loops(before))

    asyncio.run(run())


async def until(check: Callable[[], object]) -> None:
    start = time.monotonic()
    while not check():
        assert time.monotonic() - start < 20
        await asyncio.sleep(0.002)


def descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def descriptors_but_the_loops(before: set[str]) -> bool:
    """Whether nothing is open that was not, but for the event loop's own three and the listing's."""
    return len(descriptors()) <= len(before) + 3


def workers() -> int:
    return sum(thread.name == "hotplugd-call" for thread in threading.enumerate())


@pytest.fixture(scope="module")
def boxes(server: Server) -> Iterator[tuple[Container, Container]]:
    """Two for all of these tests. The first has no user namespace: what hangs in there hangs for us."""
    with ExitStack() as undo:
        found = server.launch(config={"security.privileged": "true"}), server.launch()
        for each in found:
            undo.callback(each.delete)
        yield found


@pytest.fixture
def own(server: Server) -> Iterator[Container]:
    """A container for one test to stop."""
    container = server.launch()
    yield container
    container.delete()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspector, "_DEADLINE", 0.1)


def test_a_look_without_a_thread_fails_as_any_other_and_the_next_one_does_not(
    boxes: tuple[Container, Container], monkeypatch: pytest.MonkeyPatch
) -> None:
    box, _ = boxes

    async def none_left(*_: object) -> None:
        raise NoThread("can't start new thread")

    async def script(bench: Bench) -> None:
        assert await bench.look(box, "/dev/null") == _NULL
        before = descriptors()
        with monkeypatch.context() as patched:
            patched.setattr(Threads, "call", none_left)
            with pytest.raises(Unreachable, match="can't start"):
                await bench.look(box, "/dev/null")
        assert len(descriptors()) == len(before)
        assert await bench.look(box, "/dev/null") == _NULL

    with_bench(script, box)


class TestNoDescriptors:
    def test_a_look_fails_as_any_other_and_leaves_nothing_open(
        self, boxes: tuple[Container, Container]
    ) -> None:
        async def script(bench: Bench) -> None:
            held, new = boxes
            for _ in range(2):
                for each in (new, held):
                    bench.inspector.forget(name(each))
                await bench.look(held, "/dev/null")
                pid = new.pid
                before = descriptors()
                for spare in range(7):
                    reserve = [os.dup(0) for _ in range(spare)]
                    with no_more_descriptors():
                        for descriptor in reserve:
                            os.close(descriptor)
                        for each in boxes:
                            with suppress(Unreachable):
                                await bench.look(each, "/dev/null")
                    bench.inspector.forget(name(new))
                    assert len(descriptors()) <= len(before)
                assert new.pid == pid
            assert [await bench.look(each, "/dev/null") for each in boxes] == [_NULL] * 2

        with_bench(script, *boxes)

    def test_it_says_so(self, boxes: tuple[Container, Container]) -> None:
        async def script(bench: Bench) -> None:
            await bench.look(boxes[0], "/dev/null")
            with no_more_descriptors(), pytest.raises(Unreachable, match="Too many open files"):
                await bench.look(boxes[0], "/dev/null")

        with_bench(script, *boxes)


class TestHolding:
    def test_the_init_is_asked_for_once(self, boxes: tuple[Container, Container]) -> None:
        async def script(bench: Bench) -> None:
            for _ in range(5):
                assert [await bench.look(each, "/dev/null") for each in boxes] == [_NULL] * 2
            assert bench.asked == [name(each) for each in boxes]

        with_bench(script, *boxes)

    def test_two_first_looks_at_once_hold_one_root(self, boxes: tuple[Container, Container]) -> None:
        async def script(bench: Bench) -> None:
            looks = (bench.look(boxes[1], "/dev/null"), bench.look(boxes[1], "/dev/null"))
            assert list(await asyncio.gather(*looks)) == [_NULL] * 2
            assert bench.asked == [name(boxes[1])] * 2
            assert list(bench.inspector._roots) == [name(boxes[1])]

        with_bench(script, *boxes)

    def test_holding_and_forgetting_leaves_nothing_open(self, boxes: tuple[Container, Container]) -> None:
        async def script(bench: Bench) -> None:
            await bench.look(boxes[1], "/dev/null")
            bench.inspector.forget(name(boxes[1]))
            before = descriptors()
            for _ in range(50):
                assert await bench.look(boxes[1], "/dev/null") == _NULL
                bench.inspector.forget(name(boxes[1]))
                bench.inspector.forget(name(boxes[1]))
            assert descriptors() == before

        with_bench(script, *boxes)

    def test_names_are_looked_up_once_rules_ask_for_them(self, boxes: tuple[Container, Container]) -> None:
        async def script(bench: Bench) -> None:
            assert await bench.look(boxes[1]) == Inside(interfaces=_ALONE)
            bench.inspector.ask_for(["root", "none"], ["video"])
            assert await bench.look(boxes[1]) == Inside(
                users={"root": 0, "none": None}, groups={"video": 44}, interfaces=_ALONE
            )

        with_bench(script, *boxes)

    def test_a_process_that_is_no_container_cannot_be_looked_into(self, own: Container) -> None:
        own._pid = os.getpid()

        async def script(bench: Bench) -> None:
            with pytest.raises(Unreachable, match="not the init of a container"):
                await bench.look(own, "/dev/null")
            own.forget_pid()
            assert await bench.look(own, "/dev/null") == _NULL

        with_bench(script, own)

    def test_what_the_server_says_instead_of_an_init_is_passed_on(self, own: Container) -> None:
        async def no_init(instance: InstanceName) -> int:
            raise Gone(f"there is no {instance}")

        async def script(bench: Bench) -> None:
            other = Inspector(bench.threads, bench.opener, no_init, bench.changed.append, bench.ended.append)
            with pytest.raises(Gone, match="there is no box"):
                await other.look(InstanceName("default", "box"), ["/dev/null"])

        with_bench(script, own)


class TestHearing:
    def test_a_mount_that_goes_inside_is_told_of_once(self, boxes: tuple[Container, Container]) -> None:
        _, box = boxes

        async def script(bench: Bench) -> None:
            for _ in range(2):
                bench.inspector.forget(name(box))
                await asyncio.gather(*(bench.look(each, "/dev/null") for each in boxes))
            for command in ("mount -t tmpfs none /mnt", "umount /mnt"):
                await bench.off(partial(box.run, "sh", "-c", command))
                await until(lambda: bench.changed)
                await asyncio.sleep(0.05)
                assert bench.changed == [name(box)]
                bench.changed.clear()
            assert not bench.ended

        with_bench(script, *boxes)

    def test_the_end_of_a_container_is_told_of_once_and_its_next_life_is_asked_for(
        self, own: Container
    ) -> None:
        async def script(bench: Bench) -> None:
            await bench.look(own, "/dev/null")
            for life in (1, 2):
                await bench.off(own.stop)
                await until(lambda: len(bench.ended) == len(bench.asked))
                await bench.off(own.start)
                assert await bench.look(own, "/dev/null") == _NULL
                assert bench.asked == [name(own)] * (life + 1)
            assert bench.ended == [name(own)] * 2

        with_bench(script, own)

    def test_nothing_is_heard_of_what_was_forgotten(self, own: Container) -> None:
        async def script(bench: Bench) -> None:
            await bench.look(own, "/dev/null")
            bench.inspector.forget(name(own))
            await bench.off(own.stop)
            await asyncio.sleep(0.05)
            assert not bench.ended
            assert not bench.changed

        with_bench(script, own)


class TestHanging:
    def test_a_file_system_that_hangs_costs_its_container_alone(
        self, boxes: tuple[Container, Container]
    ) -> None:
        bad, good = boxes

        async def script(bench: Bench) -> None:
            await asyncio.gather(*(bench.look(each, "/dev/null") for each in boxes))
            with hanging(bad, "mnt"):
                start = time.monotonic()
                stuck = asyncio.ensure_future(bench.look(bad, "/dev/null", "/mnt/node"))
                await asyncio.sleep(0)
                for _ in range(50):
                    assert await bench.look(good, "/dev/null") == _NULL
                assert not stuck.done()
                with pytest.raises(Unreachable, match="has not come back"):
                    await bench.look(bad, "/dev/null")
                assert time.monotonic() - start < 1.5
                with pytest.raises(Unreachable, match="nothing seen in 2 s"):
                    await stuck
                assert 1.9 < time.monotonic() - start < 6

        with_bench(script, *boxes)

    @pytest.mark.usefixtures("impatient")
    @pytest.mark.alone
    def test_looking_again_and_again_costs_one_thread(self, boxes: tuple[Container, Container]) -> None:
        bad, good = boxes

        async def script(bench: Bench) -> None:
            await asyncio.gather(*(bench.look(each, "/dev/null") for each in boxes))
            with hanging(bad, "mnt"):
                before, opened = workers(), descriptors()
                with pytest.raises(Unreachable, match="nothing seen"):
                    await bench.look(bad, "/mnt/node")
                for _ in range(50):
                    start = time.monotonic()
                    with pytest.raises(Unreachable, match="has not come back"):
                        await bench.look(bad, "/mnt/node")
                    assert time.monotonic() - start < 0.1
                    assert await bench.look(good, "/dev/null") == _NULL
                assert workers() <= before + 1
                # The root, its init in /proc, and the folder that it waits in.
                assert len(descriptors()) <= len(opened) + 3

        with_bench(script, *boxes)

    @pytest.mark.usefixtures("impatient")
    def test_the_next_life_of_a_container_that_hung_is_looked_at_once_the_look_comes_back(
        self, boxes: tuple[Container, Container]
    ) -> None:
        bad, _ = boxes

        async def script(bench: Bench) -> None:
            with hanging(bad, "mnt") as end:
                with pytest.raises(Unreachable, match="nothing seen"):
                    await bench.look(bad, "/mnt/node", "/dev/null")
                bench.inspector.forget(name(bad))
                with pytest.raises(Unreachable, match="has not come back"):
                    await bench.look(bad, "/dev/null")
                end()
                await until(lambda: not bench.inspector._hanging)
                assert await bench.look(bad, "/dev/null") == _NULL

        with_bench(script, *boxes)

    @pytest.mark.usefixtures("impatient")
    def test_a_file_system_whose_server_has_died_is_said_at_once_until_it_is_unmounted(
        self, boxes: tuple[Container, Container]
    ) -> None:
        bad, _ = boxes

        async def script(bench: Bench) -> None:
            with hanging(bad, "mnt") as end:
                with pytest.raises(Unreachable, match="nothing seen"):
                    await bench.look(bad, "/mnt/node")
                end()
                await until(lambda: not bench.inspector._hanging)
                with pytest.raises(Unreachable, match="not connected"):
                    await bench.look(bad, "/mnt/node")
                assert await bench.look(bad, "/dev/null") == _NULL
            assert await bench.look(bad, "/mnt/node") == Inside(nodes={"/mnt/node": None}, interfaces=_ALONE)

        with_bench(script, *boxes)

    def test_a_file_system_that_lets_nobody_else_in_is_said_at_once(
        self, boxes: tuple[Container, Container]
    ) -> None:
        _, box = boxes

        async def script(bench: Bench) -> None:
            with hanging(box, "user", "mnt"):
                start = time.monotonic()
                with pytest.raises(Unreachable, match="denied"):
                    await bench.look(box, "/mnt/node")
                assert await bench.look(box, "/dev/null") == _NULL
                assert time.monotonic() - start < 1.5

        with_bench(script, *boxes)
