"""The host-wide lock of pools is held until all that was leased is out."""

from __future__ import annotations

import asyncio
import os

import structlog
from structlog.testing import capture_logs

from hotplugd.app.served_pools import ServedPools
from hotplugd.host.pool_lock import PoolLock
from tests.support.devices import ruleset
from tests.support.virtual import in_virtual_time, later, now
from tests.unit.reconcile.test_leases import rules


def test_it_is_released_without_pools_once_the_devices_are_out() -> None:
    served, other = ServedPools(structlog.get_logger(), "/x", dry_run=False), PoolLock()
    try:
        assert served.served(rules()).pools
        assert not other.take()
        served.let_go(has_leased=False)
        assert not other.take()
        served.served(ruleset())
        served.let_go(has_leased=True)
        assert not other.take()
        served.let_go(has_leased=False)
        assert other.take()
    finally:
        served.close()
        other.release()


def test_who_does_not_serve_them_says_so_until_the_rules_have_none() -> None:
    with capture_logs() as events:
        served, other = ServedPools(structlog.get_logger(), "/x", dry_run=False), PoolLock()
        try:
            assert other.take()
            for _ in range(2):
                assert not served.served(rules()).leases
            assert [each["event"] for each in events] == ["claim.problem"]
            served.served(ruleset())
            assert [each["event"] for each in events] == ["claim.problem", "problem.over"]
        finally:
            served.close()
            other.release()


@in_virtual_time
async def test_the_second_one_has_it_by_itself_when_the_first_one_leaves_it() -> None:
    served, first = ServedPools(structlog.get_logger(), "/x", dry_run=False), PoolLock()
    left = asyncio.ensure_future(served.left())
    try:
        # As long as it is ours, or rules have no pools, nothing is tried.
        served.served(ruleset())
        await later(100.0)
        assert first.take()
        assert not served.served(rules()).leases
        assert served.problem is not None
        assert "tries again every 15 s at least" in served.problem.message
        await later(100.0)
        assert not left.done()
        first.release()
        begun = now()
        await left
        assert now() - begun <= 15.0
        assert served.served(rules()).leases
        assert served.problem is None
    finally:
        left.cancel()
        served.close()
        first.release()


@in_virtual_time
async def test_a_lock_that_is_not_wanted_any_more_is_left_to_others() -> None:
    served, first = ServedPools(structlog.get_logger(), "/x", dry_run=False), PoolLock()
    left = asyncio.ensure_future(served.left())
    try:
        assert first.take()
        served.served(rules())
        served.served(ruleset())
        first.release()
        await later(100.0)
        assert not left.done()
        assert first.take()
    finally:
        left.cancel()
        served.close()
        first.release()


def test_who_has_the_lock_is_told() -> None:
    served, other = ServedPools(structlog.get_logger(), "/x", dry_run=False), PoolLock("/run/other.socket")
    last = PoolLock()
    try:
        assert other.take()
        served.served(rules())
        assert served.problem is not None
        assert f"(process {os.getpid()}, for /run/other.socket)" in served.problem.message
        other.release()
        # One that does not say who it is.
        assert last.take()
        served.served(rules())
        assert "another hotplugd on this host serves some" in served.problem.message
    finally:
        served.close()
        other.release()
        last.release()
