"""Every problem that can begin has an event when it is over: each kind, as the code has them, is tried."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
import structlog
from structlog.testing import LogCapture

import hotplugd
from hotplugd.aio.threads import Threads
from hotplugd.app.by_hand import ByHand
from hotplugd.app.daemon import Daemon
from hotplugd.app.event_documents import ENDS, MOMENTS, OVER
from hotplugd.app.grants import Allowed
from hotplugd.app.host_problems import HostProblems
from hotplugd.app.in_force import Settings
from hotplugd.app.instance_listing import InstanceListing
from hotplugd.app.leave_alone import LeaveAlone
from hotplugd.app.session import Session
from hotplugd.app.settings import Config
from hotplugd.container.seal_problems import SealProblems, Unsealed
from hotplugd.host.udev import Udev
from hotplugd.host.usb_signs import UsbSigns
from hotplugd.model.ports import Refused, ServerInfo, Unreachable, Untold
from hotplugd.model.problem import Problem
from hotplugd.model.values import Instance
from hotplugd.plan.about import spread
from hotplugd.rulefile.load import parse
from hotplugd.rules.hubs import NO_HUBS
from tests.support.devices import ALL, BOX, all_with, box, console, entry, rule, ruleset
from tests.support.log_events import logged
from tests.support.virtual import at, in_virtual_time, later
from tests.unit.reconcile.bench import Bench, fail, recover
from tests.unit.reconcile.scripted_leases import no_leases

_SOURCES: Final = Path(hotplugd.__file__).parent
_LEVELS: Final = {"warning", "error", "critical", "exception"}
ONE = console(1)
Events = list[Any]


def test_every_kind_of_problem_in_the_code_is_known_to_end_or_to_be_a_moment() -> None:
    told = {name for name, levels in logged(_SOURCES).items() if levels & _LEVELS}
    assert told == {*ENDS, *MOMENTS}
    assert not ENDS.keys() & MOMENTS


class Logged:
    """A log, and what was logged."""

    def __init__(self) -> None:
        self.capture = LogCapture()

        def spreading(_: object, __: str, event: Mapping[str, Any]) -> Mapping[str, Any]:
            return spread(event)

        self.log: Any = structlog.wrap_logger(
            None, [spreading, self.capture], structlog.make_filtering_bound_logger(0)
        )

    @property
    def events(self) -> Events:
        return self.capture.entries


async def _device(_: Path) -> Events:
    bench = Bench()
    fail(bench, Refused("it does not fit"), asking=False)
    await bench.start(ONE)
    recover(bench)
    await at(100)
    return bench.logged.entries


async def _nothing_inside(_: Path) -> Events:
    bench = Bench()

    def unseen(_: object) -> None:
        raise Unreachable("it cannot be looked into")

    bench.glance = unseen
    await bench.start(ONE)
    await at(10)
    bench.glance = lambda _: None
    await at(400)
    bench.reconciler.look_everywhere()
    await at(500)
    return bench.logged.entries


async def _left_behind(_: Path) -> Events:
    bench = Bench()
    await bench.start(ONE)
    await at(10)
    node = bench.inside[BOX][ONE.node]
    bench.applied = lambda request: bench.inside[BOX].update({ONE.node: node}) if request.remove else None
    bench.reconciler.no_device(ONE.syspath)
    await at(20)
    bench.inside[BOX].clear()
    bench.reconciler.look_again(BOX)
    await at(100)
    return bench.logged.entries


async def _untold(_: Path) -> Events:
    def silent(_: object) -> None:
        raise Untold("nobody carries it")

    bench = Bench()
    bench.deaf = silent
    await bench.start(ONE)
    await at(10)
    bench.deaf = lambda _: None
    await at(100)
    return bench.logged.entries


async def _link(_: Path) -> Events:
    def refuse(_: str) -> None:
        raise Refused("no room")

    bench = Bench(rules=ruleset(rule("{subsystem: tty}", "{to: box, link: [/dev/a.b, /dev/c.d]}")))
    bench.unlinked = refuse
    await bench.start(ONE)
    await at(10)
    assert len(bench.events("link.problem")) == 2
    assert {each["identity"] for each in bench.events("link.problem")} == {"serial:A5001"}
    bench.unlinked = lambda _: None
    await at(100)
    return bench.logged.entries


async def _record(_: Path) -> Events:
    def broken(_: object) -> None:
        raise Untold("data in there is no folder")

    bench = Bench(rules=all_with("udev: true"))
    bench.database.judge = broken
    await bench.start(ONE)
    await at(100)
    bench.database.judge = lambda _: None
    await at(200)
    return bench.logged.entries


async def _claim(_: Path) -> Events:
    rules = (
        "pools: {android: {instances: box}}\n"
        "rules: [{name: r, match: {subsystem: tty}, attach: {pool: android}}]"
    )
    asking = replace(box(), claims={"phone": "androd"})
    bench = Bench(asking, rules=parse(rules, "x").rules)
    await bench.start(ONE)
    bench.instances[BOX] = replace(asking, claims={})
    bench.reconciler.refresh(BOX)
    await at(100)
    return bench.logged.entries


async def _quarantine(_: Path) -> Events:
    rules = (
        "pools: {android: {instances: box, flap: {count: 1, within: 60s}}}\n"
        "rules: [{name: r, match: {subsystem: tty}, attach: {pool: android}}]"
    )
    bench = Bench(rules=parse(rules, "x").rules)
    await bench.start(ONE)
    await bench.plug(console(1, born=2))
    await later(100)
    return bench.logged.entries


async def _usb(_: Path) -> Events:
    mine = Logged()
    problems = HostProblems(mine.log)
    for now, count in ((0.0, 0), (15.0, 1), (30.0, 1), (4000.0, 1)):
        await at(now)
        problems.usb(UsbSigns({"1-4": count}), [ONE], NO_HUBS)
    return mine.events


async def _state(folder: Path) -> Events:
    class Here:
        """The disk answers at once."""

        async def call(self, work: Callable[[], object], _: float) -> object:
            return work()

    logged = Logged()
    by_hand = ByHand(logged.log, lambda: None)
    threads: Any = Here()
    by_hand.kept._threads = threads
    path = folder / "state.json"
    path.mkdir()
    await by_hand.load(path, "start")
    path.rmdir()
    await by_hand.load(path, "reload")
    return logged.events


async def _slot(_: Path) -> Events:
    bench = Bench()
    await bench.start(ONE)
    bench.unlinkable.add(ONE.slot)
    bench.reconciler.no_device(ONE.syspath)
    await at(10)
    assert [each for each in bench.told() if "cannot be taken away" in each]
    bench.unlinkable.clear()
    await at(200)
    assert bench.told() == []
    return bench.logged.entries


async def _sealing(_: Path) -> Events:
    logged = Logged()
    mine = HostProblems(logged.log)
    seals = SealProblems(mine.unsealed, mine.seal_over)
    problem = Problem(ONE.node, "x", "it could not be sealed")
    seals.are([Unsealed(problem, BOX, entry(ONE)), Unsealed(Problem("", "", "none can be"))])
    seals.are([Unsealed(problem, BOX, entry(ONE))])
    seals.are([])
    assert logged.events[0]["slot"] == ONE.slot
    assert logged.events[0]["instance"] == "box"
    return logged.events


async def _leave_alone(folder: Path) -> Events:
    logged = Logged()

    class Full:
        """Somebody's disk is full, once."""

        tries = 0

        async def write(self, _: object) -> bool:
            self.tries += 1
            if self.tries == 1:
                raise OSError("No space left on device")
            return True

    threads = Threads()
    alone = LeaveAlone(threads, folder, ALL, list, logged.log)
    full: Any = Full()
    alone._leave = full
    work = asyncio.get_running_loop().create_task(alone.run())
    await later(0.5)
    assert ["No space left" in each.message for each in alone.problems()] == [True]
    await later(10)
    assert alone.problems() == []
    work.cancel()
    threads.close()
    return logged.events


def daemon(folder: Path, logged: Logged) -> Daemon:
    return Daemon(folder / "config.yaml", Settings(Config(), ALL), logged.log)


async def _control(folder: Path) -> Events:
    logged = Logged()
    running = daemon(folder, logged)
    loop = asyncio.get_running_loop()
    for _ in range(100):
        running._refused_client("Too many open files")
    running._refused_clients.tell_over(loop.time())
    assert [each["event"] for each in logged.events] == ["control.problem"]
    await later(30)
    running._refused_clients.tell_over(loop.time())
    return logged.events


async def _allow(folder: Path) -> Events:
    logged = Logged()
    running = daemon(folder, logged)
    for _ in range(2):
        await running._groups.granted([Allowed("there-is-no-such-group", ("read",))])
    assert len(running._problems()) == 1
    # The group may have been made meanwhile: a reload looks, also where the files say the same.
    running._take(running._settings)
    assert running._again.is_set()
    await running._groups.granted([])
    running._again.clear()
    running._take(running._settings)
    assert not running._again.is_set()
    return logged.events


async def _reload(folder: Path) -> Events:
    logged = Logged()
    running = daemon(folder, logged)
    running._refuse("1 error")
    running._take(Settings(Config(), all_with("share: true")))
    return logged.events


class Scripted:
    """A server that fails as often as it is told to."""

    def __init__(self, *answers: Exception | Mapping[str, str] | None) -> None:
        self.answers = list(answers)
        self.answered = asyncio.Event()
        self.unlisted: Mapping[str, str] = {}
        self.crowd: dict[str, int] = {}

    async def list(self, _: object = ()) -> Sequence[Instance]:
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        self.unlisted = answer or {}
        return []

    def waiting(self) -> Mapping[str, int]:
        return self.crowd

    async def connect(self) -> ServerInfo:
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        return ServerInfo("/x", "lxd", "5", "")

    async def events(self) -> Any:
        yield None
        await asyncio.Event().wait()

    def close(self) -> None: ...


async def _unlisted(_: Path) -> Events:
    logged = Logged()
    bench = Bench()
    server: Any = Scripted({"lab": "too many"}, {}, Unreachable("no answer"))
    listing = InstanceListing(server, bench.reconciler, logged.log)
    await listing.list_now()
    await listing.list_now()
    server.crowd["lab"] = 1000
    listing.tell_crowded()
    server.crowd.clear()
    listing.tell_crowded()
    work = asyncio.get_running_loop().create_task(listing.run())
    listing.soon()
    await later(100)
    work.cancel()
    assert len([each for each in logged.events if each["event"] == "server.problem"]) == 2
    return logged.events


async def _away(folder: Path) -> Events:
    logged = Logged()
    session = Session(str(folder / "unix.socket"), ruleset(), logged.log, Config(), no_leases())
    server: Any = Scripted(Unreachable("no answer"), None)
    session._lxd = session._listing._server = server
    work = asyncio.get_running_loop().create_task(session._listen())
    await later(20)
    work.cancel()
    session.reconciler.close()
    return logged.events


async def _open_still(_: Path) -> Events:
    loaded = parse(
        "pools: {lab: {instances: '*'}}\nrules: [{name: r, match: {subsystem: '*'}, attach: {pool: lab}}]",
        "x",
    )
    has = replace(box(), claims={"it": "lab"})
    bench = Bench(has, rules=loaded.rules)
    bench.revoker.open[ONE.kernel] = "it is open"
    await bench.start(ONE)
    bench.change(has.id, claims={"it": "none"})
    bench.reconciler.refresh(has.id)
    await later(10)
    assert len(bench.reconciler.problems()) == 1
    bench.revoker.open.clear()
    await later(20)
    assert bench.reconciler.problems() == []
    return bench.logged.entries


async def _udev(folder: Path) -> Events:
    logged = Logged()
    mine, sink = HostProblems(logged.log), Bench().reconciler
    udev = Udev(frozenset(), sink, lambda _: None, mine.udev)
    udev._backlog.add(str(folder))
    await later(10)
    assert [each["event"] for each in logged.events] == ["udev.problem"]
    assert len(list(udev.faults())) == 1
    udev._backlog.done(str(folder))
    assert list(udev.faults()) == []
    mine.udev("", "udevd is not running")
    mine.udev("", "")
    return logged.events


TRIED: Final[Mapping[str, Callable[[Path], Awaitable[Events]]]] = {
    "device.problem": _device,
    "device.left-behind": _left_behind,
    "device.untold": _untold,
    "instance.problem": _nothing_inside,
    "link.problem": _link,
    "slot.problem": _slot,
    "node.unsealed": _sealing,
    "seal.problem": _sealing,
    "udev-record.problem": _record,
    "state.problem": _state,
    "claim.problem": _claim,
    "health.problem": _quarantine,
    "usb.problem": _usb,
    "lease.problem": _open_still,
    "leave-alone.problem": _leave_alone,
    "control.problem": _control,
    "allow.problem": _allow,
    "server.unlisted": _unlisted,
    "server.problem": _unlisted,
    "udev.problem": _udev,
    "server.away": _away,
    "reload.failed": _reload,
}


@pytest.mark.parametrize("kind", ENDS)
def test_each_kind_begins_and_ends_once(kind: str, tmp_path: Path) -> None:
    @in_virtual_time
    async def test() -> None:
        events = await TRIED[kind](tmp_path)
        begun = [each for each in events if each["event"] == kind]
        assert begun
        assert is_over(events) == []
        for each in begun:
            after = events[events.index(each) + 1 :]
            ended = [other["event"] for other in after if is_end(each, other)]
            assert len(ended) == 1, (each, ended)
            assert ended[0] in ENDS[kind]

    test()


def is_over(events: Events) -> Events:
    """The problems that have begun, and of which nothing said that they are over."""
    begun = [(place, each) for place, each in enumerate(events) if each["event"] in ENDS]
    return [each for place, each in begun if not any(is_end(each, other) for other in events[place + 1 :])]


def is_end(begun: Any, event: Any) -> bool:
    """Whether an event tells that a problem is over."""
    if event["event"] == OVER:
        keys = ("device", "instance", "path", "reason")
        return all(begun.get(key) == event.get(key) for key in keys)
    ends = ENDS[begun["event"]]
    return event["event"] in ends and not (begun["event"] == "udev.problem" and begun["device"])
