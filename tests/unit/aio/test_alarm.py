from __future__ import annotations

from hotplugd.aio.alarm import Alarm
from tests.support.virtual import at, in_virtual_time, now


@in_virtual_time
async def test_it_rings_once_after_pauses_that_double_until_reset() -> None:
    rung: list[float] = []
    alarm = Alarm(lambda: rung.append(now()), 1.0, 3.0)
    for _ in range(3):
        alarm.set()
        alarm.set()
        await at(now() + 10)
    alarm.reset()
    alarm.set()
    await at(now() + 10)
    assert rung == [1.0, 12.0, 23.0, 31.0]


@in_virtual_time
async def test_one_that_is_cancelled_does_not_ring_and_can_be_set_again() -> None:
    rung: list[float] = []
    alarm = Alarm(lambda: rung.append(now()), 1.0, 3.0)
    alarm.set()
    alarm.cancel()
    alarm.cancel()
    await at(10)
    assert rung == []
    alarm.set()
    await at(20)
    assert rung == [12.0]
