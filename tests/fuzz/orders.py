"""What is asked on the control socket: orders and questions with any words, and cursors of events."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

from hotplugd.app import status_answers
from hotplugd.app.by_hand import ByHand
from hotplugd.app.control_request import ControlRequest, Forbidden, Unavailable
from hotplugd.app.device_answers import DeviceAnswers
from hotplugd.app.event_buffer import END, EventBuffer, Moment
from hotplugd.app.grants import ROOT, Allowed, Grant
from hotplugd.app.history import in_order, parse_page
from hotplugd.app.lease_orders import LeaseOrders
from hotplugd.app.peer import Peer
from hotplugd.app.usb_orders import UsbOrders
from hotplugd.rulefile.load import parse
from hotplugd.rules.pattern import Pattern
from tests.fuzz import holds
from tests.fuzz.feed import HOSTILE, Feed
from tests.fuzz.sockets import folder
from tests.support.devices import phone
from tests.support.virtual import in_virtual_time
from tests.unit.reconcile.bench import Bench
from tests.unit.reconcile.test_leases import job, once_each

_RULES: Final = parse(
    """\
hubs: {shelf-1: {path: pci-0000:00:14.0-usb-0:1, ports: {a: "1", b: "2"}}}
pools: {android: {instances: 'job-*', keep: 10m}}
rules: [{name: phones, match: {vendor_id: '18d1'}, attach: {pool: android}}]
""",
    "fuzz.yaml",
).rules
_FARM: Final = Grant(
    (Allowed("farm", ("attach", "detach", "undo", "lease", "cordon"), (Pattern.of("job-1"),)),)
)
_WORDS: Final = (
    "R5C001", "R5C002", "serial:R5C001", "1-1", "shelf-1/a", "shelf-1/*", "job-1", "job-2", "default/job-1",
    "/dev/bus/usb/001/001", "/sys/devices/1-1", "default", "no such", "on", "off", "cycle", "farm", "android",
)  # fmt: skip
_KEYS: Final = ("device", "real", "project", "instance", "all", "reason", "yes", "port", "switch")


class _Here:
    """The disk answers at once."""

    async def call(self, work: Callable[[], object], _: float = 0.0) -> object:
        return work()


class _Usb:
    """No device is touched."""

    async def reset(self, _: object) -> str:
        return ""

    async def switch(self, *_: object) -> str:
        return "it did not"


def orders(data: bytes) -> None:
    """Any words in any order or question, from root or from a group: an answer that can be shown, a refusal,
    or a ValueError for the client; and the state file is such that it can be read again.
    """
    _on_a_farm(Feed(data))


@in_virtual_time
async def _on_a_farm(feed: Feed) -> None:
    # The first has both phones, so that the second, which lacks one, may be given one.
    bench = Bench(job(1, "android count=2"), job(2), rules=_RULES)
    bench.applied = lambda _: once_each(bench)
    session: Any = SimpleNamespace(
        reconciler=bench.reconciler, rules=_RULES, set_overrides=bench.reconciler.set_overrides,
        connected=True, instance=bench.get, held=list, problems=list,
        host=SimpleNamespace(usb=_Usb(), in_use=bench.in_use),
    )  # fmt: skip
    log, here = bench.reconciler._ports.log, _Here()
    by_hand = ByHand(log, lambda: session)
    devices = DeviceAnswers(lambda: session, lambda: by_hand.kept.state.overrides)
    usb = UsbOrders(log, lambda: session)
    threads: Any = here
    by_hand._threads = by_hand.kept._threads = devices._threads = usb._threads = threads
    leases = LeaseOrders(log, lambda: session, by_hand)
    path = _state_file()
    path.unlink(missing_ok=True)
    await by_hand.load(path, "start")
    await bench.start(phone(1), phone(2))
    handlers = {**by_hand.handlers, **leases.handlers, **devices.handlers, **usb.handlers}
    last = ""
    for _ in range(1 + feed.byte() % 6):
        if feed.chance(8):
            bench.reconciler.no_device(phone(1 + feed.byte() % 2).syspath)
            await bench.reconciler.settled()
        endpoint = feed.pick(sorted(handlers, key=lambda each: each.name))
        peer, grant = feed.pick(((Peer(1, 0), ROOT), (Peer(1, 1000), _FARM), (Peer(1, 1001), Grant(()))))
        leased, query = _leased(bench, "job-2"), {_key(feed): _word(feed) for _ in range(feed.byte() % 4)}
        try:
            body, last = _body(feed, last)
            found: Any = handlers[endpoint](ControlRequest(peer, grant, query, body))
            document = await found
        except (Forbidden, Unavailable, ValueError) as error:
            holds.can_be_shown(str(error))
            continue
        # What is another's stays another's; it may get what somebody gives back.
        assert grant is ROOT or leased <= _leased(bench, "job-2")
        told = json.loads(document) if isinstance(document, str) else document
        json.dumps(told)
        if "message" in told:
            holds.can_be_shown(str(told["message"]), *map(str, told.get("more", ())))
    await bench.reconciler.settled()
    kept = by_hand.kept.state
    await by_hand.load(path, "reload")
    assert by_hand.kept.state == kept
    for each in bench.reconciler.assignments.leases.leasing.allocation.leases.values():
        assert each.instance.name in ("job-1", "job-2")


def _leased(bench: Bench, name: str) -> set[str]:
    """The devices that an instance has leased."""
    leases = bench.reconciler.assignments.leases.leasing.allocation.leases
    return {key for key, lease in leases.items() if lease.instance.name == name}


def _key(feed: Feed) -> str:
    return feed.text() if feed.chance(16) else feed.pick(_KEYS)


def _word(feed: Feed) -> str:
    if feed.chance(64):
        return feed.pick(HOSTILE) * 5000
    return feed.text() if feed.chance(4) else feed.pick(_WORDS)


def _body(feed: Feed, last: str) -> tuple[str, str]:
    """What is sent, and the device that it names. last: the one before, which is often named again."""
    kind = feed.byte() % 16
    if kind == 0:
        return feed.text(), last
    if kind == 1:
        return "[" * 5000, last
    device = last if last and feed.chance() else _word(feed)
    words: dict[str, object] = {"device": device, "instance": feed.pick(_WORDS), "yes": feed.chance()}
    if feed.chance():
        # All that orders ask for, as it has to be.
        words |= {"project": "default", "instance": feed.pick(("job-1", "job-2")), "reason": "dusty"}
        words |= {"port": "shelf-1/a", "switch": feed.pick(("on", "off", "cycle"))} if feed.chance(4) else {}
        words |= {"all": True} if feed.chance(8) else {}
        return json.dumps(words), device
    words |= {_key(feed): feed.json(2) if feed.chance(6) else _word(feed) for _ in range(feed.byte() % 5)}
    return json.dumps(words), device


@cache
def _state_file() -> Path:
    path = Path(folder(), "orders")
    shutil.rmtree(path, ignore_errors=True)
    return path / "state.json"


# --- events -------------------------------------------------------------------------------------------------

_CURSORS: Final = (
    "", END, "0123abcd-0", "0123abcd-1", "0123abcd-99999999999999999999", "0123abce-1", "0123ABCD-1",
    "0123abcd-\u0661", "0123abcd--1", "0123abcd-1\n",
)  # fmt: skip
_WAITS: Final = (
    "",
    "0",
    "0.001",
    "-1",
    "nan",
    "inf",
    "-inf",
    "1e400",
    "1e-400",
    "0x1",
    "1_0",
    "\u0661",
    "61",
)


def cursors(data: bytes) -> None:
    """Any cursor and any time to wait, after events that say anything: every event once and in order, or an
    error; also after some are not kept any more.
    """
    _follow(Feed(data))


@in_virtual_time
async def _follow(feed: Feed) -> None:
    kept = EventBuffer("0123abcd", most=feed.pick((1, 3, 20, 2000)), most_bytes=feed.pick((1, 300, 1 << 20)))
    told = [
        kept.keep(
            Moment(feed.number(1 << 40), feed.number(1 << 40)), {"event": "x", feed.text(): feed.json(1)}
        )[0]
        for _ in range(feed.pick((0, 1, 2, 7, 1200 if feed.chance(64) else 3)))
    ]
    cursor = feed.pick((*_CURSORS, feed.text(), *(str(each["cursor"]) for each in told[:3])))
    asked = ControlRequest(Peer(1, 0), ROOT, {"after": cursor, "wait": feed.pick((*_WAITS, feed.text()))}, "")
    try:
        page = json.loads(await status_answers.events(kept, asked))
        lines = status_answers.event_lines(kept, asked)
    except ValueError as error:
        holds.can_be_shown(str(error))
        return
    events, _ = parse_page(page)
    assert len(events) <= len(told)
    names, got = [str(each["cursor"]) for each in told], [str(each["cursor"]) for each in events]
    assert [str(each["cursor"]) for each in in_order(events)] == got
    # The pages together have each event that is kept, once.
    every, place = list[str](), ""
    for _ in range(1 + len(told)):
        part = kept.page(place)
        every += (json.loads(each)["cursor"] for each in part.events)
        place = part.cursor
        if not part.more:
            break
    assert every == names[len(names) - len(every) :]
    assert every or not names
    if cursor in every:
        assert got == every[every.index(cursor) + 1 :][: len(got)]
        assert got or cursor == every[-1]
    assert cursor != END or not got
    first = await asyncio.wait_for(anext(lines), 20)
    assert "\n" not in first
    # Whoever listens hears of what comes next, or that something is not kept any more.
    later = str(kept.keep(Moment(0, 0), {"event": "y"})[0]["cursor"])
    kept.tell()
    async with asyncio.timeout(1000):
        async for line in lines:
            assert "\n" not in line
            if line and (later in line or "events.lost" in line):
                break
    await lines.aclose()  # type: ignore[attr-defined]
