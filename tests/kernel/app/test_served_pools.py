"""The host-wide lock of pools is held until all that was leased is out."""

from __future__ import annotations

import structlog
from structlog.testing import capture_logs

from hotplugd.app.served_pools import ServedPools
from hotplugd.host.pool_lock import PoolLock
from tests.support.devices import ruleset
from tests.unit.reconcile.test_leases import rules


def test_it_is_released_without_pools_once_the_devices_are_out() -> None:
    served, other = ServedPools(structlog.get_logger(), dry_run=False), PoolLock()
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
        served, other = ServedPools(structlog.get_logger(), dry_run=False), PoolLock()
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
