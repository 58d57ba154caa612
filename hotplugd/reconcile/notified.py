"""What an instance has still to be told of the devices in it. Pure: no I/O, no clock.

An instance is told `add` of a device once the device's node was seen inside, by this daemon and under the
present init: after an attach, and once more after hotplugd or the instance started, since nobody knows what
those inside had heard. They take it as what `udevadm trigger` makes them hear. They are told `remove` once
the entry of a device of which they were told is no more there, nor its node. A node that was lost and is put
back is not told of again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from hotplugd.model.entry import place_of
from hotplugd.model.uevent import Uevent
from hotplugd.model.values import Devnum, Inside, Instance
from hotplugd.plan.planner import Attachment


@dataclass(frozen=True, slots=True)
class Notification:
    """One uevent for one instance, and the entry and rule on whose behalf it is told."""

    uevent: Uevent
    entry: str
    rule: str

    @property
    def key(self) -> tuple[str, str]:
        """An entry's name stands for one enumeration of a device; moved elsewhere inside it is another."""
        return (self.entry, self.uevent.path)


class Notified:
    """What those inside know, in the life of one init."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Notification] = {}

    def forget(self) -> None:
        """There is another init, or none."""
        self._known.clear()

    def note(self, notification: Notification, uevent: Uevent) -> None:
        """They were told this."""
        if uevent.action == "add":
            self._known[notification.key] = Notification(uevent, notification.entry, notification.rule)
        else:
            self._known.pop(notification.key, None)

    def leaving(self, instance: Instance) -> list[Notification]:
        """Of which devices those inside know that the instance has no entry for any more."""
        places = {each.name: place_of(each) for each in instance.entries.values()}
        # Where a GPU's nodes are its entry does not say.
        return [each for (name, path), each in self._known.items() if places.get(name) not in (path, "")]

    def due(
        self, instance: Instance, attachments: Iterable[Attachment], inside: Inside
    ) -> list[Notification]:
        """What to tell now, in this order: what went makes place for what came.

        inside  what was seen since the last change of each path
        """
        here = {
            each.want.place: each
            for each in attachments
            if _has(inside, each.want.place, each.want.device.devnum)
        }
        gone = [
            replace(each, uevent=replace(each.uevent, action="remove"))
            for each in self.leaving(instance)
            if each.uevent.path in here
            or (
                each.uevent.path in inside.nodes
                and not _has(inside, each.uevent.path, each.uevent.device.devnum)
            )
        ]
        come = [
            Notification(Uevent("add", each.want.device, path), each.entry.name, each.want.rule.name)
            for path, each in here.items()
        ]
        return gone + [each for each in come if each.key not in self._known]


def _has(inside: Inside, path: str, number: Devnum | None) -> bool:
    node = inside.nodes.get(path)
    return node is not None and node.devnum == number
