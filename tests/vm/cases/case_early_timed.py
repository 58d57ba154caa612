"""How much sooner a phone is inside that does not wait for udevd: beside one that does, and others."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import pytest
import pyudev

from benchmarks.interval import interval, told
from benchmarks.watch import Watch
from tests.conftest import StartDaemon
from tests.support.lab.container import Container
from tests.support.lab.script import Script
from tests.support.lab.server import Server
from tests.support.lab.udevd import settle
from tests.support.phones import Hub, Phone
from tests.support.phones.containers import DEADLINE

Launch = Callable[..., Container]

RULES = """
pools: {android: {instances: pooled, keep: 60s, per_instance: 1}}
rules:
  - {name: early, match: {serial: R5C1}, attach: {to: early, mode: "0660"}}
  - {name: pooled, match: {serial: R5C2}, attach: {pool: android, mode: "0660"}}
  - {name: late, match: {serial: R5C3, property: {ID_MODEL: "*"}}, attach: {to: late, mode: "0660"}}
"""
# LXD finds a phone by its numbers alone.
ALONE = 0x4EE9
PHONES = {
    "early": Phone("R5C1"),
    "pooled": Phone("R5C2"),
    "late": Phone("R5C3"),
    "floor": Phone("R5C4"),
    "alone": Phone("R5C5", product_id=ALONE),
}
STATIC = {"type": "usb", "vendorid": "18d1", "productid": f"{ALONE:04x}", "required": "false"}
ROUNDS = 8
RESULT = Path("/results/figures.txt")


@dataclass
class Heard:
    """An event about a phone. at: by the monotonic clock, in seconds"""

    at: float
    node: str
    number: str


@dataclass
class Listener:
    """What the kernel and udevd announced of what was plugged in last.

    plugged  set once the kernel has
    """

    heard: dict[str, Heard] = field(default_factory=dict)
    plugged: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)

    def listen(self, source: str) -> None:
        monitor = pyudev.Monitor.from_netlink(pyudev.Context(), source)
        monitor.filter_by("usb", "usb_device")
        monitor.start()
        while not self.ended.is_set():
            device = monitor.poll(0.2)
            at = time.monotonic()
            if device is not None and device.action == "add":
                number = device.properties["MAJOR"], device.properties["MINOR"]
                self.heard[source] = Heard(at, str(device.device_node), f"c {':'.join(number)}")
                if source == "kernel":
                    self.plugged.set()


@contextmanager
def listening() -> Iterator[Listener]:
    one = Listener()
    threads = [threading.Thread(target=one.listen, args=(source,)) for source in ("kernel", "udev")]
    for each in threads:
        each.start()
    yield one
    one.ended.set()
    for each in threads:
        each.join()


@dataclass
class Times:
    """Milliseconds from the kernel's event: until udevd's, and until the node is inside."""

    udevd: list[float] = field(default_factory=list)
    inside: list[float] = field(default_factory=list)


def once(hub: Hub, phone: Phone, home: Container, watch: Watch, listener: Listener, times: Times) -> None:
    listener.heard.clear()
    listener.plugged.clear()
    hub.plug(phone)
    assert listener.plugged.wait(DEADLINE)
    one = listener.heard["kernel"]
    left = watch.until({one.node: home}, {one.node: one.number}, DEADLINE)
    inside = time.monotonic()
    assert not left, f"expected {one.node} in {home}"
    settle()
    times.udevd.append((listener.heard["udev"].at - one.at) * 1000)
    times.inside.append((inside - one.at) * 1000)
    hub.unplug(phone)
    assert not watch.until({one.node: home}, {}, DEADLINE), f"expected {one.node} out of {home}"
    settle()


@pytest.mark.timeout(1200)
def test_it_is_inside_sooner_by_at_least_half_of_what_udevd_takes(
    hub: Hub, server: Server, launch: Launch, daemon: StartDaemon
) -> None:
    homes = {who: launch(who) for who in PHONES}
    homes["alone"].patch({"devices": {"phone": STATIC}})
    times = {who: Times() for who in PHONES}
    daemon(RULES)
    with ExitStack() as undo:
        undo.enter_context(Script(server.socket, {"R5C4": "floor"}, name="floor"))
        watches = {who: undo.enter_context(Watch([home])) for who, home in homes.items()}
        listener = undo.enter_context(listening())
        for _ in range(ROUNDS):
            for who in random.sample(list(PHONES), len(PHONES)):
                once(hub, PHONES[who], homes[who], watches[who], listener, times[who])
    udevd = median(each for one in times.values() for each in one.udevd)
    floor = times["floor"].inside
    split = [each - heard for each, heard in zip(floor, times["floor"].udevd, strict=True)]
    lines = [
        f"udevd takes {udevd:.1f} ms, median of {ROUNDS * len(PHONES)}",
        f"the floor's split: udevd {median(times['floor'].udevd):.1f} ms, then {median(split):.1f} ms",
    ]
    for who, one in times.items():
        below = interval(lambda ours, others: median(others) - median(ours), one.inside, floor)
        of = interval(lambda ours, others: median(ours) / median(others), one.inside, times["alone"].inside)
        gain = median(floor) - median(one.inside)
        lines.append(
            f"{who}: {median(one.inside):.1f} ms; below the floor by {gain:.1f} ms"
            f" ({told(below)}); of LXD alone {median(one.inside) / median(times['alone'].inside):.2f}"
            f" ({told(of)})"
        )
    text = "\n".join(lines)
    RESULT.write_text(f"{text}\n{times}\n")
    for who in ("early", "pooled"):
        assert median(times[who].inside) <= median(floor) - udevd / 2, text
