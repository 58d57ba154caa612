from __future__ import annotations

from hotplugd.aio.pace import Pace


def test_so_often_in_a_row_it_is_free_and_then_once_in_a_while() -> None:
    pace = Pace(3, 2)
    now, done = 100.0, []
    for _ in range(6):
        now = max(now, pace.due)
        pace.done(now)
        done.append(now)
    assert done == [100, 100, 100, 100, 102, 104]


def test_after_a_calm_it_is_as_free_as_ever() -> None:
    pace = Pace(3, 2)
    for _ in range(3):
        pace.done(100)
    assert pace.due == 100
    for _ in range(3):
        pace.done(107)
    assert pace.due == 107


def test_it_is_short_while_it_waits_and_a_moment_later() -> None:
    pace = Pace(2, 2)
    assert not pace.is_short(0)
    pace.done(0)
    assert not pace.is_short(0)
    for _ in range(2):
        pace.done(0)
    assert [pace.is_short(now) for now in (0, 2, 3.9, 4)] == [True, True, True, False]
