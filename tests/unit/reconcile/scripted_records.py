"""udev's records of a reconciler in virtual time: those inside, and the notes of where there may be some."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from hotplugd.model.uevent import UdevRecord
from hotplugd.model.values import InstanceName
from tests.support.virtual import later, now


@dataclass(slots=True)
class ScriptedDatabase:
    """The records of udev's that are inside.

    kept    the slots of the devices that have one, and what they say, by instance
    calls   when it was asked to keep how many
    takes   how long it takes, in seconds
    judge   raises what keeping fails with
    """

    kept: dict[InstanceName, dict[str, UdevRecord]] = field(default_factory=dict)
    calls: list[tuple[float, int]] = field(default_factory=list)
    takes: float = 0.0
    judge: Callable[[InstanceName], None] = lambda _: None

    async def keep(self, name: InstanceName, records: Iterable[UdevRecord]) -> None:
        found = {each.device.slot: each for each in records}
        self.calls.append((now(), len(found)))
        await later(self.takes)
        self.judge(name)
        self.kept[name] = found


class ScriptedRecordNotes:
    """In which instances there may be records. before: as the process before noted it."""

    def __init__(self) -> None:
        self.there: set[InstanceName] = set()
        self.before: set[InstanceName] = set()

    def names(self) -> set[InstanceName]:
        return self.before

    def take(self, name: InstanceName) -> bool:
        found = name in self.before
        self.before.discard(name)
        return found

    def note(self, name: InstanceName, *, there: bool) -> None:
        (self.there.add if there else self.there.discard)(name)
