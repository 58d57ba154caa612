"""The time of day jumps, as where a host has no clock that lives on and asks for the time late.

The script that people write does not fail here: nothing in it goes by the time of day.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final, cast

import pytest

from tests.conftest import StartDaemon
from tests.faults.host import rules, there
from tests.soak.figures import cpu
from tests.support.lab.clock import Clock
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.kernel import Console
from tests.support.lab.wait import eventually, steadily

pytestmark = pytest.mark.alone

_YEAR: Final = 365 * 24 * 3600
_IDLE: Final = 2.0


def since(running: Daemon, path: str) -> datetime | None:
    """Since when something is attached at this path, by its entry's mark."""
    attached = cast("list[dict[str, str]]", running.status()["attachments"])
    return next((datetime.fromisoformat(each["since"]) for each in attached if each["path"] == path), None)


@pytest.mark.parametrize("years", [(10, -10), (-20, 0)])
def test_nothing_waits_for_the_time_of_day(
    container: Container,
    consoles: Callable[[int], list[Console]],
    daemon: StartDaemon,
    tmp_path: Path,
    years: tuple[int, ...],
) -> None:
    clock = Clock(tmp_path)
    some = consoles(3)
    environment = {**clock.environment, "WATCHDOG_USEC": "1000000"}
    running = daemon(rules(str(container), *some), environment)
    some[0].plug()
    eventually(lambda: there(container, some[0]))
    for number, jump in enumerate(years):
        clock.jump(jump * _YEAR)
        some[number].unplug()
        some[number + 1].plug()
        eventually(lambda: all(there(container, each) == each.plugged for each in some))
        (node,) = [each.node for each in some if each.plugged]
        shown = eventually(partial(since, running, node))
        assert shown is not None
        assert abs((shown - datetime.now(UTC)).total_seconds() - jump * _YEAR) < 60
        # What is to happen again and again does.
        running.wait_for("WATCHDOG=1", 5)
        before = cpu(running.pid)
        steadily(lambda: True, _IDLE)
        assert cpu(running.pid) - before < 0.1 * _IDLE
    assert running.status()["problems"] == []
