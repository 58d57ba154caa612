"""One device at a time beside many instances that are stopped, against the same without them."""

from __future__ import annotations

from contextlib import ExitStack
from statistics import median
from typing import Final

from benchmarks.figure import Figure
from benchmarks.live import compare
from tests.support.lab.server import Server
from tests.support.lab.udevd import udevd

_ROUNDS: Final = 60
_MANY: Final = 200
# Hotplugd's own part: what the server takes longer for among many is the floor's, too.
_LIMIT: Final = 1.1


def figures() -> list[Figure]:
    """How much longer a plug takes with many instances than with a few."""
    with udevd(), Server() as server, ExitStack() as undo:
        few = compare(server, _ROUNDS)
        for number in range(_MANY):
            url = f"/1.0/instances/idle-{number}"
            server.api.request(
                "POST", "/1.0/instances", {"name": f"idle-{number}", "source": {"type": "none"}}
            )
            undo.callback(server.api.request, "DELETE", url)
        many = compare(server, _ROUNDS)
    ours, alone = median(many["hotplugd"].add), median(few["hotplugd"].add)
    floor, floor_alone = median(many["floor"].add), median(few["floor"].add)
    measure, told = (
        "plug to node inside, beside 200 stopped instances",
        f"{ours:.1f} ms against {alone:.1f} ms",
    )
    servers = f"hotplugd {ours / alone:.2f} times, the floor {floor / floor_alone:.2f} times"
    return [
        Figure(measure, "the same beside none", "≤", 1.25, ours / alone, absolute=told),
        Figure(
            f"{measure}: what is not the server's", "what the floor takes longer", "≤", _LIMIT,
            (ours / alone) / (floor / floor_alone), absolute=servers,
        ),
    ]  # fmt: skip
