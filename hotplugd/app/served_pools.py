"""Whether this daemon leases the devices of pools: one on a host does."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from structlog.typing import FilteringBoundLogger

from hotplugd.aio.backoff import delay
from hotplugd.host.pool_lock import PoolLock
from hotplugd.model.problem import Problem
from hotplugd.reconcile.problem_log import ProblemLog
from hotplugd.rules.ruleset import RuleSet

# Nothing tells when another leaves the lock: seconds until it is tried again, at first and at most.
_PAUSES: Final = (1.0, 15.0)


class ServedPools:
    """The lock of pools, for as long as rules have some, and until all devices are out that were leased.

    problem  why pools are not served; None where they are, or where rules have none
    """

    def __init__(self, log: FilteringBoundLogger, server: str, *, dry_run: bool) -> None:
        """server: the address of the one that this hotplugd looks after."""
        self.problem: Problem | None = None
        self._told = ProblemLog(log, "claim.problem")
        self._lock = PoolLock(server)
        self._dry_run = dry_run
        self._has_pools = False
        # Set while another serves pools and ours are not served therefore.
        self._refused = asyncio.Event()

    def served(self, rules: RuleSet) -> RuleSet:
        """The rules, without pools where another serves some. Raises OSError where /dev cannot be written."""
        self.problem = None
        self._refused.clear()
        self._has_pools = bool(rules.pools)
        if self._has_pools and not self._dry_run and not self._lock.take():
            self.problem = Problem("", "", _refused(self._lock.holder))
            self._refused.set()
        self._told.are([self.problem] if self.problem is not None else ())
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
                if self._refused.is_set() and self._lock.take():
                    return

    def let_go(self, *, has_leased: bool) -> None:
        """Leave pools to others if rules have none.

        has_leased  whether an instance may have a leased device yet
        """
        if not (self._has_pools or has_leased):
            self._lock.release()

    def close(self) -> None:
        """Leave pools to others."""
        self._told.are(())
        self._lock.release()


def _refused(holder: str) -> str:
    """Why pools are not served here. holder: what the lock says of who has it; empty for nothing"""
    who = f" ({holder})" if holder else ""
    return (
        f"the pools of the rules are not served: another hotplugd on this host{who} serves some, for another "
        f"server (it has the lock of /dev/hotplugd/.pools); what instances have of pools stays as it is, and "
        f"nothing is given; take pools out of the rules of one of the two, or stop one: this one tries again "
        f"every {_PAUSES[1]:.0f} s at least"
    )
