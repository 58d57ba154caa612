"""Without descriptors nothing is judged, and nothing is lost."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from dataclasses import replace

import pytest

from hotplugd.model.ports import Unreachable
from tests.kernel.container.seals_bench import FIRST, SECOND, Bench, descriptors, is_sealed
from tests.support.devices import BOX
from tests.support.lab.shortage import no_more_descriptors


def test_where_no_file_can_be_opened_it_is_said_and_nothing_is_lost(
    run: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def script(bench: Bench) -> None:
        files = [bench.file(FIRST), bench.file(SECOND, minor=2)]
        real = os.open

        def short(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
            if "unix.hp" in str(path):
                raise OSError(errno.EMFILE, "Too many open files")
            return real(path, flags, mode, dir_fd=dir_fd)

        with monkeypatch.context() as patch:
            patch.setattr(os, "open", short)
            await bench.has(FIRST, SECOND)
            await bench.seals.seal(BOX, [FIRST])
        assert not any(map(is_sealed, files))
        (message,) = bench.messages()
        assert "Too many open files" in message
        await bench.seals.seal(BOX, [FIRST, SECOND])
        assert all(map(is_sealed, files))

    run(script)


def test_to_seal_what_is_held_takes_no_further_descriptor(run: Callable[..., None]) -> None:
    async def script(bench: Bench) -> None:
        path = bench.file()
        await bench.has(FIRST)
        with no_more_descriptors():
            await bench.seals.seal(BOX, [FIRST])
            assert is_sealed(path)
            path.unlink()
            await bench.has()
        assert bench.messages() == []
        assert bench.told == []

    run(script)


def test_what_could_not_be_found_is_a_problem_until_it_is_sealed(run: Callable[..., None]) -> None:
    async def script(bench: Bench) -> None:
        await bench.has(FIRST)
        path = bench.file()
        with no_more_descriptors():
            await bench.seals.seal(BOX, [FIRST])
        assert not is_sealed(path)
        (message,) = bench.messages()
        assert "Too many open files" in message
        # The server did not take it out, and is asked again.
        await bench.seals.seal(BOX, [FIRST])
        assert is_sealed(path)
        assert bench.messages() == []

    run(script)


def test_but_another_node_in_its_place_is_not_it(run: Callable[..., None]) -> None:
    async def script(bench: Bench) -> None:
        await bench.has(FIRST)
        path = bench.file()
        with no_more_descriptors():
            await bench.seals.seal(BOX, [FIRST])
        (message,) = bench.messages()
        path.unlink()
        path = bench.file()
        other = replace(FIRST, config={**FIRST.config, "mode": "0600"})
        await bench.has(other)
        await bench.seals.seal(BOX, [other])
        assert is_sealed(path)
        assert bench.messages() == [message]
        bench.seals.restarted(BOX)
        assert bench.messages() == []

    run(script)


def test_what_could_not_be_held_is_held_soon(run: Callable[..., None]) -> None:
    async def script(bench: Bench) -> None:
        await bench.has(FIRST)
        path = bench.file()
        with no_more_descriptors():
            await bench.has(FIRST)
        before = descriptors()
        async with asyncio.timeout(20):
            while descriptors() == before:
                await asyncio.sleep(0.05)
        # Somebody takes it out, and nobody asked for that before.
        handle = os.open(path, os.O_PATH)
        path.unlink()
        await bench.has()
        assert is_sealed(handle)
        assert bench.messages() == []
        os.close(handle)

    run(script)


def test_what_was_not_sealed_is_tried_again_also_while_nothing_can_be_opened(
    run: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def script(bench: Bench) -> None:
        path = bench.file()
        await bench.has(FIRST)
        words = bench.sealer._program.words
        bench.sealer._program._drop()
        monkeypatch.setattr(bench.sealer._program, "words", ("/bin/true",))
        handle = os.open(path, os.O_PATH)
        await bench.seals.seal(BOX, [FIRST])
        assert len(bench.messages()) == 1
        monkeypatch.setattr(bench.sealer._program, "words", words)
        with no_more_descriptors():
            await asyncio.sleep(1.5)
        assert not is_sealed(handle)
        async with asyncio.timeout(20):
            while bench.messages():
                await asyncio.sleep(0.05)
        assert is_sealed(handle)
        os.close(handle)

    run(script)


def test_a_server_is_connected_to_again_where_its_files_cannot_be_looked_for(
    run: Callable[..., None],
) -> None:
    async def script(bench: Bench) -> None:
        path = bench.file()
        bench.seals._files.close()
        with no_more_descriptors(), pytest.raises(Unreachable, match="Too many open files"):
            await bench.seals.connected(bench.server)
        await bench.seals.connected(bench.server)
        await bench.seals.seal(BOX, [FIRST])
        assert is_sealed(path)

    run(script)


def test_everywhere_is_all_or_nothing(run: Callable[..., None]) -> None:
    async def script(bench: Bench) -> None:
        files = [bench.file(folder=each) for each in ("box", "other")]
        await bench.has(FIRST)
        with no_more_descriptors(but=2), pytest.raises(OSError, match="Too many open files"):
            await bench.seals.seal_everywhere(FIRST.name)
        assert not any(map(is_sealed, files))
        await bench.seals.seal_everywhere(FIRST.name)
        assert all(map(is_sealed, files))

    run(script)
