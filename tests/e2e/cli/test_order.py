"""Every command lists instances and ports as people count: c2 before c10, 1-1.2 before 1-1.10."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import cast

import pytest

from tests.conftest import StartDaemon
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.usb import Phone, Usb
from tests.support.lab.wait import eventually

# In the order of plugging: the nodes' numbers are not in the order of the ports.
_PORTS = (10, 2, 1)
_HUB = Phone("1d6b", "0002", interfaces=("09:00:00",), device_class="09")


@pytest.fixture
def farm(launch: Callable[..., Container], usb: Usb, daemon: StartDaemon) -> Daemon:
    """In each container, and for one that is missing, and for no rule, a phone of each hub's port."""
    for name in ("c10", "c2"):
        launch(name)
    usb.lead_out(f"usb{usb.bus}", 4)
    for hub in range(1, 5):
        usb.plug(_HUB, str(hub))
        usb.lead_out(f"{usb.bus}-{hub}", 12)
        for number in _PORTS:
            plugged = usb.plug(Phone(serial=f"H{hub}P{number}"), f"{hub}.{number}")
            usb.in_port(plugged, f"{usb.bus}-{hub}-port{number}")
    rules = [
        f"  - {{name: r{hub}, match: {{serial: 'H{hub}*'}}, attach: {{to: {to}}}}}\n"
        for hub, to in ((1, "c10"), (2, "c2"), (3, "lost"))
    ]
    running = daemon("rules:\n" + "".join(rules), usb.environment)
    eventually(lambda: attached(running) == 6)
    return running


def attached(running: Daemon) -> int:
    return len(cast("list[object]", running.status()["attachments"]))


def serials(text: str) -> list[str]:
    """In the order in which they are shown."""
    return list(dict.fromkeys(re.findall(r"H[1-4]P[0-9]+", text)))


def of(*hubs: int) -> list[str]:
    return [f"H{hub}P{number}" for hub in hubs for number in sorted(_PORTS)]


def test_every_command_lists_as_people_count(farm: Daemon, usb: Usb) -> None:
    status = farm.ask("status").stdout
    assert serials(status) == [*of(3), *of(2, 1)]
    assert serials(farm.ask("status", "--problems").stdout) == [*of(3), *of(4)]
    assert serials(farm.ask("status", "--unmatched").stdout) == of(4)
    document = json.loads(farm.ask("status", "--json").stdout)
    assert [each["serial"] for each in document["attachments"]] == of(2, 1)
    assert [each["serial"] for each in document["problems"]] == of(3)
    assert [each["serial"] for each in document["unmatched"]] == of(4)
    assert serials(farm.ask("devices").stdout) == of(1, 2, 3, 4)
    assert [
        each["serial"] for each in json.loads(farm.ask("devices", "--json").stdout) if "serial" in each
    ] == of(1, 2, 3, 4)
    assert serials(farm.ask("topology").stdout) == of(1, 2, 3, 4)
    # As if the daemon had them yet to move.
    farm.write_rules("rules:\n  - {name: all, match: {serial: 'H[124]*'}, attach: {to: [c10, c2]}}\n")
    plan = [line.split() for line in farm.ask("plan").stdout.splitlines() if line.startswith("add")]
    moves = [(instance, serial) for _, instance, _, serial, *_ in plan]
    assert moves == [("c2", each) for each in of(1, 4)] + [("c10", each) for each in of(2, 4)]
    farm.reload()
    eventually(lambda: attached(farm) == 18)
    assert re.search(r"H1P1, in c2 and c10,", farm.ask("topology").stdout)
    (explained,) = {
        tuple(
            each["instance"] for each in json.loads(farm.ask("explain", name, "--json").stdout)["attachments"]
        )
        for name in of(1)
    }
    assert explained == ("c2", "c10")
    assert "H1P1" in farm.ask("devices", "--instance", "c2").stdout
    taken = farm.ask("detach", "H1P1").stdout
    assert "taken out of c2, c10," in taken


def test_the_drawing_has_what_somebody_put_there(farm: Daemon) -> None:
    assert farm.ask("attach", "H4P1", "c2").returncode == 0
    assert re.search(r"serial H4P1, in c2,", farm.ask("topology").stdout)
    assert farm.ask("detach", "H1P1").returncode == 0
    assert re.search(r"serial H1P1, /dev", farm.ask("topology").stdout)
