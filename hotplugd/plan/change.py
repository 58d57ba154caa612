"""What has to change in an instance, and what is as it should be. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hotplugd.model import entry as entries
from hotplugd.model.problem import Problem
from hotplugd.model.values import Entry, InstanceName
from hotplugd.plan.kinds.kind import Want

Action = Literal["add", "update", "repair", "remove"]


@dataclass(frozen=True, slots=True)
class Change:
    """One thing to do to one instance's entries. For `remove` the entry is the one that goes.

    device  its node on the host; for `remove` the node that it had
    frees   the target inside that is free once the change was made, or empty
    """

    action: Action
    instance: InstanceName
    entry: Entry
    device: str
    rule: str
    why: str
    want: Want | None = None
    frees: str = ""

    @property
    def identity(self) -> str:
        """The device's identity, as the entry has it."""
        return self.entry.config.get(entries.MARK_DEVICE, "")


@dataclass(frozen=True, slots=True)
class Barred:
    """An entry with which its instance could not be started, as it was then, and why it stays out."""

    entry: Entry
    why: str


@dataclass(frozen=True, slots=True)
class Attachment:
    """A device whose entry is as it should be. verified: seen inside; None where nothing can be seen now."""

    want: Want
    entry: Entry
    verified: bool | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What has to change in one instance, what is as it should be, and what cannot be.

    out  those of the problems that are over once the instance runs
    """

    changes: tuple[Change, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    problems: tuple[Problem, ...] = ()
    out: tuple[Problem, ...] = ()


def change_of(action: Action, want: Want, entry: Entry, why: str, frees: str = "") -> Change:
    """What to do to the entry of a device that should be in an instance."""
    return Change(action, want.instance, entry, str(want.device), want.rule.name, why, want, frees)


def removal(instance: InstanceName, entry: Entry, why: str) -> Change:
    """The removal of an entry of ours."""
    device = entry.config.get(entries.MARK_NODE) or entries.slot_of(entry)
    rule = entry.config.get(entries.MARK_RULE, "")
    return Change("remove", instance, entry, device, rule, why, frees=entries.target_of(entry))
