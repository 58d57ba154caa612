"""Whether what is known of one instance may be old, and when the server has to be asked for it. Pure.

Only this file decides it, from events, echoes of our own updates, listings and moves.
"""

from __future__ import annotations

from typing import Final

from hotplugd.aio.backoff import LONG_AGO, NEVER, delay
from hotplugd.aio.pace import Pace

# This many questions in a row go at once; then one goes in this many seconds. Root inside can make the
# server send events without end (LXD: devlxd, PATCH /1.0).
_FREE_QUESTIONS: Final = 10
_QUESTION: Final = 0.1
# After this many the interval is longer.
_MANY_QUESTIONS: Final = 200
_LATE_QUESTION: Final = 1.0
EDITED: Final = (
    f"it is edited, or starts and stops, all the time: the server is asked for it once in "
    f"{_LATE_QUESTION:.0f} s until it is calm; end what does that"
)
# An instance that is gone without an event is asked for this many times more, within half a minute.
_SEARCHES: Final = 6
# A server tells of a move before its database has the new member (5 to 30 ms were measured), and not
# afterwards. So it is asked again as many seconds later, until it answers with another member.
_AFTER_MOVE: Final = (0.1, 0.5, 2.0, 10.0)


class Freshness:
    """How old one instance's state may be. Times are the event loop's, in seconds.

    stale     the server has to be asked before anything else
    echoed    it has to be asked once nothing waits to be sent: the server told of an update of ours
    missed    how often the instance, which was known, was not found
    answered  the server was asked since the last request to change the instance, so that the next one may go:
              where events never end nothing would ever be sent
    known     the server answered at least once
    again_at  when it has to be asked again, though nothing more is heard of it
    """

    def __init__(self, since: float = LONG_AGO) -> None:
        """since: a listing that was requested before this time is out of date."""
        self.stale = False
        self.echoed = False
        self.missed = 0
        self.answered = False
        self.known = False
        # When the last answer came.
        self._learned = since
        self.again_at = NEVER
        # When it is asked again after the instance was moved, in order.
        self._again: tuple[float, ...] = ()
        # The number of our updates for which the server's event has not come yet.
        self._echoes = 0
        self._pace = Pace(_FREE_QUESTIONS, _QUESTION)
        self._slow = Pace(_MANY_QUESTIONS, _LATE_QUESTION)

    def takes_listing(self, asked: float, *, working: bool) -> bool:
        """Whether a listing that was asked for then is newer than what is known; else the server is asked.

        working  a request is under way: the listing may be older than its answer
        """
        if not working and self._learned < asked:
            return True
        self.stale = True
        return False

    def learned(self, now: float, *, moved: bool, exists: bool) -> None:
        """The server answered. moved: the instance is on another member than before; exists: there is one."""
        self._learned, self.known = now, True
        if exists:
            self.missed = 0
        if moved:
            self._ask_again(())

    def sent(self) -> None:
        """An update of ours is sent, of which the server will tell if it is carried out."""
        self._echoes += 1
        self.answered = False

    def is_echo(self) -> bool:
        """Whether the update that the server tells of may be one of ours."""
        if not self._echoes:
            return False
        self._echoes -= 1
        self.echoed = True
        return True

    def expect_nothing(self) -> None:
        """An update that the server tells of from now on is somebody else's.

        Otherwise an echo that was lost would hide the update of another program.
        """
        self._echoes = 0

    def due(self) -> float:
        """When the server may be asked, if it has to be."""
        return max(self._pace.due, self._slow.due)

    def is_busy(self, now: float) -> bool:
        """Whether questions have to wait, since events never end."""
        return self._slow.is_short(now)

    @property
    def calm_at(self) -> float:
        """When questions need not wait any more, if no further event comes."""
        return self._slow.calm_at

    def moved(self, now: float) -> None:
        """The server tells that the instance was moved to another member of the cluster."""
        self._ask_again(tuple(now + after for after in _AFTER_MOVE))

    def _ask_again(self, times: tuple[float, ...]) -> None:
        self._again = times
        self.again_at = times[0] if times else NEVER

    def doubt(self) -> None:
        """Take note that what is known may be out of date, even if the server was just asked."""
        self.stale, self.echoed, self.answered = True, False, False

    def begin(self, now: float) -> None:
        """Take note that the server is asked."""
        self._ask_again(tuple(time for time in self._again if time > now))
        self.stale = self.echoed = False
        self.answered = True
        self._echoes = 0
        self._pace.done(now)
        self._slow.done(now)

    def is_missing(self) -> float | None:
        """The instance is missing. Returns in how many seconds to ask again, None for never."""
        if self.missed >= _SEARCHES:
            return None
        self.missed += 1
        self.stale = True
        return delay(self.missed)
