"""Logs what a worker did and could not do: each problem once for as long as it lasts."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from structlog.typing import FilteringBoundLogger

from hotplugd.model.problem import Problem
from hotplugd.model.values import Device, InstanceName
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
        # The event's fields of each open problem, by the device and message that `status` has.
        self._problems: dict[tuple[str, str], Fields] = {}
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
        message = f"cannot {change.action} in {change.instance}: {reason}"
        if self._note(change.device, message, {**fields, "reason": reason}):
            self._log.error("device.problem", **fields, reason=reason, **when)

    def fight(self, change: Change, reason: str) -> None:
        """A change was made too often."""
        fields = self.attachments.fields(change)
        if self._note(change.device, reason, {**fields, "reason": reason}):
            self._log.warning("device.problem", **fields, reason=reason)

    def refused(self, reason: str, pause: float, problem: Problem | None = None) -> None:
        """The server does nothing for the instance, and is asked again after so many seconds.

        problem  what `status` says of it, where it is about one device
        """
        said = problem or Problem("", "", f"{self._instance}: {reason}")
        if self._note(said.device, said.message, {"instance": self._instance, "reason": reason}):
            self._log.warning("instance.problem", instance=self._instance, reason=reason, retry_in=pause)

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
        self.problems((), tuple)
        for reason in sorted(self._busy):
            self.busy(reason, now=False)

    def problems(self, problems: Iterable[Problem], wanted: Callable[[], Iterable[Want]]) -> None:
        """Take these as all problems of the instance: log the new ones, and those that are over.

        wanted  what should be in the instance
        """
        now = {(problem.device, problem.message): problem for problem in problems if not problem.guard}
        busy = {("", f"{self._instance}: {reason}") for reason in self._busy}
        if new := [each for key, each in now.items() if key not in self._problems and key not in busy]:
            devices = {str(want.device): want.device for want in wanted()}
            for problem in new:
                self._begin(problem, devices.get(problem.device))
        for key in [each for each in self._problems if each not in now]:
            self._log.info("problem.over", **self._problems.pop(key))

    def _begin(self, problem: Problem, device: Device | None) -> None:
        """Tell of a problem of which nobody else has."""
        about: Fields = {ABOUT: device} if device is not None else {}
        fields: Fields = {**about, "instance": self._instance, "reason": problem.message}
        if problem.rule:
            fields["rule"] = problem.rule
        if problem.device:
            fields["device"] = problem.device
        self._problems[problem.device, problem.message] = fields
        if problem.device:
            self._log.warning("device.problem", **fields)
        else:
            self._log.warning("instance.problem", **fields)

    def link(self, problem: Problem, path: str, reason: str, device: Device | None, pause: float) -> None:
        """A link inside cannot be made or taken away, which is tried again after so many seconds.

        problem  what `status` says of it
        device   to which it leads, where that is known
        """
        if (key := (problem.device, problem.message)) not in self._problems:
            about: Fields = {ABOUT: device} if device is not None else {}
            more: Fields = {"rule": problem.rule} if problem.rule else {}
            self._problems[key] = {
                **about, **more, "instance": self._instance, "path": path, "reason": reason
            }  # fmt: skip
            self._log.warning("link.problem", **self._problems[key], retry_in=pause)

    def records(self, problem: Problem, reason: str, pause: float) -> None:
        """The records of udev's database are not as they should be, tried again after so many seconds.

        problem  what `status` says of it
        """
        if (key := (problem.device, problem.message)) not in self._problems:
            self._problems[key] = {"instance": self._instance, "reason": reason}
            self._log.warning("udev-record.problem", **self._problems[key], retry_in=pause)

    def _note(self, device: str, message: str, fields: Fields) -> bool:
        """A problem is told of as this. Returns whether it was not before.

        device, message  what `status` says of it
        """
        before = self._problems.get((device, message))
        if before == fields:
            return False
        if before is not None:
            # The open problem is about an earlier device of this name.
            self._log.info("problem.over", **before)
        self._problems[device, message] = fields
        return True

    def left_behind(self, orphan: OrphanedNode) -> None:
        """An entry was removed, and its node is still there."""
        fields = {**self.attachments.fields(orphan.change), "path": orphan.path, "reason": str(orphan)}
        self._note(orphan.change.device, f"{self._instance}, {orphan.path}: {orphan}", fields)
        if orphan.cleared:
            self._log.error("device.left-behind", **fields)
        else:
            self._log.warning("device.left-behind", **fields)

    def asks(self) -> None:
        """The server is asked how the instance is."""
        self._log.debug("instance.asked", instance=self._instance)

    def looks(self, paths: int) -> None:
        """Log a look into the instance, at so many paths."""
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
        if self._problems.get((str(telling.uevent.device), reason)) == fields:
            return
        self._note(str(telling.uevent.device), reason, fields)
        self._log.warning("device.untold", **fields, **({"retry_in": pause} if pause is not None else {}))
