"""How much sooner a phone is inside without udevd: beside one that does, and a bare listener."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median

import pyudev

from tests.conftest import StartDaemon
from tests.support.lab.api import Api
from tests.support.lab.container import Container
from tests.support.lab.udevd import settle
from tests.support.lab.wait import eventually
from tests.support.phones import Hub, Phone
from tests.support.phones.containers import DEADLINE, leaves, node_of

Launch = Callable[..., Container]

RULES = """
rules:
  - {name: early, match: {serial: R5C1}, attach: {to: c1, mode: "0660"}}
  - {name: late, match: {serial: R5C2, property: {ID_MODEL: "*"}}, attach: {to: c2, mode: "0660"}}
"""
ROUNDS = 8
# Seconds between two looks, which is what the figures are exact to.
PAUSE = 0.002
RESULT = Path("/results/early.txt")


@dataclass
class Listener:
    """When the kernel and udevd announced what was plugged in last, by the monotonic clock.

    floor  called with the device once udevd has announced it
    """

    floor: Callable[[pyudev.Device], None]
    heard: dict[str, float] = field(default_factory=dict)
    ended: threading.Event = field(default_factory=threading.Event)

    def listen(self, source: str) -> None:
        monitor = pyudev.Monitor.from_netlink(pyudev.Context(), source)
        monitor.filter_by("usb", "usb_device")
        monitor.start()
        while not self.ended.is_set():
            device = monitor.poll(0.2)
            if device is not None and device.action == "add":
                self.heard[source] = time.monotonic()
                if source == "udev":
                    self.floor(device)


@contextmanager
def listening(floor: Callable[[pyudev.Device], None]) -> Iterator[Listener]:
    one = Listener(floor)
    threads = [threading.Thread(target=partial(one.listen, source)) for source in ("kernel", "udev")]
    for each in threads:
        each.start()
    yield one
    one.ended.set()
    for each in threads:
        each.join()


def once(hub: Hub, phone: Phone, home: Container, listener: Listener) -> tuple[float, float]:
    """Milliseconds from the kernel's event to udevd's, and to the node inside."""
    listener.heard.clear()
    port = hub.plug(phone)
    node = node_of(port)
    eventually(lambda: home.look(node), DEADLINE, pause=PAUSE)
    inside = time.monotonic()
    eventually(lambda: len(listener.heard) == 2, DEADLINE)
    start = listener.heard["kernel"]
    settle()
    hub.unplug(phone)
    leaves(home, node)
    settle()
    return (listener.heard["udev"] - start) * 1000, (inside - start) * 1000


def test_it_is_inside_sooner_by_at_least_half_of_what_udevd_takes(
    hub: Hub, launch: Launch, daemon: StartDaemon
) -> None:
    homes = {"early": launch("c1"), "late": launch("c2"), "floor": launch("c3")}
    api: Api = homes["floor"].api

    def floor(device: pyudev.Device) -> None:
        if device.properties.get("ID_SERIAL_SHORT") == "R5C3":
            node = {"type": "unix-char", "source": device.device_node, "path": device.device_node}
            entry = {**node, "mode": "0660", "required": "false"}
            api.request("PATCH", "/1.0/instances/c3", {"devices": {"phone": entry}})

    daemon(RULES)
    phones = {"early": Phone("R5C1"), "late": Phone("R5C2"), "floor": Phone("R5C3")}
    times: dict[str, list[tuple[float, float]]] = {who: [] for who in phones}
    with listening(floor) as listener:
        for _ in range(ROUNDS):
            for who, phone in phones.items():
                times[who].append(once(hub, phone, homes[who], listener))
    udevd = median(first for each in times.values() for first, _ in each)
    inside = {who: median(second for _, second in each) for who, each in times.items()}
    text = f"udevd {udevd:.1f} ms; inside: " + ", ".join(f"{who} {ms:.1f} ms" for who, ms in inside.items())
    RESULT.write_text(f"{text}\n{times}\n")
    assert inside["early"] <= inside["floor"] - udevd / 2, text
