"""Logs what a worker did and could not do: each problem once for as long as it lasts."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from structlog.typing import FilteringBoundLogger

from hotplugd.model.problem import Problem
from hotplugd.model.values import InstanceName
from hotplugd.plan.about import ABOUT, Fields
from hotplugd.plan.change import Change
from hotplugd.plan.kinds.kind import Want
from hotplugd.reconcile.attachment_log import AttachmentLog
from hotplugd.reconcile.inventory import Inventory
from hotplugd.reconcile.notification import Notification
from hotplugd.reconcile.orphaned_node import OrphanedNode


class EventLog:
    """The log events of one instance.

    attachments  tells what of its devices is attached
    """

    def __init__(self, name: InstanceName, log: FilteringBoundLogger, inventory: Inventory) -> None:
        self.attachments = AttachmentLog(name, log, inventory)
        self._instance = str(name)
        self._log = log
        # What each problem of the plan was told of as.
        self._problems: dict[Problem, Fields] = {}
        # The same of all others, by what `status` says of them: the device and the message.
        self._others: dict[tuple[str, str], Fields] = {}
        self._would: set[tuple[str, str]] = set()
        self._busy: set[str] = set()

    def done(self, change: Change, after_plug: float | None) -> None:
        """A change was made. after_plug: seconds since the device came, where that is known."""
        fields = {**self.attachments.done(change), "why": change.why}
        if change.action == "add" and after_plug is not None:
            fields["after_plug"] = f"{after_plug * 1000:.1f} ms"
        self._log.info(f"device.{change.action}", **fields)

    def would(self, changes: Iterable[Change]) -> None:
        """In a dry run: these are all changes that would be made now; each is told once for as long."""
        told, self._would = self._would, set()
        for change in changes:
            self._would.add((change.entry.name, change.action))
            if (change.entry.name, change.action) not in told:
                self._log.info("dry-run", **self.attachments.fields(change), why=change.why)

    def held(self, change: Change, reason: str, pause: float | None) -> None:
        """A change cannot be made; it is tried again after so many seconds; None: once the instance stops."""
        when = {} if pause is None else {"retry_in": pause}
        fields = self.attachments.fields(change)
        self._log.error("device.problem", **fields, reason=reason, **when)
        message = f"cannot {change.action} in {change.instance}: {reason}"
        self._others[change.device, message] = {**fields, "reason": reason}

    def fight(self, change: Change, reason: str) -> None:
        """A change was made too often."""
        fields = self.attachments.fields(change)
        self._log.warning("device.problem", **fields, reason=reason)
        self._others[change.device, reason] = {**fields, "reason": reason}

    def refused(self, reason: str, pause: float, problem: Problem | None = None) -> None:
        """The server does nothing for the instance, and is asked again after so many seconds.

        problem  what `status` says of it, where it is about one device
        """
        self._log.warning("instance.problem", instance=self._instance, reason=reason, retry_in=pause)
        said = problem or Problem("", "", f"{self._instance}: {reason}")
        self._others[said.device, said.message] = {"instance": self._instance, "reason": reason}

    def busy(self, reason: str, *, now: bool) -> None:
        """For this reason the instance is served more slowly; or no longer, if not now."""
        if now and reason not in self._busy:
            self._busy.add(reason)
            self._log.warning("instance.problem", instance=self._instance, reason=reason)
        elif not now and reason in self._busy:
            self._busy.discard(reason)
            self._log.info("problem.over", instance=self._instance, reason=reason)

    def close(self) -> None:
        """The instance is no more: nor is what was wrong with it, or made it wait."""
        self.still(tuple)
        for reason in sorted(self._busy):
            self.busy(reason, now=False)

    def problems(self, problems: Iterable[Problem], wanted: Callable[[], Iterable[Want]]) -> None:
        """The plan has these problems. wanted: what should be in the instance."""
        now = tuple(problem for problem in problems if not problem.guard)
        if new := [problem for problem in now if problem not in self._problems]:
            devices = {str(want.device): want.device for want in wanted()}
            for problem in new:
                device = devices.get(problem.device)
                fields: Fields = {
                    **({ABOUT: device} if device is not None else {}),
                    "device": problem.device,
                    "rule": problem.rule,
                    "instance": self._instance,
                    "reason": problem.message,
                }
                self._problems[problem] = fields
                self._log.warning("device.problem", **fields)
        for problem in [each for each in self._problems if each not in now]:
            self._log.info("problem.over", **self._problems.pop(problem))

    def still(self, problems: Callable[[], Iterable[Problem]]) -> None:
        """These are all problems that the instance has now: others that were told of are over."""
        if not self._others:
            return
        left = {(problem.device, problem.message) for problem in problems()}
        for said in [each for each in self._others if each not in left]:
            self._log.info("problem.over", **self._others.pop(said))

    def left_behind(self, orphan: OrphanedNode) -> None:
        """An entry was removed, and its node is still there."""
        fields = {**self.attachments.fields(orphan.change), "path": orphan.path, "reason": str(orphan)}
        self._others[orphan.change.device, f"{self._instance}, {orphan.path}: {orphan}"] = fields
        if orphan.cleared:
            self._log.error("device.left-behind", **fields)
        else:
            self._log.warning("device.left-behind", **fields)

    def asks(self) -> None:
        """The server is asked how the instance is."""
        self._log.debug("instance.asked", instance=self._instance)

    def looks(self, paths: int) -> None:
        """Somebody looks into the instance, at so many paths."""
        self._log.debug("instance.looked", instance=self._instance, paths=paths)

    def untold(self, telling: Notification, reason: str, pause: float | None = None) -> None:
        """Those inside could not be told of a device. pause: seconds until it is tried again, if it is."""
        fields: Fields = {
            ABOUT: telling.uevent.device,
            "rule": telling.rule,
            "instance": self._instance,
            "action": telling.uevent.action,
            "path": telling.uevent.path,
            "reason": reason,
        }
        self._others[str(telling.uevent.device), reason] = fields
        self._log.warning("device.untold", **fields, **({"retry_in": pause} if pause is not None else {}))
