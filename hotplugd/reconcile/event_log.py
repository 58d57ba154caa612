"""Logs what a worker did and could not do: each problem once for as long as it lasts."""

from __future__ import annotations

from collections.abc import Iterable

from structlog.typing import FilteringBoundLogger

from hotplugd.model.entry import place_of
from hotplugd.model.problem import Problem
from hotplugd.model.values import InstanceName
from hotplugd.plan.change import Change
from hotplugd.reconcile.notification import Notification
from hotplugd.reconcile.orphaned_node import OrphanedNode


class EventLog:
    """The log events of one instance."""

    def __init__(self, name: InstanceName, log: FilteringBoundLogger) -> None:
        self._instance = str(name)
        self._log = log
        self._problems: frozenset[Problem] = frozenset()
        self._would: set[tuple[str, str]] = set()
        self._busy: set[str] = set()

    def done(self, change: Change, after_plug: float | None) -> None:
        """A change was made. after_plug: seconds since the device came, where that is known."""
        fields = {**self._fields(change), "path": place_of(change.entry), "why": change.why}
        if change.action == "add" and after_plug is not None:
            fields["after_plug"] = f"{after_plug * 1000:.1f} ms"
        self._log.info(f"device.{change.action}", **fields)

    def would(self, changes: Iterable[Change]) -> None:
        """In a dry run: these changes would be made."""
        for change in changes:
            if (change.entry.name, change.action) not in self._would:
                self._would.add((change.entry.name, change.action))
                path = place_of(change.entry)
                self._log.info("dry-run", **self._fields(change), path=path, why=change.why)

    def held(self, change: Change, reason: str, pause: float | None) -> None:
        """A change cannot be made; it is tried again after so many seconds; None: once the instance stops."""
        when = {} if pause is None else {"retry_in": pause}
        self._log.error("device.problem", **self._fields(change), reason=reason, **when)

    def fight(self, change: Change, reason: str) -> None:
        """A change was made too often."""
        self._log.warning("device.problem", **self._fields(change), reason=reason)

    def refused(self, reason: str, pause: float) -> None:
        """The server does nothing for the instance, and is asked again after so many seconds."""
        self._log.warning("instance.problem", instance=self._instance, reason=reason, retry_in=pause)

    def busy(self, reason: str, *, now: bool) -> None:
        """For this reason the instance is served more slowly; or no longer, if not now."""
        if now and reason not in self._busy:
            self._busy.add(reason)
            self._log.warning("instance.problem", instance=self._instance, reason=reason)
        elif not now:
            self._busy.discard(reason)

    def problems(self, problems: Iterable[Problem]) -> None:
        """The plan has these problems."""
        now = tuple(problem for problem in problems if not problem.guard)
        for problem in now:
            if problem not in self._problems:
                self._log.warning(
                    "device.problem",
                    device=problem.device,
                    rule=problem.rule,
                    instance=self._instance,
                    reason=problem.message,
                )
        self._problems = frozenset(now)

    def left_behind(self, orphan: OrphanedNode) -> None:
        """An entry was removed, and its node is still there."""
        fields = {**self._fields(orphan.change), "path": orphan.path, "reason": str(orphan)}
        if orphan.cleared:
            self._log.error("device.left-behind", **fields)
        else:
            self._log.warning("device.left-behind", **fields)

    def untold(self, telling: Notification, reason: str, pause: float | None = None) -> None:
        """Those inside could not be told of a device. pause: seconds until it is tried again, if it is."""
        self._log.warning(
            "device.untold",
            device=str(telling.uevent.device),
            rule=telling.rule,
            instance=self._instance,
            action=telling.uevent.action,
            path=telling.uevent.path,
            reason=reason,
            **({"retry_in": pause} if pause is not None else {}),
        )

    def _fields(self, change: Change) -> dict[str, str]:
        want = change.want
        location = want.location if want is not None else ""
        return {
            "device": change.device,
            "identity": change.identity,
            "rule": change.rule,
            "instance": self._instance,
            "action": change.action,
            **({"location": location} if location else {}),
        }
