"""The paths and names inside one instance that are taken, and what has taken each. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hotplugd.model.text import quoted
from hotplugd.model.values import Entry, Instance
from hotplugd.plan.foreign_entries import targets_of
from hotplugd.plan.identity import hardware
from hotplugd.plan.kinds.kind import Want
from hotplugd.rules.keys import PORT, SERIAL


class Targets:
    """The taken paths and names of one instance.

    foreign  by each target that an entry has that is not ours: that entry's name
    """

    def __init__(self, instance: Instance, others: Iterable[Entry]) -> None:
        """others: the instance's entries that are not ours"""
        self._instance = instance
        self.foreign = {target: each.name for each in others for target in targets_of(each) if target}
        self._taken: dict[str, Want | str] = {}

    def take(self, target: str, holder: Want | str) -> None:
        """Note who has the target: a device, or a holder that a text describes."""
        self._taken[target] = holder

    def take_all(self, want: Want) -> None:
        """Note that the device has its target and its links."""
        if want.target:
            for each in (want.target, *want.links):
                self._taken[each] = want

    def is_of_another(self, target: str, wants: Sequence[Want]) -> bool:
        """Whether somebody else than these devices has the target."""
        holder = self._taken.get(target)
        return holder is not None and not any(holder is each for each in wants)

    def occupied(self, want: Want) -> str:
        """What is where the device or its links should be, as a sentence; empty where nothing is."""
        who = self._instance.id
        if want.target and (holder := self._taken.get(want.target)):
            return f"{want.target} in {who} is taken by {_named(holder)}"
        for link in want.links:
            if holder := self._taken.get(link) or self.foreign.get(link):
                leads = isinstance(holder, Want) and link in holder.links
                where = f"already leads to {_named(holder)}" if leads else f"is where {_named(holder)} is"
                return f"the link {link} in {who} {where}{_same_serial(want, holder)}"
        return ""


def _named(holder: Want | str) -> str:
    """The holder of a target in words; a device with what people find it by."""
    if isinstance(holder, str):
        return holder
    said = [f"rule '{holder.rule.name}'"]
    said += [f"serial '{quoted(each)}'" for each in SERIAL.values(holder.device)[:1]]
    said += [f"port {quoted(each)}" for each in PORT.values(holder.device)[:1]]
    return f"{holder.device} ({', '.join(said)})"


def _same_serial(want: Want, holder: Want | str) -> str:
    """A note that both devices have one serial number; empty where they do not."""
    own = SERIAL.values(want.device)[:1]
    if isinstance(holder, str) or not own or own != SERIAL.values(holder.device)[:1]:
        return ""
    if hardware(want.device).syspath == hardware(holder.device).syspath:
        return ""
    return f"; two devices have the serial '{quoted(own[0])}'"
