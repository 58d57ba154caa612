"""Which inodes are sealed when, and what is said where that cannot be: real nodes, the real program."""

from __future__ import annotations

import asyncio
import os
import resource
import stat
import threading
import time
from collections.abc import Callable

import pytest

from hotplugd.container.seals import Seals
from hotplugd.model.entry import name_for
from hotplugd.model.values import Entry, Instance, InstanceName
from tests.kernel.container.seals_bench import ELSEWHERE, FIRST, SECOND, Bench, descriptors, is_sealed
from tests.support.devices import BOX, box, console, entry
from tests.support.lab.fuse import nodes_here


def test_what_goes_is_sealed_and_what_stays_is_not(run: Callable[..., None]) -> None:
    async def script(bench: Bench) -> None:
        one, two = bench.file(), bench.file(SECOND, minor=2)
        foreign = bench.make(bench.folder / "box/unix.other.dev-x")
        elsewhere = bench.file(folder="lab_box")
        await bench.has(FIRST, SECOND)
        await bench.seals.seal(BOX, [FIRST])
        assert is_sealed(one)
        assert not any(map(is_sealed, (two, foreign, elsewhere)))
        await bench.seals.seal(ELSEWHERE, [FIRST])
        assert is_sealed(elsewhere)
        assert bench.messages() == []

    run(script)


def test_what_is_gone_already_is_sealed_all_the_same(run: Callable[..., None]) -> None:
    async def script(bench: Bench) -> None:
        path = bench.file()
        await bench.has(FIRST)
        handle = os.open(path, os.O_PATH)
        path.unlink()
        await bench.has()
        assert is_sealed(handle)
        assert bench.over == bench.told
        os.close(handle)
        # One in the place of another, and one that goes with its instance.
        path = bench.file()
        await bench.has(FIRST)
        handles = [os.open(path, os.O_PATH)]
        path.unlink()
        handles.append(os.open(bench.file(), os.O_PATH))
        await bench.has(FIRST)
        assert [*map(is_sealed, handles)] == [True, False]
        await bench.has(FIRST, running=False)
        assert [*map(is_sealed, handles)] == [True, True]
        for each in handles:
            os.close(each)

    run(script)


def changed(of: Entry) -> Entry:
    return Entry(of.name, {**of.config, "mode": "0600"})


def test_what_is_replaced_is_sealed_once_it_is_and_not_before(run: Callable[..., None]) -> None:
    async def script(bench: Bench) -> None:
        path = bench.file()
        await bench.has(FIRST)
        for _ in range(2):  # the server refuses, and then does it
            await bench.seals.hold(BOX, [FIRST])
            assert not is_sealed(path)
        handle = os.open(path, os.O_PATH)
        path.unlink()
        new = bench.file()
        await bench.has(changed(FIRST))
        assert [is_sealed(handle), is_sealed(new)] == [True, False]
        os.close(handle)

    run(script)


def test_also_what_was_not_held_before(run: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (0, 0))

    async def script(bench: Bench) -> None:
        path = bench.file()
        await bench.has(FIRST)
        await bench.seals.hold(BOX, [FIRST])
        handle = os.open(path, os.O_PATH)
        path.unlink()
        new = bench.file()
        await bench.has(changed(FIRST))
        assert [is_sealed(handle), is_sealed(new)] == [True, False]
        os.close(handle)

    run(script)


def test_also_where_the_servers_files_are_not_known(run: Callable[..., None]) -> None:
    async def script(bench: Bench) -> None:
        path = bench.put()
        await bench.has(FIRST)
        for _ in range(2):
            await bench.seals.hold(BOX, [FIRST])
            await bench.has(FIRST)
            assert not is_sealed(path)
        await bench.has(changed(FIRST))
        assert is_sealed(path)
        assert bench.messages() == []

    run(script, known=False)


def test_what_cannot_be_held_is_said(run: Callable[..., None]) -> None:
    async def script(bench: Bench) -> None:
        bench.put((1, 3))
        await bench.seals.hold(BOX, [FIRST])
        (message,) = bench.messages()
        assert "could not be sealed" in message

    run(script, known=False)


def test_what_a_server_cannot_tell_of_stays_as_it_is(run: Callable[..., None]) -> None:
    async def script(bench: Bench) -> None:
        path = bench.file()
        await bench.has(FIRST)
        await bench.has(known=False, running=False)
        assert not is_sealed(path)
        await bench.has(FIRST)
        assert not is_sealed(path)

    run(script)


def test_older_servers_write_dashes_as_they_are_and_an_entry_may_have_several(
    run: Callable[..., None],
) -> None:
    async def script(bench: Bench) -> None:
        names = ("dev-dri-card0", "dev-dri-renderD128")
        nodes = [bench.make(bench.folder / "box" / f"unix.{FIRST.name}.{each}") for each in names]
        longer = bench.make(bench.folder / "box" / f"unix.{FIRST.name}0.dev-x")
        await bench.seals.seal(BOX, [FIRST])
        assert all(map(is_sealed, nodes))
        assert not is_sealed(longer)

    run(script)


def test_what_has_no_nodes_is_let_be(run: Callable[..., None]) -> None:
    async def script(bench: Bench) -> None:
        nic = Entry(name_for("n-1"), {"type": "nic", "parent": "eth0", "name": "eth1"})
        await bench.seals.seal(BOX, [nic])
        await bench.has(nic)
        assert bench.messages() == []

    run(script, known=False)


def test_without_the_servers_files_what_is_inside_is_sealed(run: Callable[..., None]) -> None:
    async def script(bench: Bench) -> None:
        path = bench.put()
        await bench.seals.seal(BOX, [FIRST])
        assert is_sealed(path)
        assert bench.messages() == []

    run(script, known=False)


def test_what_is_asked_for_twice_at_once_is_sealed_once(run: Callable[..., None]) -> None:
    async def script(bench: Bench) -> None:
        path = bench.put()
        looks = []

        async def at(name: InstanceName, place: str) -> int:
            looks.append(place)
            assert len(looks) == 1, "an earlier look has not come back"
            await asyncio.sleep(0)
            return await bench.at(name, place)

        bench.seals = Seals(bench.sealer, bench.opener, at, bench.told.append)
        await asyncio.gather(bench.seals.seal(BOX, [FIRST]), bench.seals.seal(BOX, [FIRST]))
        assert is_sealed(path)
        assert bench.messages() == []

    run(script, known=False)


def test_but_not_what_somebody_put_in_its_place(run: Callable[..., None]) -> None:
    async def script(bench: Bench) -> None:
        path = bench.put((1, 3))
        await bench.seals.seal(BOX, [FIRST])
        assert not is_sealed(path)
        (message,) = bench.messages()
        assert "could not be sealed (the folder of the server's nodes is not found beside" in message
        assert message.endswith("restart box")
        (told,) = bench.told
        assert (told.problem.message, told.instance, told.entry) == (message, BOX, FIRST)
        assert bench.over == []
        bench.seals.restarted(BOX)
        assert bench.messages() == []
        assert bench.over == bench.told

    run(script, known=False)


def test_what_hangs_inside_delays_little(run: Callable[..., None]) -> None:
    async def script(bench: Bench) -> None:
        bench.hangs = True
        start = time.monotonic()
        await bench.seals.seal(BOX, [FIRST])
        assert time.monotonic() - start < 2
        assert "it cannot be looked for in time" in bench.messages()[0]
        # Whoever kept it has it still once nothing of ours is there.
        await bench.has()
        assert len(bench.messages()) == 1
        await bench.has(running=False)
        assert bench.messages() == []

    run(script, known=False)


def test_a_node_of_a_file_system_that_never_answers_stops_nobody(run: Callable[..., None]) -> None:
    async def script(bench: Bench) -> None:
        with nodes_here(bench.inside, stat.S_IFCHR | 0o600, os.makedev(188, 1)) as end:
            # Else it would not end.
            watch = threading.Timer(10, end)
            watch.start()
            start = time.monotonic()
            await bench.seals.seal(BOX, [FIRST])
            assert time.monotonic() - start < 5
            watch.cancel()
            (message,) = bench.messages()
            assert "the node is none that a server has made" in message

    run(script, known=False)


def test_where_the_server_has_no_file_there_is_nothing_to_say(run: Callable[..., None]) -> None:
    async def script(bench: Bench) -> None:
        await bench.seals.seal(BOX, [FIRST])
        assert bench.messages() == []
        left = bench.put()
        await bench.seals.seal(BOX, [FIRST])
        assert is_sealed(left)
        # One that is being put in has no file yet.
        await bench.seals.seal(BOX, [Entry(FIRST.name, {})])
        assert bench.messages() == []

    run(script)


def test_what_was_not_sealed_is_tried_again_until_a_restart(
    run: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def script(bench: Bench) -> None:
        await bench.has(FIRST)
        words = bench.sealer._program.words
        path = bench.file()
        await bench.has(FIRST)
        bench.sealer._program._drop()
        monkeypatch.setattr(bench.sealer._program, "words", ("/bin/true",))
        handle = os.open(path, os.O_PATH)
        await bench.seals.seal(BOX, [FIRST])
        path.unlink()
        await bench.has()
        assert not is_sealed(handle)
        (message,) = bench.messages()
        assert "could not be sealed (the program for it ended)" in message
        # A restart ends those who may have it; another instance's is another's.
        bench.seals.restarted(ELSEWHERE)
        assert bench.messages() == [message]
        assert [each.problem.message for each in bench.told] == [message]
        monkeypatch.setattr(bench.sealer._program, "words", words)
        async with asyncio.timeout(20):
            while bench.messages():
                await asyncio.sleep(0.05)
        assert is_sealed(handle)
        os.close(handle)

    run(script)


def test_what_started_while_its_entry_went_is_said_until_a_restart(run: Callable[..., None]) -> None:
    async def script(bench: Bench) -> None:
        nic = Entry("hp-00000000000000ff", {"type": "nic"})
        bench.seals.missed(BOX, [FIRST, nic])
        (message,) = bench.messages()
        assert "could not be sealed (box was started while the server took it out)" in message
        assert message.endswith("restart box")
        assert [each.problem.message for each in bench.told] == [message]
        await bench.has()
        assert bench.messages() == [message]
        bench.seals.restarted(BOX)
        assert bench.messages() == []

    run(script)


def test_it_leaves_descriptors_for_others(run: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (4, 4))

    async def script(bench: Bench) -> None:
        of = [entry(console(number)) for number in range(1, 9)]
        files = [bench.file(each, minor=number) for number, each in enumerate(of, 1)]
        before = descriptors()
        await bench.has(*of)
        # One of them, and the program with its channel.
        assert descriptors() - before <= 1 + 3
        await bench.seals.seal(BOX, of)
        assert all(map(is_sealed, files))

    run(script)


def test_one_projects_instances_leave_descriptors_for_anothers(
    run: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 64))

    async def script(bench: Bench) -> None:
        many = [entry(console(number)) for number in range(1, 101)]
        for number, each in enumerate(many, 1):
            bench.file(each, minor=number)
        mine = bench.file(FIRST, minor=200, folder="lab_box")
        handle = os.open(mine, os.O_PATH)
        await bench.has(*many)
        assert len(bench.seals._all[BOX]) == 16
        # Somebody takes it out by hand: what is not held cannot be sealed then.
        bench.seals.has(ELSEWHERE, box([FIRST], name="box"))
        await bench.seals.settled()
        mine.unlink()
        bench.seals.has(ELSEWHERE, box(name="box"))
        await bench.seals.settled()
        assert is_sealed(handle)
        os.close(handle)

    run(script)


def test_everywhere_is_in_every_instance(run: Callable[..., None]) -> None:
    async def script(bench: Bench) -> None:
        files = [bench.file(folder=each) for each in ("box", "lab_box", "other")]
        kept = bench.file(SECOND)
        await bench.seals.seal_everywhere(FIRST.name)
        assert all(map(is_sealed, files))
        assert not is_sealed(kept)

    run(script)


def test_many_at_once(run: Callable[..., None]) -> None:
    async def script(bench: Bench) -> None:
        of = [entry(console(number)) for number in range(1, 301)]
        files = [bench.file(each, minor=number) for number, each in enumerate(of, 1)]
        await asyncio.gather(bench.seals.seal(BOX, of), bench.seals.seal(BOX, of), bench.has(*of))
        assert all(map(is_sealed, files))
        start = time.monotonic()
        await bench.seals.seal(BOX, of)
        assert time.monotonic() - start < 1
        assert bench.messages() == []

    run(script)


def test_instances_that_are_none_are_forgotten(run: Callable[..., None]) -> None:
    async def script(bench: Bench) -> None:
        path = bench.file()
        await bench.has(FIRST)
        handle = os.open(path, os.O_PATH)
        gone: Instance | None = None
        bench.seals.has(BOX, gone)
        await bench.seals.settled()
        assert is_sealed(handle)
        assert not bench.seals._all
        os.close(handle)

    run(script)
