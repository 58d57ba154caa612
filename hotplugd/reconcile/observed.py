"""The observed state of one instance: what was seen inside, and when to look again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from hotplugd.aio.backoff import LONG_AGO, NEVER, Retry
from hotplugd.aio.pace import Pace
from hotplugd.model import entry as entries
from hotplugd.model.values import Inside
from hotplugd.plan.change import Attachment
from hotplugd.plan.kinds.kind import Want

# The shortest time between two looks, in seconds: a mount table may change all the time.
_PAUSE: Final = 0.2
# This many looks in a row go at once; then one goes in this many seconds.
_FREE_LOOKS: Final = 60
_LOOK: Final = 1.0
_FAILED_PAUSES: Final = (0.2, 30.0)
# A user or group that the instance lacks, and an interface's name that is taken, are looked up again after
# this many seconds.
_NAME_PAUSE: Final = 10.0


BUSY: Final = (
    f"it restarts, or something is mounted and unmounted in there, all the time: it is looked into once in "
    f"{_LOOK:.0f} s until it is calm, and a node that is lost is put back later; end what does that inside"
)


class Observed:
    """What was seen inside, and whether it may be out of date.

    inside   None if nothing was seen since the instance started
    also     paths to look at besides those of attached devices
    """

    def __init__(self) -> None:
        self.inside: Inside | None = None
        self.also: frozenset[str] = frozenset()
        self._retry = Retry()
        self._pace = Pace(_FREE_LOOKS, _LOOK)
        # The next look verifies a request of ours, and does not wait.
        self._asked = False
        self._at = LONG_AGO
        # A look that began before `_epoch` changed proves nothing; `_old` only asks for another look.
        self._epoch = 0
        self._old = False
        # Whether an interface may have another name than was seen.
        self._names_old = True

    def forget(self) -> None:
        """Drop what was seen: it does not count any more."""
        self.inside = None
        self._names_old = True
        self._epoch += 1
        self._retry.reset()

    def look_again(self) -> None:
        """Take note that the inside may have changed."""
        self._old = True

    def changed(self, targets: Iterable[str]) -> None:
        """Take note that a request changes these targets, changed them or failed to."""
        self._epoch += 1
        gone = set(targets)
        # Requests are limited themselves: looks that verify them do not wait.
        self._retry.until = LONG_AGO
        self._asked = True
        is_name = not all(map(entries.is_path, gone))
        self._names_old |= is_name
        if self.inside is not None:
            # An entry of a GPU does not say where its nodes are.
            nodes = {path: node for path, node in self.inside.nodes.items() if not gone & {path, ""}}
            self.inside = replace(self.inside, nodes=nodes)
            if is_name:
                self.inside = replace(self.inside, interfaces=None, folders=None)

    def paths(self, attachments: Iterable[Attachment]) -> list[str]:
        """The paths to look at, given what is attached."""
        attached = {
            attachment.want.target for attachment in attachments if entries.is_path(attachment.want.target)
        }
        return sorted(attached | self.also)

    def next(
        self, attachments: Iterable[Attachment], wants: Iterable[Want], *, interfaces: bool = False
    ) -> float:
        """When to look: a time in the past, in the future, or NEVER.

        interfaces  whether the look has to tell which interfaces are inside
        """
        wanted = list(wants)
        if not (wanted or self.also or interfaces):
            return NEVER
        inside = self.inside
        if inside is None or inside.error or self._old:
            return self._due
        attached = list(attachments)
        if any(path not in inside.nodes for path in self.paths(attached)):
            return self._due
        if inside.folders is None and interfaces:
            return self._due
        if not self.knows_names and any(want.kind.has_name for want in wanted):
            return self._due
        missing = any(
            (want.attach.user is not None and inside.users.get(want.attach.user) is None)
            or (want.attach.group is not None and inside.groups.get(want.attach.group) is None)
            for want in wanted
        )
        placed = {attachment.want.target for attachment in attached}
        taken = any(
            want.kind.has_name and want.target not in placed and want.target in (inside.interfaces or ())
            for want in wanted
        )
        return self._at + _NAME_PAUSE if missing or taken else NEVER

    @property
    def knows_names(self) -> bool:
        """Whether somebody has looked which names of interfaces are taken since any of ours changed."""
        return not self._names_old

    @property
    def _due(self) -> float:
        return self._retry.until if self._asked else max(self._retry.until, self._pace.due)

    def is_busy(self, now: float) -> bool:
        """Whether looks have to wait, since the inside changes all the time."""
        return self._pace.is_short(now)

    @property
    def calm_at(self) -> float:
        """When looks need not wait any more, if the inside does not change again."""
        return self._pace.calm_at

    def begin(self, now: float) -> int:
        """A look begins. Returns its epoch, for `seen`."""
        self._old = False
        if not self._asked:
            self._pace.done(now)
        self._asked = False
        return self._epoch

    def seen(self, begun: int, inside: Inside, now: float) -> bool:
        """Take the result of a look at all `paths`. Returns whether it counts.

        It does not count if a request changed something meanwhile, or if the look failed.
        """
        if begun != self._epoch:
            self._old = True
            return False
        self.inside, self._at, self._names_old = inside, now, False
        if inside.error:
            self._retry.failed(inside.error, now, *_FAILED_PAUSES)
            return False
        self._retry.reset()
        self._retry.until = now + _PAUSE
        return True
