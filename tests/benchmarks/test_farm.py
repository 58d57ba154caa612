"""The farm's simulation, in small."""

import pytest

from benchmarks import cluster, farm
from benchmarks.farm_server import CHANGE, DEVICE
from tests.support.virtual import in_virtual_time


@in_virtual_time
async def test_what_is_there_at_a_start_is_one_request_an_instance() -> None:
    found = await farm.boot(50)
    assert (found.changes, found.questions) == (10, 0)
    assert found.seconds == pytest.approx(10 * (CHANGE + 5 * DEVICE), rel=0.05)


@in_virtual_time
async def test_phones_that_come_are_in_before_udevd_is_done() -> None:
    found = await farm.come(50, early=True)
    assert found.changes == 50
    assert found.slowest < 0.05


@in_virtual_time
async def test_a_member_asks_for_nothing_that_is_edited_elsewhere() -> None:
    assert (await cluster.member(edits=100)).questions == 0
