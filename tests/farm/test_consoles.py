"""A farm's day with consoles for phones, on a real server, in short: `make soak` has a long one."""

from __future__ import annotations

import pytest

from tests.farm.consoles import farm, live

EVENTS = 60


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("root", "udevd")
def test_a_day() -> None:
    with farm() as lab:
        day = live(lab, seed=1, events=EVENTS)
        assert all(day.diary.done.values()), day.diary.done
        assert '"defect"' not in lab.daemon.log()
