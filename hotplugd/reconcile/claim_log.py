"""Tells of claims that wait for devices: once when a claim begins to wait, and once when it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from structlog.typing import FilteringBoundLogger

from hotplugd.model.text import quoted
from hotplugd.model.values import InstanceName
from hotplugd.plan.about import Fields
from hotplugd.pools.allocate import ClaimState

_HAS_ALL: Final = "it has all that it asks for"


class ClaimLog:
    """Which claims lack devices, as it was told. That one is unsatisfiable is a problem, told of as such.

    Of what a pool gives unasked nothing is told: an instance may go without.
    """

    def __init__(self, log: FilteringBoundLogger) -> None:
        self._log = log
        # Those that wait, and those that are unsatisfiable, by instance, claim and pool, with events' fields.
        self._waiting: dict[tuple[InstanceName, str, str], Fields] = {}
        self._unsatisfiable: dict[tuple[InstanceName, str, str], Fields] = {}

    def are(self, claims: Iterable[ClaimState], why_over: Callable[[InstanceName, str, str], str]) -> None:
        """Take these as all claims, except those of instances that get nothing now.

        why_over  why a claim, by its instance, name and pool, asks for nothing more; empty where it may
        """
        now = {_key(each): each for each in claims if each.asking.claim.asked}
        for key in [each for each in (*self._waiting, *self._unsatisfiable) if each not in now]:
            if why := why_over(*key):
                self._log.info("claim.withdrawn", **self._end(key), why=why)
        for key, state in now.items():
            if state.state == "bound":
                if fields := self._end(key):
                    self._log.info("claim.bound", **fields, why=f"claim '{quoted(key[1])}': {_HAS_ALL}")
            elif state.state == "unsatisfiable":
                self._waiting.pop(key, None)
                self._unsatisfiable[key] = _fields(state)
            elif key not in self._waiting:
                self._end(key)
                self._waiting[key] = _fields(state)
                why = f"claim '{quoted(key[1])}' waits: {state.reason}"
                self._log.info("claim.waiting", **self._waiting[key], why=why)

    def _end(self, key: tuple[InstanceName, str, str]) -> Fields:
        return self._waiting.pop(key, None) or self._unsatisfiable.pop(key, {})


def _key(state: ClaimState) -> tuple[InstanceName, str, str]:
    return state.asking.instance, state.asking.claim.name, state.asking.claim.pool


def _fields(state: ClaimState) -> Fields:
    claim = state.asking.claim
    return {"instance": str(state.asking.instance), "claim": quoted(claim.name), "pool": claim.pool}
