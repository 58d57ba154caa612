"""The host-wide lock of pools is held until all that was leased is out."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from hotplugd.app.served_pools import ServedPools
from hotplugd.host.pool_lock import POOL_LOCK, PoolLock
from tests.support.devices import ruleset
from tests.support.virtual import in_virtual_time, later, now
from tests.unit.reconcile.test_leases import rules

pytestmark = pytest.mark.pools


@dataclass
class Leased:
    """Whether an instance may have a leased device."""

    any: bool = False

    def __call__(self) -> bool:
        return self.any


def serving(server: str = "/x", leased: Callable[[], bool] = Leased()) -> ServedPools:  # noqa: B008
    return ServedPools(structlog.get_logger(), server, leased, dry_run=False)


def test_it_is_released_without_pools_once_the_devices_are_out() -> None:
    leased, other = Leased(), PoolLock("/y")
    served = serving(leased=leased)
    try:
        assert served.served(rules()).pools
        assert not other.take()
        served.let_go()
        assert not other.take()
        served.served(ruleset())
        leased.any = True
        served.let_go()
        assert not other.take()
        leased.any = False
        served.let_go()
        assert other.take()
    finally:
        served.close()
        other.release(has_leased=False)


@pytest.mark.parametrize("crashes", [False, True])
def test_while_nobody_looks_after_what_is_in_place_no_other_server_has_it(*, crashes: bool) -> None:
    leased = Leased(any=True)
    first, second = serving(leased=leased), serving("/y")
    try:
        assert first.served(rules()).leases
        if crashes:
            _crash(first)
        else:
            first.close()
        assert not second.served(rules()).leases
        assert second.problem is not None
        assert "instances of another server, /x, may have devices of pools" in second.problem.message
        assert f"delete {POOL_LOCK}" in second.problem.message
        again = serving(leased=leased)
        assert again.served(rules()).leases
        leased.any = False
        again.close()
        assert second.served(rules()).leases
        assert second.problem is None
    finally:
        first.close()
        second.close()


def test_who_begins_without_pools_takes_its_name_away() -> None:
    leased = Leased(any=True)
    first, second = serving(leased=leased), serving("/y")
    try:
        first.served(rules())
        first.close()
        again = serving(leased=leased)
        again.served(ruleset())
        again.let_go()
        assert not second.served(rules()).leases
        leased.any = False
        again.let_go()
        assert second.served(rules()).leases
        # Another's name stays.
        third = serving()
        third.let_go()
        assert "/y" in Path(POOL_LOCK).read_text()
    finally:
        second.close()


def test_a_server_is_known_by_any_path_to_its_socket(tmp_path: Path) -> None:
    (tmp_path / "socket").touch()
    (tmp_path / "link").symlink_to("socket")
    first, again = PoolLock(str(tmp_path / "socket")), PoolLock(str(tmp_path / "link"))
    assert first.take()
    first.release(has_leased=True)
    assert not PoolLock("/y").take()
    assert again.take()
    again.release(has_leased=False)


@pytest.mark.parametrize("text", ["\0" * 10_000, "\udcff\udcfe\n\n\n", "\x1b[2J\n1\n"])
def test_what_the_file_says_is_shown_and_hurts_nobody(text: str) -> None:
    served = serving()
    Path(POOL_LOCK).parent.mkdir(exist_ok=True)
    Path(POOL_LOCK).write_bytes(text.encode("utf-8", "surrogateescape"))
    try:
        assert not served.served(rules()).leases
        assert served.problem is not None
        assert served.problem.message.isprintable()
    finally:
        served.close()
        Path(POOL_LOCK).unlink()


def _crash(served: ServedPools) -> None:
    """End its lock as the kernel does."""
    os.close(served._lock._descriptor)
    served._lock._descriptor = -1


def test_who_does_not_serve_them_says_so_until_the_rules_have_none() -> None:
    with capture_logs() as events:
        served, other = serving(), PoolLock("/y")
        try:
            assert other.take()
            for _ in range(2):
                assert not served.served(rules()).leases
            assert [each["event"] for each in events] == ["claim.problem"]
            served.served(ruleset())
            assert [each["event"] for each in events] == ["claim.problem", "problem.over"]
        finally:
            served.close()
            other.release(has_leased=False)


@in_virtual_time
async def test_the_second_one_has_it_by_itself_when_the_first_one_leaves_it() -> None:
    served, first = serving(), PoolLock("/y")
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
        first.release(has_leased=False)
        begun = now()
        await left
        assert now() - begun <= 15.0
        assert served.served(rules()).leases
        assert served.problem is None
    finally:
        left.cancel()
        served.close()
        first.release(has_leased=False)


@in_virtual_time
async def test_a_lock_that_is_not_wanted_any_more_is_left_to_others() -> None:
    served, first = serving(), PoolLock("/y")
    left = asyncio.ensure_future(served.left())
    try:
        assert first.take()
        served.served(rules())
        served.served(ruleset())
        first.release(has_leased=False)
        await later(100.0)
        assert not left.done()
        assert first.take()
    finally:
        left.cancel()
        served.close()
        first.release(has_leased=False)


def test_who_has_the_lock_is_told() -> None:
    served, other = serving(), PoolLock("/run/other.socket")
    try:
        assert other.take()
        served.served(rules())
        assert served.problem is not None
        assert f"(process {os.getpid()}, for /run/other.socket)" in served.problem.message
        # One that could not say who it is.
        Path(POOL_LOCK).write_text("")
        served.served(rules())
        assert "another hotplugd on this host serves some" in served.problem.message
    finally:
        served.close()
        other.release(has_leased=False)
