"""Whether this daemon leases the devices of pools: one on a host does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from structlog.typing import FilteringBoundLogger

from hotplugd.aio.backoff import delay
from hotplugd.host.pool_lock import POOL_LOCK, PoolLock
from hotplugd.model.problem import Problem
from hotplugd.reconcile.problem_log import ProblemLog
from hotplugd.rules.ruleset import RuleSet

# Nothing tells when another leaves the lock: seconds until it is tried again, at first and at most.
_PAUSES: Final = (1.0, 15.0)


class ServedPools:
    """The lock of pools, for as long as rules have some, and until all devices are out that were leased.

    problem  why pools are not served; None where they are, or where rules have none
    """

    def __init__(
        self, log: FilteringBoundLogger, server: str, has_leased: Callable[[], bool], *, dry_run: bool
    ) -> None:
        """What has to be known of the daemon.

        server      the address of the one that this hotplugd looks after
        has_leased  whether an instance of it may have a leased device
        """
        self.problem: Problem | None = None
        self._has_leased = has_leased
        # Whether the lock's file may name our server without need, from a daemon before.
        self._may_be_named = not dry_run
        self._told = ProblemLog(log, "claim.problem")
        self._lock = PoolLock(server)
        self._dry_run = dry_run
        self._has_pools = False
        # Set while another serves pools and ours are not served therefore.
        self._refused = asyncio.Event()

    def served(self, rules: RuleSet) -> RuleSet:
        """The rules, without pools where another serves some. Raises OSError where /dev cannot be written."""
        self._refused.clear()
        self._has_pools = bool(rules.pools)
        if self._has_pools and not self._dry_run and not self._lock.take():
            self._refused.set()
        self._tell()
        return rules.without_leases() if self.problem is not None else rules

    async def left(self) -> None:
        """Return once the lock is ours that another had while ours were not served; each try is later."""
        tries = 0
        while True:
            if not self._refused.is_set():
                await self._refused.wait()
                tries = 0
            tries += 1
            await asyncio.sleep(delay(tries, *_PAUSES))
            # It is tried again where no file can be opened just now.
            with suppress(OSError):
                if self._refused.is_set():
                    if self._lock.take():
                        return
                    self._tell()

    def _tell(self) -> None:
        """Say why pools are not served, which may be another reason by now."""
        is_refused, lock = self._refused.is_set(), self._lock
        self.problem = Problem("", "", _refused(lock.server, lock.process)) if is_refused else None
        self._told.are([self.problem] if self.problem is not None else ())

    def let_go(self) -> None:
        """Leave pools to others if rules have none, and no instance may have a leased device yet."""
        if self._has_pools or self._has_leased():
            return
        self._lock.release(has_leased=False)
        if self._may_be_named:
            # It is tried again where no file can be opened just now.
            with suppress(OSError):
                self._lock.forget()
                self._may_be_named = False

    def close(self) -> None:
        """Leave pools to the next hotplugd of this server, and to others where no instance has a device."""
        self._told.are(())
        self._lock.release(has_leased=self._has_leased())


def _refused(server: str, process: str) -> str:
    """Why pools are not served here. server, process: see `PoolLock`"""
    if process or not server:
        who = f" (process {process}, for {server})" if server else ""
        why = f"another hotplugd on this host{who} serves some, for another server"
        then = "take pools out of the rules of one of the two"
    else:
        why = f"instances of another server, {server}, may have devices of pools, and it has no hotplugd"
        then = (
            "start that one with rules that have no pools, or run `hotplugd detach --all` with its "
            f"configuration; where that server is gone, delete {POOL_LOCK}"
        )
    return (
        f"the pools of the rules are not served: {why} (the lock is {POOL_LOCK}); "
        f"what instances have of pools stays as it is, and nothing is given; {then}; "
        f"this one tries again every {_PAUSES[1]:.0f} s at least"
    )
