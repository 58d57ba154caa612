"""The adapter to LXD, on a real server."""

from __future__ import annotations

import asyncio
import gc
import os
import stat
import threading
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any, NoReturn, TypeVar, cast

import pytest

from hotplugd.aio.threads import Threads
from hotplugd.model.entry import is_ours, written
from hotplugd.model.ports import Busy, Gone, Refused, Unreachable
from hotplugd.model.values import Entry, Instance, InstanceName
from hotplugd.server import client
from hotplugd.server.api import Api
from hotplugd.server.client import Lxd
from hotplugd.server.discover import find_server
from hotplugd.server.events import Lifecycle
from tests.support.lab.container import Container
from tests.support.lab.server import Server, software

T = TypeVar("T")

_FOREIGN = {"type": "unix-char", "source": "/dev/zero", "path": "/dev/cam"}


def entry(name: str = "hp-00000000000000aa", **config: str) -> Entry:
    marks = {"user.hotplugd.version": "1", "user.hotplugd.instance": "default/x"}
    plain = {"type": "unix-char", "source": "/dev/null", "path": "/dev/lab", "required": "false"}
    return Entry(name, {**plain, **marks, **config})


def run_told(server: Server, work: Callable[[Lxd], Awaitable[T]]) -> T:
    """The same, with a server that tells what changes."""

    async def told(lxd: Lxd) -> T:
        async with aclosing(lxd.events()) as events:
            assert await anext(events) is None
            return await work(lxd)

    return run(server, told)


def nobody_asks(api: Api, name: InstanceName) -> NoReturn:
    raise AssertionError(f"{name} is known: it is asked for all the same")


def name_of(container: Container) -> InstanceName:
    return InstanceName(container.project, container.name)


def run(server: Server | Path, work: Callable[[Lxd], Awaitable[T]]) -> T:
    """What comes of work with a connected adapter."""

    async def main() -> T:
        address = server.socket if isinstance(server, Server) else server
        lxd = Lxd(str(address), Threads())
        await lxd.connect()
        return await work(lxd)

    return asyncio.run(main())


class TestFindingTheServer:
    def test_the_environment_comes_first(self, tmp_path: Path) -> None:
        for name in ("lxd", "incus"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "unix.socket").touch()
        both = {"LXD_DIR": str(tmp_path / "lxd"), "INCUS_DIR": str(tmp_path / "incus")}
        assert find_server("auto", both) == str(tmp_path / "lxd/unix.socket")
        assert find_server("auto", {"INCUS_DIR": str(tmp_path / "incus")}) == str(
            tmp_path / "incus/unix.socket"
        )

    def test_what_is_named_is_taken(self) -> None:
        assert find_server("/some/socket", {"LXD_DIR": "/elsewhere"}) == "/some/socket"

    def test_where_there_is_none_it_says_where_it_looked(self, tmp_path: Path) -> None:
        with pytest.raises(Unreachable, match=rf"looked for {tmp_path}/unix.socket; install one"):
            find_server("auto", {"LXD_DIR": str(tmp_path)})


def test_connecting_again_closes_the_connections_of_before(server: Server) -> None:
    async def work(lxd: Lxd) -> list[int]:
        opened = []
        for _ in range(5):
            await lxd.connect()
            await lxd.list()
            opened.append(len(os.listdir("/proc/self/fd")))
        return opened

    gc.disable()
    try:
        opened = run(server, work)
    finally:
        gc.enable()
    # Several projects are listed at a time, and each takes a connection.
    assert max(opened) < opened[0] + client._LISTINGS


def test_whoever_stops_listening_leaves_no_stream_open(server: Server) -> None:
    async def work(lxd: Lxd) -> set[asyncio.Task[Any]]:
        async with aclosing(lxd.events()) as events:
            assert await anext(events) is None
        # The tasks that listen hold the connection.
        return asyncio.all_tasks() - {cast("asyncio.Task[Any]", asyncio.current_task())}

    assert run(server, work) == set()


class TestSeeing:
    def test_who_answers(self, server: Server) -> None:
        info = run(server, lambda lxd: lxd.connect())
        assert info.software == software()
        assert info.version == server.api.get("/1.0")["environment"]["server_version"]  # type: ignore[index]
        assert info.member == ""

    def test_instances_of_all_projects_with_all_their_entries(
        self, server: Server, launch: Callable[..., Container]
    ) -> None:
        server.project("seeing")
        runs = launch(devices={"cam": _FOREIGN})
        stopped, used = launch(project="seeing", start=False), launch(project="seeing")
        used.stop()
        found = {each.id: each for each in run(server, lambda lxd: lxd.list())}
        one, two = found[name_of(runs)], found[name_of(stopped)]
        assert (one.running, two.running) == (True, False)
        assert all(each.made for each in (one, two, found[name_of(used)]))
        assert one.entries == {"cam": Entry("cam", _FOREIGN)}
        assert set(one.inherited) == set(two.inherited) == {"root"}
        assert one.here

    def test_one_instance(self, server: Server, container: Container) -> None:
        container.patch({"description": "mine"})
        found = run(server, lambda lxd: lxd.get(name_of(container)))
        assert (found.description, found.kind, found.running) == ("mine", "container", True)

    def test_none_of_that_name(self, server: Server) -> None:
        with pytest.raises(Gone):
            run(server, lambda lxd: lxd.get(InstanceName("default", "nobody")))

    def test_the_init(self, server: Server, container: Container) -> None:
        assert run(server, lambda lxd: lxd.init(name_of(container))) == container.pid
        container.stop()
        with pytest.raises(Gone, match="does not run"):
            run(server, lambda lxd: lxd.init(name_of(container)))


class TestChanging:
    def test_entries_go_in_and_nothing_else_changes(self, server: Server, container: Container) -> None:
        container.patch({"description": "mine", "config": {"user.note": "x"}, "devices": {"cam": _FOREIGN}})
        before = container.config
        made = entry()
        after = run(server, lambda lxd: lxd.apply(name_of(container), [made], []))
        assert after.entries == {"cam": Entry("cam", _FOREIGN), made.name: made}
        assert container.devices == {"cam": _FOREIGN, made.name: written(made)}
        assert container.look("/dev/lab") is not None
        now = container.config
        assert (now["description"], now["profiles"]) == (before["description"], before["profiles"])
        assert container.own_config["user.note"] == "x"

    def test_entries_go_out_and_nothing_else_changes(self, server: Server, container: Container) -> None:
        made, stays = entry(), entry("hp-00000000000000bb", path="/dev/stays")
        run(server, lambda lxd: lxd.apply(name_of(container), [made, stays], []))
        container.patch({"description": "mine", "config": {"user.note": "x"}, "devices": {"cam": _FOREIGN}})
        after = run(server, lambda lxd: lxd.apply(name_of(container), [], [made.name]))
        assert set(after.entries) == set(container.devices) == {"cam", stays.name}
        assert container.config["description"] == "mine"
        assert container.own_config["user.note"] == "x"
        assert container.look("/dev/lab") is None
        assert container.look("/dev/stays") is not None

    def test_what_is_not_ours_is_neither_taken_out_nor_written_over(
        self, server: Server, launch: Callable[..., Container]
    ) -> None:
        unmarked = {**_FOREIGN, "path": "/dev/lab"}
        container = launch(devices={"hp-00000000000000aa": unmarked, "cam": _FOREIGN})
        run(server, lambda lxd: lxd.apply(name_of(container), [], ["hp-00000000000000aa", "cam"]))
        assert container.devices == {"hp-00000000000000aa": unmarked, "cam": _FOREIGN}
        with pytest.raises(Busy, match="somebody else made an entry"):
            run(server, lambda lxd: lxd.apply(name_of(container), [entry()], []))
        assert container.devices["hp-00000000000000aa"] == unmarked

    def test_marks_are_one_key_of_the_servers(self, server: Server, container: Container) -> None:
        made = run(server, lambda lxd: lxd.apply(name_of(container), [entry()], [])).entries[entry().name]
        assert made == entry()
        assert container.devices[made.name].keys() == {"type", "source", "path", "required", "user.hotplugd"}
        assert run(server, lambda lxd: lxd.get(name_of(container))).entries == {made.name: made}

    def test_marks_apart_are_marks_too(self, server: Server, launch: Callable[..., Container]) -> None:
        container = launch(devices={entry().name: dict(entry().config)})
        found = run(server, lambda lxd: lxd.get(name_of(container)))
        assert found.entries == {entry().name: entry()}
        run(server, lambda lxd: lxd.apply(name_of(container), [], [entry().name]))
        assert container.devices == {}

    @pytest.mark.parametrize(
        "marks", ["", "{", "[" * 100_000, "[]", '"version"', '{"version": 1, "instance": {}}']
    )
    def test_broken_marks_are_none(
        self, server: Server, launch: Callable[..., Container], marks: str
    ) -> None:
        broken = {**_FOREIGN, "user.hotplugd": marks}
        container = launch(devices={entry().name: broken})
        other = entry("hp-00000000000000bb", path="/dev/other")
        run(server, lambda lxd: lxd.apply(name_of(container), [other], []))
        after = run(server, lambda lxd: lxd.apply(name_of(container), [], [entry().name, other.name]))
        assert not is_ours(after.entries[entry().name])
        assert container.devices == {entry().name: {key: text for key, text in broken.items() if text}}

    def test_what_is_there_already_asks_for_nothing(self, server: Server, container: Container) -> None:
        run(server, lambda lxd: lxd.apply(name_of(container), [entry()], []))
        before = container.config
        after = run(server, lambda lxd: lxd.apply(name_of(container), [entry()], []))
        assert set(after.entries) == {entry().name}
        assert container.config == before

    def test_who_wants_out_what_went_by_itself_hears_of_it(
        self, server: Server, container: Container
    ) -> None:
        before = container.config
        with pytest.raises(Busy, match="has lost its entry 'hp-00000000000000aa' meanwhile"):
            run(server, lambda lxd: lxd.apply(name_of(container), [], [entry().name]))
        assert container.config == before

    @pytest.mark.parametrize("remove", [False, True], ids=["put", "remove"])
    def test_somebody_who_is_faster_is_not_overruled(
        self, server: Server, container: Container, monkeypatch: pytest.MonkeyPatch, *, remove: bool
    ) -> None:
        made = entry()
        run(server, lambda lxd: lxd.apply(name_of(container), [made], []))
        get: Any = Api.get

        def slow(api: Api, name: InstanceName) -> Any:
            answer = get(api, name)
            container.patch({"config": {"user.note": "faster"}, "devices": {"cam": _FOREIGN}})
            return answer

        monkeypatch.setattr(Api, "get", slow)
        put = [] if remove else [entry("hp-00000000000000bb", path="/dev/other")]
        with pytest.raises(Busy, match="somebody else changed it"):
            run(server, lambda lxd: lxd.apply(name_of(container), put, [made.name] if remove else []))
        assert container.own_config["user.note"] == "faster"
        assert set(container.devices) == {"cam", made.name}

    @pytest.mark.parametrize("remove", [False, True], ids=["put", "remove"])
    def test_what_was_just_read_is_not_asked_for_again(
        self, server: Server, container: Container, monkeypatch: pytest.MonkeyPatch, *, remove: bool
    ) -> None:
        container.patch({"description": "mine", "devices": {"cam": _FOREIGN}})
        made, other = entry(), entry("hp-00000000000000bb", path="/dev/other")

        async def work(lxd: Lxd) -> Instance:
            await lxd.apply(name_of(container), [made], [])
            await lxd.get(name_of(container))
            await lxd.list()
            with monkeypatch.context() as patched:
                patched.setattr(Api, "get", nobody_asks)
                return await lxd.apply(name_of(container), [other], [made.name] if remove else [])

        after = run_told(server, work)
        assert set(after.entries) == {"cam", other.name} | (set() if remove else {made.name})
        assert container.devices == {name: written(each) for name, each in after.entries.items()}
        assert container.config["description"] == "mine"

    def test_what_was_listed_is_not_asked_for_before_something_goes_in(
        self, server: Server, container: Container, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def work(lxd: Lxd) -> None:
            await lxd.list()
            with monkeypatch.context() as patched:
                patched.setattr(Api, "get", nobody_asks)
                await lxd.apply(name_of(container), [entry()], [])

        container.patch({"description": "mine", "devices": {"cam": _FOREIGN}})
        run_told(server, work)
        assert set(container.devices) == {"cam", entry().name}
        assert container.config["description"] == "mine"

    def test_a_listing_that_may_be_older_than_what_was_read_meanwhile_counts_for_nothing(
        self, server: Server, container: Container, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def work(lxd: Lxd) -> None:
            listed = asyncio.create_task(lxd.list())
            await asyncio.to_thread(asked.wait, 20)
            await asyncio.to_thread(container.patch, {"description": "theirs"})
            await lxd.get(name_of(container))
            go_on.set()
            await listed
            await lxd.apply(name_of(container), [entry()], [])

        asked, go_on = threading.Event(), threading.Event()
        instance: Any = Api._instance

        def slow(api: Api, found: Any) -> Any:
            if not asked.is_set():
                asked.set()
                assert go_on.wait(20)
            return instance(api, found)

        container.patch({"description": "mine"})
        monkeypatch.setattr(Api, "_instance", slow)
        run_told(server, work)
        assert container.config["description"] == "theirs"

    def test_one_update_follows_another_without_asking(
        self, server: Server, container: Container, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made, other = entry(), entry("hp-00000000000000bb", path="/dev/other")

        async def work(lxd: Lxd) -> None:
            await lxd.apply(name_of(container), [made], [])
            with monkeypatch.context() as patched:
                patched.setattr(Api, "get", nobody_asks)
                await lxd.apply(name_of(container), [other], [])
            # What goes out goes by PUT, and that needs all of it.
            after = await lxd.apply(name_of(container), [], [made.name])
            assert after.inherited.keys() == {"root"}

        container.patch({"description": "mine"})
        run_told(server, work)
        assert set(container.devices) == {other.name}
        assert container.config["description"] == "mine"

    @pytest.mark.parametrize("remove", [False, True], ids=["put", "remove"])
    def test_what_somebody_changed_since_it_was_read_is_read_again(
        self, server: Server, container: Container, *, remove: bool
    ) -> None:
        made, other = entry(), entry("hp-00000000000000bb", path="/dev/other")

        async def work(lxd: Lxd) -> Instance:
            await lxd.apply(name_of(container), [made], [])
            await lxd.get(name_of(container))
            change = {"description": "theirs", "config": {"user.note": "x"}, "devices": {"cam": _FOREIGN}}
            await asyncio.to_thread(
                container.api.request, "PATCH", f"/1.0/instances/{container.name}", change
            )
            return await lxd.apply(name_of(container), [other], [made.name] if remove else [])

        after = run_told(server, work)
        assert set(after.entries) == {"cam", other.name} | (set() if remove else {made.name})
        assert set(container.devices) == set(after.entries)
        assert container.own_config["user.note"] == "x"
        assert container.config["description"] == "theirs"

    @pytest.mark.parametrize("how", ["listed", "deaf", "never told"])
    def test_a_description_that_may_be_another_by_now_is_read_again(
        self, server: Server, container: Container, how: str
    ) -> None:
        async def work(lxd: Lxd) -> None:
            heard = lxd.events()
            if how != "never told":
                assert await anext(heard) is None
            await lxd.apply(name_of(container), [entry()], [])
            await lxd.get(name_of(container))
            await asyncio.to_thread(container.patch, {"description": "theirs"})
            # Either it is seen to be another, or nobody would tell if it was.
            if how == "listed":
                await lxd.list()
            if how == "deaf":
                await heard.aclose()
            await lxd.apply(name_of(container), [entry("hp-00000000000000bb", path="/dev/other")], [])
            await heard.aclose()

        container.patch({"description": "mine"})
        run(server, work)
        assert container.config["description"] == "theirs"

    def test_the_entry_that_is_to_blame_is_named_and_none_goes_in(
        self, server: Server, container: Container
    ) -> None:
        container.run("sh", "-c", "mkdir /dev/filled && touch /dev/filled/file")
        bad = entry("hp-00000000000000bb", path="/dev/filled")
        with pytest.raises(Refused) as refused:
            run(server, lambda lxd: lxd.apply(name_of(container), [entry(), bad], []))
        assert refused.value.entries == {bad.name}
        assert container.devices == {}
        assert container.look("/dev/lab") is None

    def test_what_a_crash_of_the_server_left_is_cleared_away(
        self, server: Server, container: Container
    ) -> None:
        made, other = entry(), entry("hp-00000000000000bb", path="/dev/other")
        left = server.data / "devices" / container.name / f"unix.{made.name.replace('-', '--')}.dev-lab"
        left.parent.mkdir(parents=True, exist_ok=True)
        os.mknod(left, stat.S_IFCHR | 0o660, os.makedev(1, 3))
        with pytest.raises(Busy, match="left something of an earlier try behind"):
            run(server, lambda lxd: lxd.apply(name_of(container), [made, other], []))
        assert container.devices == {}
        run(server, lambda lxd: lxd.apply(name_of(container), [made, other], []))
        assert set(container.devices) == {made.name, other.name}
        seen = container.look("/dev/lab")
        assert seen is not None
        assert seen.number == "c 1:3"

    def test_what_another_clearing_left_half_done_is_cleared_away(
        self, server: Server, container: Container
    ) -> None:
        folder = server.data / "devices" / container.name
        folder.mkdir(parents=True, exist_ok=True)
        name = entry().name.replace("-", "--")
        for place in ("lab", name):
            os.mknod(folder / f"unix.{name}.dev-{place}", stat.S_IFCHR, os.makedev(0, 0))
        run(server, lambda lxd: lxd.clear(name_of(container), [entry()]))
        assert container.devices == {}
        assert list(folder.iterdir()) == []

    def test_an_instance_that_is_gone(self, server: Server) -> None:
        with pytest.raises(Gone):
            run(server, lambda lxd: lxd.apply(InstanceName("default", "nobody"), [entry()], []))


class TestHearing:
    def test_what_happens_after_the_beginning_is_heard(self, own_server: Server) -> None:
        async def work(lxd: Lxd) -> list[Lifecycle]:
            heard: list[Lifecycle] = []
            async with aclosing(lxd.events()) as events:
                async for happened in events:
                    if happened is None:
                        await asyncio.to_thread(self._live, own_server)
                    else:
                        heard.append(happened)
                        if happened.action == "instance-deleted":
                            break
            return heard

        heard = run(own_server, work)
        old, new = InstanceName("default", "first"), InstanceName("default", "second")
        for action in ("instance-created", "instance-started", "instance-updated", "instance-stopped"):
            assert Lifecycle(action, old) in heard
        assert {each.name for each in heard if each.action == "instance-renamed"} == {old, new}
        assert Lifecycle("profile-updated", None) in heard

    @staticmethod
    def _live(server: Server) -> None:
        container = server.launch("first")
        container.patch({"config": {"user.note": "x"}})
        profile = server.api.get("/1.0/profiles/default")
        server.api.request("PUT", "/1.0/profiles/default", {**profile, "description": "x"})
        container.stop()
        container.rename("second")
        container.delete()

    def test_a_server_that_ends_is_away(self, own_server: Server) -> None:
        async def work(lxd: Lxd) -> None:
            async for happened in lxd.events():
                assert happened is None
                await asyncio.to_thread(own_server.kill)

        with pytest.raises(Unreachable):
            run(own_server, work)

    def test_where_no_server_is(self, tmp_path: Path) -> None:
        with pytest.raises(Unreachable, match="is not running: there is no socket"):
            run(tmp_path / "unix.socket", lambda lxd: lxd.list())


def test_entries_of_ours_are_known_by_name_and_marks() -> None:
    assert is_ours(entry())
    assert not is_ours(entry("hp-short"))
    assert not is_ours(Entry(entry().name, _FOREIGN))
