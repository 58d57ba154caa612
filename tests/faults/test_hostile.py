"""A server that means us no good: it is refused in time, and takes little memory and nobody else's time."""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, aclosing, suppress
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest
from pylxd.client import Cert

from hotplugd.aio.threads import Threads
from hotplugd.model.ports import ServerError, Unreachable
from hotplugd.model.values import Instance, InstanceName
from hotplugd.server import api, client, connection, events
from hotplugd.server.client import Lxd
from tests.support.lab.hostile import hostile
from tests.support.lab.strain import Strain, strained

T = TypeVar("T")

_NAME: Final = InstanceName("default", "c1")
_GET: Final = "GET /1.0/instances/c1"
_LIST: Final = "GET /1.0/instances?recursion"
_EVENTS: Final = "GET /1.0/events"
# A loop that is this late has been kept; a machine that is busy makes it late, too.
_LATE: Final = 0.8
_MUCH: Final = 80.0


Serve = Callable[[dict[str, str]], str]
"""Begins a server that says these to those requests, and returns its address."""


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    with ExitStack() as undo:
        yield lambda said: undo.enter_context(hostile(tmp_path / "s", said))


@pytest.fixture
def serve_https(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """The same over https, by a certificate that is both sides'."""
    cert, key = tmp_path / "client.crt", tmp_path / "client.key"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    subprocess.run(
        [*words, "-subj", "/CN=x", "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True
    )
    (tmp_path / "servercerts").mkdir()
    (tmp_path / "servercerts" / "127.0.0.1.crt").write_text(cert.read_text())
    both = tmp_path / "both.pem"
    both.write_text(key.read_text() + cert.read_text())
    monkeypatch.setattr(connection, "DEFAULT_CERTS", Cert(str(cert), str(key)))
    with ExitStack() as undo:
        yield lambda said: undo.enter_context(hostile(both, said, tls=True))


def run(address: str, work: Callable[[Lxd, Threads], Awaitable[T]]) -> tuple[T, Strain]:
    """What comes of work with a connected adapter, and what that took."""

    async def main() -> tuple[T, Strain]:
        threads = Threads()
        lxd = Lxd(address, threads)
        await lxd.connect()
        try:
            async with strained() as strain:
                done = await work(lxd, threads)
            return done, strain
        finally:
            lxd.close()

    return asyncio.run(main())


def six_at_once(address: str) -> Strain:
    """What six large answers take that are asked for at once."""

    async def work(lxd: Lxd, _: Threads) -> list[Instance]:
        return await asyncio.gather(*(lxd.get(_NAME) for _ in range(6)))

    found, strain = run(address, work)
    assert {each.id for each in found} == {_NAME}
    return strain


class TestAnswers:
    @pytest.mark.parametrize(
        ("said", "match"),
        [
            ("head that drips", "has not answered|in time"),
            ("first line that drips", "has not answered|in time"),
            ("head without end", "larger than|head"),
            ("wait without end", "larger than"),
            ("mark of a chunk without end", "more than 65536 bytes"),
            ("what follows the body without end", "in time|timed out"),
        ],
    )
    def test_one_without_end_is_broken_off_and_costs_no_thread(
        self, serve: Serve, monkeypatch: pytest.MonkeyPatch, said: str, match: str
    ) -> None:
        monkeypatch.setattr(client, "_CALL", 0.5)

        async def work(lxd: Lxd, threads: Threads) -> None:
            with pytest.raises(Unreachable, match=f"{match}|did not finish"):
                await lxd.get(_NAME)
            async with asyncio.timeout(5):
                while not threads._idle:
                    await asyncio.sleep(0.05)

        _, strain = run(serve({_GET: said}), work)
        assert strain.lag < _LATE

    @pytest.mark.parametrize("said", ["head that drips", "wait without end", "packed"])
    def test_it_is_the_same_over_https(
        self, serve_https: Serve, monkeypatch: pytest.MonkeyPatch, said: str
    ) -> None:
        monkeypatch.setattr(client, "_CALL", 0.5)

        async def work(lxd: Lxd, threads: Threads) -> None:
            with pytest.raises(Unreachable):
                await lxd.get(_NAME)
            async with asyncio.timeout(5):
                while not threads._idle:
                    await asyncio.sleep(0.05)

        run(serve_https({_GET: said}), work)

    @pytest.mark.parametrize(
        ("said", "match"),
        [
            ("packed", "is packed as 'gzip'"),
            ("packed and packed again", "is packed"),
            ("lists", "has more in it"),
            ("list of lists", "has more in it"),
            ("larger instance than any", "more than 16 MB"),
        ],
    )
    def test_one_that_would_grow_is_refused(self, serve: Serve, said: str, match: str) -> None:
        async def work(lxd: Lxd, _: Threads) -> None:
            with pytest.raises(Unreachable, match=match):
                await lxd.get(_NAME)

        _, strain = run(serve({_GET: said}), work)
        assert strain.lag < _LATE
        assert strain.memory < _MUCH

    def test_many_large_ones_are_had_one_at_a_time(self, serve: Serve) -> None:
        # A process of many tests takes up to 200 MiB for it: its heap is in pieces.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
            strain = fresh.submit(six_at_once, serve({_GET: "large instance"})).result()
        assert strain.lag < _LATE
        # 86; all six at a time are 203.
        assert strain.memory < _MUCH * 1.5

    def test_what_others_put_into_marks_is_not_read(self, serve: Serve) -> None:
        found, strain = run(serve({_GET: "marks of lists"}), lambda lxd, _: lxd.get(_NAME))
        assert found.entries.keys() == {"hp-00000000000000ff"}
        assert strain.memory < _MUCH

    def test_one_that_hangs_keeps_no_room_from_others(
        self, serve: Serve, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def work(lxd: Lxd, _: Threads) -> None:
            with pytest.raises(Unreachable, match="more than 16 MB"):
                await lxd.get(InstanceName("default", "c2"))
            assert (await lxd.get(_NAME)).id == _NAME

        run(serve({_GET: "large instance", "GET /1.0/instances/c2": "larger instance than any"}), work)

    def test_what_is_large_is_not_kept(self, serve: Serve) -> None:
        async def work(lxd: Lxd, _: Threads) -> None:
            async with aclosing(lxd.events()) as stream:
                assert await anext(stream) is None
                await lxd.get(_NAME)
                assert lxd._revisions[_NAME].raw == {}
                assert lxd._revisions[_NAME].etag == ""

        run(serve({_GET: "instance of some size"}), work)


class TestProjects:
    def test_one_that_asks_for_much_keeps_no_other_waiting(
        self, serve: Serve, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(client, "_CALL", 2.0)

        async def main() -> None:
            lxd = Lxd(
                serve({"GET /1.0/instances/c1?project=evil": "head that drips", _GET: "large instance"}),
                Threads(100),
            )
            await lxd.connect()
            evil = InstanceName("evil", "c1")
            asked = [asyncio.create_task(lxd.get(evil)) for _ in range(200)]
            await asyncio.sleep(0)
            async with asyncio.timeout(1.5):
                assert (await lxd.get(_NAME)).id == _NAME
            assert lxd.waiting() == {"evil": 200 - client._SHARE}
            for each in asked:
                each.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
            assert lxd.waiting() == {}
            lxd.close()

        asyncio.run(main())


class TestListing:
    def test_what_others_put_into_instances_is_passed_over(self, serve: Serve) -> None:
        found, strain = run(serve({_LIST: "two large instances"}), lambda lxd, _: lxd.list())
        assert [each.id.name for each in found] == ["c0", "c1"]
        assert all(each.known and each.entries.keys() == {"e"} for each in found)
        assert strain.lag < _LATE
        assert strain.memory < _MUCH

    def test_what_others_put_into_marks_is_not_read(self, serve: Serve) -> None:
        found, strain = run(serve({_LIST: "instance with marks of lists"}), lambda lxd, _: lxd.list())
        assert [each.id.name for each in found] == ["c1"]
        assert strain.memory < _MUCH

    def test_what_a_profile_gives_them_is_kept_once(self, serve: Serve) -> None:
        found, strain = run(serve({_LIST: "instances of one profile"}), lambda lxd, _: lxd.list())
        assert len(found) == 200
        assert all(each.inherited is found[0].inherited for each in found)
        assert strain.memory < _MUCH / 4

    def test_more_instances_than_any_server_has_are_refused(
        self, serve: Serve, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(api, "_MOST_INSTANCES", 1000)

        async def work(lxd: Lxd, _: Threads) -> None:
            with pytest.raises(Unreachable, match="more than 1000 instances"):
                await lxd.list()

        run(serve({_LIST: "many instances"}), work)

    @pytest.mark.parametrize("said", ["lists", "list of lists", "packed", "wait without end"])
    def test_what_would_grow_does_not(self, serve: Serve, said: str) -> None:
        async def work(lxd: Lxd, _: Threads) -> None:
            with suppress(ServerError):
                assert not any(each.known for each in await lxd.list())

        _, strain = run(serve({_LIST: said}), work)
        assert strain.lag < _LATE
        assert strain.memory < _MUCH


_PROJECTS: Final = {
    "GET /1.0/projects": "two projects",
    "GET /1.0/instances?recursion=1&project=good": "instance with marks of lists",
}
_EVIL: Final = "GET /1.0/instances?recursion=1&project=evil"


class TestListingOfProjects:
    @pytest.mark.parametrize(
        ("said", "match"),
        [
            ("many instances", "more than 1000 instances in project 'evil'"),
            ("lists", "not in LXD's API"),
            ("packed", "is packed"),
            ("head that drips", "has not told of all its instances in 2 s"),
            ("head without end", "larger than"),
        ],
    )
    def test_what_is_in_one_keeps_no_other_from_being_listed(
        self, serve: Serve, monkeypatch: pytest.MonkeyPatch, said: str, match: str
    ) -> None:
        monkeypatch.setattr(api, "_MOST_INSTANCES", 1000)
        monkeypatch.setattr(client, "_LISTED_IN", 2.0)

        async def work(lxd: Lxd, _: Threads) -> tuple[list[Instance], Mapping[str, str]]:
            return await lxd.list(), lxd.unlisted

        (found, unlisted), strain = run(serve({**_PROJECTS, _EVIL: said}), work)
        assert [each.id.name for each in found] == ["c1"]
        assert unlisted.keys() == {"evil"}
        assert re.search(match, unlisted["evil"])
        assert strain.lag < _LATE

    def test_where_none_can_be_listed_the_server_is_away(self, serve: Serve) -> None:
        async def work(lxd: Lxd, _: Threads) -> None:
            with pytest.raises(Unreachable):
                await lxd.list()

        run(serve({"GET /1.0/projects": "two projects", _LIST: "lists"}), work)

    @pytest.mark.parametrize("only", [("evil",), ()])
    def test_a_server_that_goes_away_meanwhile_says_nothing_of_them(
        self, tmp_path: Path, only: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with ExitStack() as serving:
            address = serving.enter_context(hostile(tmp_path / "s", _PROJECTS))
            instances = api.Api.instances

            def away(self: Any, scope: Mapping[str, str], known: Any) -> Any:
                found = instances(self, scope, known) if scope["project"] == "good" else None
                if found is None:
                    serving.close()
                return found or instances(self, scope, known)

            monkeypatch.setattr(api.Api, "instances", away)

            async def work(lxd: Lxd, _: Threads) -> None:
                lxd.unlisted = {"old": "it was so"}
                with pytest.raises(Unreachable, match=r"not running|ended the connection|does not answer"):
                    await lxd.list(only)
                assert lxd.unlisted == {"old": "it was so"}

            run(address, work)

    def test_all_is_well_again_once_it_is(self, serve: Serve) -> None:
        async def work(lxd: Lxd, _: Threads) -> None:
            lxd.unlisted = {"evil": "it was so"}
            await lxd.list()
            assert lxd.unlisted == {}

        run(serve({**_PROJECTS, _EVIL: "instance with marks of lists"}), work)


class TestEvents:
    @pytest.mark.parametrize(
        "said", ["pings", "long pings", "events of nothing", "large events", "parts of an event"]
    )
    def test_without_end_they_keep_nobody_waiting(self, serve: Serve, said: str) -> None:
        async def work(lxd: Lxd, _: Threads) -> None:
            async with aclosing(lxd.events()) as stream:
                assert await anext(stream) is None
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.8):
                        await anext(stream)

        _, strain = run(serve({_EVENTS: said}), work)
        assert strain.lag < _LATE
        assert strain.memory < _MUCH

    @pytest.mark.parametrize("said", ["pings", "long pings", "silence"])
    def test_that_are_not_listened_to_any_more_end_at_once(self, serve: Serve, said: str) -> None:
        async def work(lxd: Lxd, _: Threads) -> None:
            async with asyncio.timeout(5), aclosing(lxd.events()) as stream:
                assert await anext(stream) is None
                # The server reads none of what answers it.
                await asyncio.sleep(0.5)

        run(serve({_EVENTS: said}), work)

    @pytest.mark.parametrize("said", ["long pings", "silence"])
    def test_that_are_not_listened_to_any_more_end_at_once_over_https(
        self, serve_https: Serve, said: str
    ) -> None:
        async def work(lxd: Lxd, _: Threads) -> None:
            async with asyncio.timeout(5), aclosing(lxd.events()) as stream:
                assert await anext(stream) is None
                await asyncio.sleep(0.5)

        run(serve_https({_EVENTS: said}), work)

    @pytest.mark.parametrize("said", ["long pings", "silence"])
    def test_of_a_server_that_does_not_read_are_given_up(
        self, serve: Serve, monkeypatch: pytest.MonkeyPatch, said: str
    ) -> None:
        monkeypatch.setattr(events, "_SILENCE", 0.5)

        async def work(lxd: Lxd, _: Threads) -> None:
            async with asyncio.timeout(10), aclosing(lxd.events()) as stream:
                assert await anext(stream) is None
                with pytest.raises(Unreachable, match="fell silent"):
                    await anext(stream)

        run(serve({_EVENTS: said}), work)
