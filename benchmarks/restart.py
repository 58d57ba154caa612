"""A start with everything in its place already: nothing is written to the server."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Final, cast

from benchmarks.figure import Figure
from benchmarks.relay import Relay
from tests.support.lab.daemon import Daemon
from tests.support.lab.server import Server
from tests.support.lab.usb import Phone, Usb
from tests.support.lab.wait import eventually

_CONTAINERS: Final = 4


def figures(devices: int = 40, rest: float = 5.0) -> list[Figure]:
    """The requests of a daemon that starts again."""
    with ExitStack() as undo:
        server = undo.enter_context(Server())
        usb = undo.enter_context(Usb())
        relay = undo.enter_context(Relay(server.folder / "relay", server.socket))
        names = [server.launch().name for _ in range(_CONTAINERS)]
        for number in range(devices):
            usb.plug(Phone(serial=f"R5C{number}"), str(number + 1))
        rules = "rules:\n" + "".join(
            f"  - {{name: r{number}, match: {{serial: R5C{number}}}, "
            f"attach: {{to: {names[number % _CONTAINERS]}}}}}\n"
            for number in range(devices)
        )
        daemon = undo.enter_context(Daemon(relay.path, rules, usb.environment))
        eventually(lambda: _verified(daemon) == devices, 60)
        daemon.stop()
        before = relay.requests()
        assert _writes(before) >= _CONTAINERS, "a relay that sees no writes proves nothing"
        daemon.start()
        eventually(lambda: _verified(daemon) == devices, 60)
        time.sleep(rest)  # long enough for what would be written late
        asked = relay.requests() - before
    return [
        Figure(
            "start with everything in place", "", "≤", 0, _writes(asked), "writes to the server",
            f"{asked['GET']} reads; {devices} devices in {_CONTAINERS} containers",
        )
    ]  # fmt: skip


def _writes(asked: dict[str, int]) -> int:
    return sum(number for method, number in asked.items() if method != "GET")


def _verified(daemon: Daemon) -> int:
    attachments = cast("list[dict[str, object]]", daemon.status()["attachments"])
    return sum(each["verified"] is True for each in attachments)
