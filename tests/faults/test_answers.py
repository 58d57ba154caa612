"""Whatever a server answers, and however: an error of ours, in time, and nothing that grows.

The script that people write lists nothing, asks for no instance's process and hears no events: what a server
answers to those is no fault for it. What it does under the others is below.
"""

from __future__ import annotations

import asyncio
import json
import resource
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack, aclosing, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import pytest

from hotplugd.aio.threads import Threads
from hotplugd.model.ports import ServerError, Unreachable
from hotplugd.model.values import Entry, InstanceName
from hotplugd.server import client as adapter
from hotplugd.server import events
from hotplugd.server.client import Lxd
from hotplugd.server.events import Lifecycle
from tests.faults.host import there
from tests.soak.figures import measure
from tests.support.lab.container import Container
from tests.support.lab.faults import Drip, Endless, Frames, Hang, Say, Twist, answer, document, frame
from tests.support.lab.kernel import Console
from tests.support.lab.proxy import Act, Fault, Proxy
from tests.support.lab.script import Script
from tests.support.lab.server import Server
from tests.support.lab.wait import eventually, steadily

T = TypeVar("T")


def redirect(to: str) -> bytes:
    return answer(b"", 302, "Found", more=f"Location: {to}\r\n")


NONSENSE = {
    "error in a list": answer(b"[]", 500),
    "error null": answer(b"null", 500),
    "error a number": answer(b'{"error": 5}', 500),
    "error in no text": answer(b"\xff\xfe", 500),
    "error deeply nested": answer(b"[" * 100_000, 500),
    "not found by somebody else": answer(b"<html>", 404),
    "conflict with nobody": answer(b"[]", 409),
    "a page": answer(b"<html>"),
    "nothing": answer(b""),
    "another kind": answer(b'{"type": "error"}'),
    "an operation without a name": document(None, "async"),
    "elsewhere": redirect("http://localhost/1.0"),
    "nowhere": redirect("http://[::"),
    "no length": b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n{}",
    "bad chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "not packed": answer(b"hello", more="Content-Encoding: gzip\r\n"),
    "long line": b"HTTP/1.1 200 " + b"x" * 70_000,
    "many lines": b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 500 + b"\r\n",
    "long number": answer(b'{"type": "sync", "metadata": ' + b"9" * 10_000 + b"}"),
}
ENTRY = "hp-00000000000000aa"
CALLS: dict[str, tuple[str, Callable[[Lxd, InstanceName], Awaitable[object]]]] = {
    "connect": ("GET /1.0 ", lambda lxd, _: lxd.connect()),
    "list": (r"GET /1.0/instances\?", lambda lxd, _: lxd.list()),
    "get": (r"GET /1.0/instances/", lambda lxd, name: lxd.get(name)),
    "init": (r"GET .*/state", lambda lxd, name: lxd.init(name)),
    "put": ("PATCH", lambda lxd, name: lxd.apply(name, [entry(name)], [])),
    "clear": ("PATCH", lambda lxd, name: lxd.clear(name, [entry(name)])),
    "events": ("GET /1.0/events", lambda lxd, _: begin(lxd)),
}


async def begin(lxd: Lxd) -> None:
    """Hear the beginning of the events."""
    async with aclosing(lxd.events()) as stream:
        assert await anext(stream) is None


def entry(name: InstanceName) -> Entry:
    config = {"type": "unix-char", "source": "/dev/null", "path": "/dev/lab", "required": "false"}
    marks = {"user.hotplugd.version": "1", "user.hotplugd.instance": str(name)}
    return Entry(ENTRY, {**config, **marks})


@pytest.fixture
def proxy(server: Server, tmp_path: Path) -> Iterator[Proxy]:
    with Proxy(tmp_path / "p", server.socket) as one:
        yield one


def run(proxy: Proxy, work: Callable[[Lxd, Threads], Awaitable[T]]) -> T:
    """What comes of work with a connected adapter."""

    async def main() -> T:
        threads = Threads()
        lxd = Lxd(str(proxy.socket), threads)
        await lxd.connect()
        return await work(lxd, threads)

    return asyncio.run(main())


@pytest.mark.parametrize("call", CALLS)
def test_nonsense_is_an_error_of_ours(proxy: Proxy, container: Container, call: str) -> None:
    to, do = CALLS[call]

    async def work(lxd: Lxd, _: Threads) -> None:
        name = InstanceName("default", container.name)
        for words, raw in NONSENSE.items():
            with proxy.fault(Fault(Say(raw), to)) as (fault,):
                # What broke over the answer before may be noticed only now.
                for _try in range(5):
                    with pytest.raises(ServerError):
                        await do(lxd, name)
                    if fault.met:
                        break
                assert fault.met, words
        with suppress(ServerError):
            await do(lxd, name)
        await do(lxd, name)

    run(proxy, work)
    assert container.devices.keys() <= {ENTRY}


@pytest.mark.parametrize("found", [None, {}, "", 0, {"x": 1}])
def test_what_is_no_list_is_not_an_empty_one(proxy: Proxy, found: object) -> None:
    with (
        proxy.fault(Fault(Say(document(found)), r"GET /1.0/instances\?recursion")),
        pytest.raises(Unreachable, match="not in LXD's API"),
    ):
        run(proxy, lambda lxd, _: lxd.list())


@pytest.mark.parametrize("pid", [1 << 40, 10**30])
def test_no_process_has_such_a_number(proxy: Proxy, container: Container, pid: int) -> None:
    with (
        proxy.fault(Fault(Twist(lambda found: {**found, "pid": pid}), ".*/state")),
        pytest.raises(Unreachable, match="expected the number of"),
    ):
        run(proxy, lambda lxd, _: lxd.init(InstanceName("default", container.name)))


@pytest.mark.parametrize("unlike", ["name", "etag"])
def test_what_is_not_surely_of_this_instance_is_not_written_over_it(
    proxy: Proxy, container: Container, unlike: str
) -> None:
    name = InstanceName("default", container.name)
    raw = document({**container.config, "name": "other"}) if unlike == "name" else document(container.config)
    with proxy.fault(Fault(Say(raw), f"GET /1.0/instances/{container}")), pytest.raises(Unreachable):
        run(proxy, lambda lxd, _: lxd.apply(name, [entry(name)], []))
    assert not proxy.count("PATCH|PUT")


def test_a_cookie_is_not_kept(proxy: Proxy, container: Container) -> None:
    more = "Set-Cookie: \x01;;=;\r\n"

    async def work(lxd: Lxd, _: Threads) -> None:
        with proxy.fault(Fault(Say(answer(b"{}", more=more), ends=False), "GET")), pytest.raises(Unreachable):
            await lxd.list()
        # LXD answers 400 to such a cookie.
        await lxd.list()

    run(proxy, work)


class TestBounds:
    def test_an_answer_without_end_is_broken_off(self, proxy: Proxy) -> None:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with (
            proxy.fault(Fault(Endless(), r"GET /1.0/instances\?recursion")),
            pytest.raises(Unreachable, match="expected `metadata`"),
        ):
            run(proxy, lambda lxd, _: lxd.list())
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 250_000

    def test_an_answer_that_drips_is_broken_off_and_costs_no_thread(
        self, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(adapter, "_CALL", 0.4)

        async def work(lxd: Lxd, threads: Threads) -> None:
            with proxy.fault(Fault(Drip(), r"GET /1.0/instances\?recursion")):
                for _ in range(3):
                    with pytest.raises(Unreachable):
                        await lxd.list()
                    await asyncio.sleep(0.2)
            # Each project is listed by itself.
            assert 1 <= len(threads._idle) <= adapter._LISTINGS

        run(proxy, work)


class TestEvents:
    def test_a_stream_that_does_not_begin_is_given_up(
        self, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(events, "_GREETING", 0.3)
        with proxy.fault(Fault(Hang(), "GET /1.0/events")), pytest.raises(Unreachable, match="fell silent"):
            run(proxy, lambda lxd, _: begin(lxd))

    def test_what_is_said_again_and_again_is_heard_once(self, proxy: Proxy) -> None:
        text = b'{"metadata": {"action": "instance-updated", "source": "/1.0/instances/c1"}}'

        async def work(lxd: Lxd, _: Threads) -> int:
            heard = 0
            with proxy.fault(Fault(Frames(frame(text) * 20_000, ends=True), "GET /1.0/events")):
                stream = lxd.events()
                assert await anext(stream) is None
                await asyncio.sleep(0.5)
                with suppress(Unreachable):
                    async for happened in stream:
                        assert happened == Lifecycle("instance-updated", InstanceName("default", "c1"))
                        heard += 1
            return heard

        start = time.monotonic()
        # Some for each turn of the loop, of which the stream takes no more than its share.
        assert run(proxy, work) < 2_000
        assert time.monotonic() - start < 10

    def test_of_too_much_it_is_heard_that_something_happened(self) -> None:
        heard = events._Heard()

        async def work() -> list[Lifecycle]:
            for number in range(50_000):
                heard.put(Lifecycle("instance-updated", InstanceName("default", f"c{number}")))
            return await heard.take()

        found = asyncio.run(work())
        assert len(found) <= 10_000
        assert found[0].name is None

    @pytest.mark.parametrize("name", ["..", "c1/state", "a%2Fb", "c1?x", "c%0a1", "", "1c", "x" * 64, "c%e2"])
    def test_names_that_no_instance_has_are_not_asked_for(self, name: str) -> None:
        text = f'{{"metadata": {{"action": "instance-updated", "source": "/1.0/instances/{name}"}}}}'
        assert {str(each.name) for each in events.meaning(text)} <= {"c1"}

    @pytest.mark.parametrize(
        "raw",
        [
            frame(b"\xff\xfe"),
            frame(b"[" * 100_000),
            frame(b"x" * 100, opcode=2),
            frame(b"x", length=1 << 40),
            frame(b"x", opcode=7),
            b"\0" * 100,
            frame(b"", length=1000),
        ],
        ids=["no text", "nested", "binary", "huge", "unknown", "no frame", "half"],
    )
    def test_a_stream_of_nonsense_ends_or_is_passed_over(self, proxy: Proxy, raw: bytes) -> None:
        async def work(lxd: Lxd, _: Threads) -> None:
            with proxy.fault(Fault(Frames(raw, ends=True), "GET /1.0/events")):
                stream = lxd.events()
                assert await anext(stream) is None
                with pytest.raises(Unreachable):
                    await anext(stream)

        run(proxy, work)


class TestScript:
    """The script that people write, under the same."""

    @pytest.mark.parametrize("method", ["GET", "PUT"])
    def test_it_ends_by_any_nonsense(
        self, server: Server, tmp_path: Path, container: Container, console: Console, method: str
    ) -> None:
        to = f"{method} /1.0/instances/{container}"
        with ExitStack() as undo:
            scripts: dict[str, Script] = {}
            for number, (words, raw) in enumerate(NONSENSE.items()):
                proxy = undo.enter_context(Proxy(tmp_path / f"p{number}", server.socket))
                undo.enter_context(proxy.fault(Fault(Say(raw), to)))
                scripts[words] = Script(proxy.socket, {name(console): str(container)})
                undo.callback(scripts[words].close)
            for script in scripts.values():
                undo.enter_context(script)
            console.plug()
            eventually(lambda: [words for words, each in scripts.items() if each.running] == [])
        assert not there(container, console)

    def test_what_is_of_another_instance_it_writes_over_that(
        self, proxy: Proxy, containers: tuple[Container, Container], console: Console
    ) -> None:
        container, other = containers
        container.patch({"config": {"user.note": "one's"}})
        other.patch({"config": {"user.note": "the other's"}})
        with scripted(proxy, Twist(lambda found: {**found, "name": other.name}), container, console):
            eventually(lambda: there(other, console))
        # The server makes the node before it writes down the rest.
        eventually(lambda: other.own_config["user.note"] == "one's")

    def test_what_is_not_so_any_more_it_writes_back(
        self, proxy: Proxy, container: Container, console: Console
    ) -> None:
        old = document(container.config)
        container.patch({"config": {"user.note": "lost"}})
        with scripted(proxy, Say(old, ends=False), container, console):
            eventually(lambda: there(container, console))
        eventually(lambda: "user.note" not in container.own_config)

    def test_it_sends_a_cookie_back_and_ends_by_that(
        self, proxy: Proxy, container: Container, console: Console
    ) -> None:
        found = json.dumps({"type": "sync", "metadata": container.config}).encode()
        act = Say(answer(found, more="Set-Cookie: \x01;;=;\r\n"), ends=False)
        with scripted(proxy, act, container, console) as (script, _):
            eventually(lambda: not script.running)
        assert proxy.count("PUT") == 1
        assert not there(container, console)

    def test_over_an_answer_without_end_it_grows(
        self, proxy: Proxy, container: Container, console: Console
    ) -> None:
        with scripted(proxy, Endless(), container, console) as (script, before):
            eventually(lambda: measure(script.process.pid, 0).rss > before + 250_000)

    def test_over_an_answer_that_drips_it_stands_still(
        self, proxy: Proxy, containers: tuple[Container, Container], consoles: Callable[[int], list[Console]]
    ) -> None:
        (container, other), (one, two) = containers, consoles(2)
        with scripted(proxy, Drip(), container, one, {name(two): str(other)}) as (script, _):
            two.plug()
            steadily(lambda: script.running and not there(other, two), 1.0)


def name(console: Console) -> str:
    """The kernel's."""
    return f"vcsa{console.number}"


@contextmanager
def scripted(
    proxy: Proxy, act: Act, container: Container, console: Console, more: Mapping[str, str] | None = None
) -> Iterator[tuple[Script, int]]:
    """A script whose question for this container was met by the fault, and its KiB of memory before that.

    more  further places of its
    """
    places = {name(console): str(container), **(more or {})}
    with Script(proxy.socket, places) as script, proxy.fault(Fault(act, f"GET .*/{container}")) as (fault,):
        before = measure(script.process.pid, 0).rss
        console.plug()
        eventually(lambda: fault.met)
        yield script, before
