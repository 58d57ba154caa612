"""A hub that switches a port off for drawing too much power, as a daemon hears of it."""

from __future__ import annotations

from typing import cast

from hotplugd.reconcile.hold_off import CALM
from tests.conftest import StartDaemon
from tests.support.lab.usb import Phone, Usb
from tests.support.lab.wait import eventually

_RULES = """
rules:
  - {name: phones, match: {interface: "ff:42:01"}, attach: {to: nobody}}
"""
_HUB = Phone("1d6b", "0002", interfaces=("09:00:00",), device_class="09")


def test_over_current_is_a_problem_at_once(usb: Usb, daemon: StartDaemon) -> None:
    hub = usb.plug(_HUB, "1").port
    usb.lead_out(hub, 4)
    usb.over_current(hub, 2, 5)
    running = daemon(_RULES, usb.environment)

    def problems() -> list[str]:
        found = cast("list[dict[str, str]]", running.status()["problems"])
        return [each["message"] for each in found if "over-current" in each["message"]]

    # What was counted before is no news.
    assert problems() == []
    usb.over_current(hub, 3, 1)
    # Nobody waits for the next look that comes anyway.
    (problem,) = eventually(problems, CALM / 2)
    assert f"over-current at USB port {usb.bus}-1.3, once within the last hour" in problem
    usb.over_current(hub, 3, 2)
    eventually(lambda: "2 times" in str(problems()), CALM / 2)
