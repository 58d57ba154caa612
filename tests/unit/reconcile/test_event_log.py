"""What a worker logs of the devices that it speaks of."""

from __future__ import annotations

import structlog
from structlog.testing import capture_logs

from hotplugd.plan.about import HUBS, spread
from hotplugd.plan.change import Change
from hotplugd.plan.desired import wants
from hotplugd.reconcile.event_log import EventLog
from hotplugd.reconcile.inventory import Inventory
from hotplugd.rulefile.load import parse
from tests.support.devices import BOX, console, entry, plugged
from tests.support.usb_tree import CONTROLLER, Sockets


def logged(socket: str) -> dict[str, object]:
    """The event of a device in this socket that was attached."""
    loaded = parse(
        f"hubs: {{shelf: {{path: '{CONTROLLER}-usb-0:3', ports: {{door: 2}}}}}}\n"
        "rules: [{name: r, match: {any: [{location: shelf/door}, {kernel: '*'}]}, attach: {to: box}}]\n",
        "x",
    )
    device = plugged(Sockets().plug(socket), 189, 1)
    (want,) = wants(loaded.rules, device).wants
    with capture_logs() as events:
        log = structlog.get_logger().bind(**{HUBS: lambda: loaded.rules.hubs})
        EventLog(BOX, log, Inventory()).done(
            Change("add", BOX, entry(device), str(device), "r", "it is not attached", want), None
        )
    (event,) = events
    return spread(event)


def test_the_location_is_in_it_where_there_is_one() -> None:
    assert logged("3.2")["location"] == "shelf/door"
    assert "location" not in logged("3.1")


def test_causes_are_bounded_while_nothing_is_planned() -> None:
    log = EventLog(BOX, structlog.get_logger(), Inventory()).attachments
    for number in range(10_000):
        log.because([f"c-189-1-1a2b3c4d-{number}"], "plug")
    assert len(log._causes) <= 4096
    assert "c-189-1-1a2b3c4d-9999" in log._causes


def test_a_dry_run_tells_of_each_change_once_and_remembers_no_older_ones() -> None:
    log = EventLog(BOX, structlog.get_logger(), Inventory())
    with capture_logs() as events:
        for born in range(1000):
            device = console(1, born=born)
            change = Change("add", BOX, entry(device), str(device), "r", "it is not attached")
            for _ in range(2):
                log.would([change])
    assert len(events) == 1000
    assert len(log._would) == 1
