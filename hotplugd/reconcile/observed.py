"""What is known of one instance's inside, and when to look again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from hotplugd.aio.backoff import LONG_AGO, NEVER, Retry
from hotplugd.aio.pace import Pace
from hotplugd.model import entry as entries
from hotplugd.model.values import Inside
from hotplugd.plan.desired import Want
from hotplugd.plan.planner import Attachment

# A busy mount table inside is looked at no more often than this, in seconds.
_PAUSE: Final = 0.2
# One that never rests is looked at so often in a row, and then once in so many seconds.
_FREE_LOOKS: Final = 60
_LOOK: Final = 1.0
_FAILED_PAUSES: Final = (0.2, 30.0)
# A user or group that an instance lacks is looked for again after this many seconds.
_NAME_PAUSE: Final = 10.0


BUSY: Final = (
    f"it restarts, or something is mounted and unmounted in there, all the time: it is looked into once in "
    f"{_LOOK:.0f} s until it is calm, and a node that is lost is put back later; end what does that inside"
)


class Observed:
    """What was seen inside, and whether it may be old.

    inside   None where nothing was seen of the present init
    also     further paths at which somebody wants to know what is there
    """

    def __init__(self) -> None:
        self.inside: Inside | None = None
        self.also: frozenset[str] = frozenset()
        self._retry = Retry()
        self._pace = Pace(_FREE_LOOKS, _LOOK)
        # What a request of ours did is to be seen, for which nothing waits.
        self._asked = False
        self._at = LONG_AGO
        # What was seen before `_epoch` counted on is no proof; `_old` only asks for another look.
        self._epoch = 0
        self._old = False

    def forget(self) -> None:
        """Something else is asked: nothing counts that was seen."""
        self.inside = None
        self._epoch += 1
        self._retry.reset()

    def look_again(self) -> None:
        """What is inside may have changed."""
        self._old = True

    def changed(self, places: Iterable[str]) -> None:
        """A request is about to change what is at these places, or did, or tried to."""
        self._epoch += 1
        gone = set(places)
        # Requests are paced themselves: what they did is looked at without waiting.
        self._retry.until = LONG_AGO
        self._asked = True
        if self.inside is not None:
            # Where a GPU's nodes are its entry does not say.
            nodes = {path: node for path, node in self.inside.nodes.items() if not gone & {path, ""}}
            self.inside = replace(self.inside, nodes=nodes)
            if not all(map(entries.is_path, gone)):
                self.inside = replace(self.inside, interfaces=None, folders=None)

    def paths(self, attachments: Iterable[Attachment]) -> list[str]:
        """Where to look, given what is attached."""
        attached = {each.want.place for each in attachments if entries.is_path(each.want.place)}
        return sorted(attached | self.also)

    def next(
        self, attachments: Iterable[Attachment], wants: Iterable[Want], *, interfaces: bool = False
    ) -> float:
        """When to look: a time that is past, one to come, or never for all that is known now.

        interfaces  whether it is to be known which interfaces are inside
        """
        wanted = list(wants)
        if not (wanted or self.also or interfaces):
            return NEVER
        inside = self.inside
        if inside is None or inside.error or self._old:
            return self._due
        found = list(attachments)
        if any(path not in inside.nodes for path in self.paths(found)):
            return self._due
        if inside.folders is None and interfaces:
            return self._due
        missing = any(
            (each.attach.user is not None and inside.users.get(each.attach.user) is None)
            or (each.attach.group is not None and inside.groups.get(each.attach.group) is None)
            for each in wanted
        )
        return self._at + _NAME_PAUSE if missing else NEVER

    @property
    def _due(self) -> float:
        return self._retry.until if self._asked else max(self._retry.until, self._pace.due)

    def is_busy(self, now: float) -> bool:
        """Whether what is inside changes all the time, and is seen late for that."""
        return self._pace.is_short(now)

    def begin(self, now: float) -> int:
        """A look begins. Returns what `seen` has to be told."""
        self._old = False
        if not self._asked:
            self._pace.done(now)
        self._asked = False
        return self._epoch

    def seen(self, begun: int, inside: Inside, now: float) -> bool:
        """Take note of what a look at all `paths` has seen. Returns whether it says what is there.

        Nothing counts of it if something was changed meanwhile: it may be what was there before.
        """
        if begun != self._epoch:
            self._old = True
            return False
        self.inside, self._at = inside, now
        if inside.error:
            self._retry.failed(inside.error, now, *_FAILED_PAUSES)
            return False
        self._retry.reset()
        self._retry.until = now + _PAUSE
        return True
