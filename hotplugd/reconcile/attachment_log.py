"""Logs events of one instance and of the devices in it, in the order in which they happen.

Replayed, these events are what `status` shows as attached: an entry is attached from `device.add`, `.update`,
`.repair` or `.attached` to the next `device.asked`, `.remove` or `.detached` about it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from structlog.typing import FilteringBoundLogger

from hotplugd.model.entry import MARK_DEVICE, is_ours, slot_of, target_of
from hotplugd.model.text import natural
from hotplugd.model.values import Device, Entry, Instance, InstanceName
from hotplugd.plan.about import ABOUT, Fields, about_entry
from hotplugd.plan.change import Action, Attachment, Change, Plan
from hotplugd.reconcile.device_log import Cause
from hotplugd.reconcile.inventory import Inventory

# At most this many devices that went with an instance are named.
_MOST_NAMED: Final = 50
# At most this many causes are kept until the server answers and a plan is made.
_MOST_CAUSES: Final = 4096


class AttachmentLog:
    """What was told of one instance. All of it is by the names of entries.

    inventory  whether everything was listed once: what is there before is not new
    """

    def __init__(self, name: InstanceName, log: FilteringBoundLogger, inventory: Inventory) -> None:
        self._instance = str(name)
        self._log = log
        # Instances are listed for the first time: nothing tells how long the entry has been there.
        self._starting = inventory.starting
        # The fields of the event by which each attached entry was logged.
        self._attached: dict[str, Fields] = {}
        # Changes that were asked for: the action and its event's fields.
        self._asked: dict[str, tuple[Action, Fields]] = {}
        self._inside: set[str] = set()
        # Why the next plan may differ: the cause by slot, and the cause for all others.
        self._causes: dict[str, Cause] = {}
        self._cause: Cause | None = None

    def because(self, slots: Iterable[str], cause: Cause) -> None:
        """For this reason the entries for these slots may have to be put in, or taken out."""
        for slot in slots:
            self._causes[slot] = cause
            if len(self._causes) > _MOST_CAUSES:
                del self._causes[next(iter(self._causes))]

    def learned(self, before: Instance | None, actual: Instance | None, sending: Iterable[str]) -> None:
        """The server has the instance like this now, and had it like that.

        sending  the entries that a request of ours is about
        """
        if before is None or actual is None:
            if before is not None:
                self._told("deleted")
                self._cause = "instance"
            elif actual is not None:
                self._cause = "start" if self._starting else "instance"
                if not self._starting:
                    self._told("created", kind=actual.kind)
                    if actual.running:
                        # It was started before the server was asked.
                        self._told("started")
            self._starting = False
            return
        if before.running != actual.running:
            self.restarted()
            self._told("started" if actual.running else "stopped")
            self._cause = "instance"
        if before.entries is not actual.entries:
            self._edited(before.entries, actual.entries, {*sending, *self._asked})

    def restarted(self) -> None:
        """The instance has another init, or none: what was seen inside has to be seen again."""
        self._inside.clear()
        for fields in self._attached.values():
            fields["cause"] = "instance"

    def planned(self, plan: Plan, *, dry_run: bool) -> None:
        """What has to change, and what is as it should be, is now this."""
        attached: dict[str, Attachment] = {}
        unseen: set[str] = set()
        for attachment in plan.attachments:
            # Of a GPU there is one for each of its nodes.
            attached.setdefault(attachment.entry.name, attachment)
            if not attachment.verified:
                unseen.add(attachment.entry.name)
                if attachment.verified is False:
                    self._inside.discard(attachment.entry.name)
        self._change(attached, {} if dry_run else {change.entry.name: change for change in plan.changes})
        for name in [each for each in attached if each not in self._attached]:
            self._attach(name, attached[name])
        for name in [each for each in attached if each not in self._inside and each not in unseen]:
            self._inside.add(name)
            self._log.info("device.inside", **self._attached[name])
        self._causes.clear()
        self._cause = None

    def _change(self, attached: Mapping[str, Attachment], changes: Mapping[str, Change]) -> None:
        """Tell what is not attached any more, and what is asked for now."""
        for name in [each for each in self._attached if each not in attached and each not in changes]:
            self._detached(name)
        for name in [each for each in self._asked if each not in changes and each not in attached]:
            action, fields = self._asked.pop(name)
            if action == "remove":
                self._log.info("device.detached", **fields)
        for name, change in changes.items():
            if name not in self._asked or self._asked[name][0] != change.action:
                self._ask(name, change)

    def fields(self, change: Change) -> Fields:
        """What an event says of a change."""
        known = self._asked.get(change.entry.name)
        if known is not None and known[0] == change.action:
            return known[1]
        return self._fields(change)

    def done(self, change: Change) -> Fields:
        """A change was made. Returns what its event says."""
        fields = self.fields(change)
        name = change.entry.name
        self._asked.pop(name, None)
        self._inside.discard(name)
        if change.action == "remove":
            self._attached.pop(name, None)
        else:
            self._attached[name] = {key: text for key, text in fields.items() if key != "action"}
        return fields

    # --- events -----------------------------------------------------------------------------------------

    def _told(self, what: str, **more: str) -> None:
        names = sorted((str(fields["device"]) for fields in self._attached.values()), key=natural)
        if names:
            rest = len(names) - _MOST_NAMED
            more["devices"] = ", ".join(names[:_MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")
        self._log.info(f"instance.{what}", instance=self._instance, **more)

    def _edited(self, before: Mapping[str, Entry], actual: Mapping[str, Entry], ours: set[str]) -> None:
        for name, entry in before.items():
            if name not in ours and is_ours(entry) and actual.get(name) != entry:
                self._causes.setdefault(slot_of(entry), "by hand")

    def _ask(self, name: str, change: Change) -> None:
        fields = self._fields(change)
        self._asked[name] = change.action, fields
        self._attached.pop(name, None)
        self._inside.discard(name)
        self._log.info("device.asked", **fields, why=change.why)

    def _attach(self, name: str, attachment: Attachment) -> None:
        self._asked.pop(name, None)
        self._attached[name] = {
            ABOUT: attachment.want.device,
            "device": str(attachment.want.device),
            "rule": attachment.want.rule.name,
            "instance": self._instance,
            "entry": name,
            "path": attachment.want.target,
            **self._because(attachment.want.slot),
        }
        self._log.info("device.attached", **self._attached[name])

    def _detached(self, name: str) -> None:
        self._inside.discard(name)
        fields = self._attached.pop(name)
        # The cause of the attachment is not the cause of its end.
        fields.pop("cause", None)
        self._log.info("device.detached", **fields, **self._because(_slot(fields)))

    def _fields(self, change: Change) -> Fields:
        name = change.entry.name
        known = self._attached.get(name) if change.want is None else {ABOUT: change.want.device}
        found = {
            **(known or about_entry(change.entry)),
            "device": change.device,
            "identity": change.entry.config.get(MARK_DEVICE, ""),
            "rule": change.rule,
            "instance": self._instance,
            "action": change.action,
            "entry": name,
            "path": target_of(change.entry),
        }
        found.pop("cause", None)
        slot = change.want.slot if change.want is not None else slot_of(change.entry)
        return found | self._because(slot, "inside" if change.action == "repair" else None)

    def _because(self, slot: str, otherwise: Cause | None = None) -> Fields:
        cause = self._causes.get(slot, self._cause) or otherwise
        return {"cause": cause} if cause is not None else {}


def _slot(fields: Fields) -> str:
    device = fields.get(ABOUT)
    return device.slot if isinstance(device, Device) else str(fields.get("slot", ""))
