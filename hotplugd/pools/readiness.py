"""When a device that is attached is looked at inside, and what follows from what is found. Pure.

    Watch x Answer x time -> Watch     `Watch.answered`

It is looked at until it is ready, and now and then afterwards. One that is not ready for as long as `within`
is bad, and is given to nobody who has it not. Where nobody can tell, that says nothing of the device.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

from hotplugd.model.ports import Ran
from hotplugd.model.text import quoted
from hotplugd.pools import adb
from hotplugd.rules.pool_health import Ready

ONCE_READY: Final = 60.0
"""So many seconds after it was ready a device is looked at again, or after `every` where that is longer."""

_MOST_PAUSE: Final = 300.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What was found inside.

    ready   None: nobody can tell
    reason  why it is not ready, or why nobody can tell; the same text while it is the same
    wrong   whether somebody has to do something
    slow    the command was killed: each time it may leave a process behind, so it is asked less often
    """

    ready: bool | None
    reason: str = ""
    wrong: bool = True
    slow: bool = False


@dataclass(frozen=True, slots=True)
class Watch:
    """A device that is attached, as it is looked at.

    due      when it is looked at again
    unready  since when it is not ready; None where it is, or nobody can tell
    answer   what was found last
    state    its health
    """

    ready: Ready
    due: float
    unready: float | None = None
    answer: Answer | None = None
    state: Literal["good", "unknown", "bad"] = "unknown"
    slow: int = 0

    def answered(self, answer: Answer, now: float) -> Watch:
        """The watch after this answer."""
        if answer.ready:
            pause = max(self.ready.every, ONCE_READY)
            return Watch(self.ready, now + pause, answer=answer, state="good")
        slow = self.slow + 1 if answer.slow else 0
        due = now + min(self.ready.every * 2**slow, max(_MOST_PAUSE, self.ready.every))
        if answer.ready is None:
            if self.state == "bad":
                # A job that ends has ended its adb server before: the phone is as bad as it was, and why.
                return replace(self, due=due, slow=slow)
            return Watch(self.ready, due, answer=answer, slow=slow)
        since = self.unready if self.unready is not None else now
        is_bad = now - since >= self.ready.within
        return replace(
            self,
            due=due if is_bad else min(due, max(since + self.ready.within, now + 1)),
            unready=since,
            answer=answer,
            state="bad" if is_bad else "unknown",
            slow=slow,
        )


def of_command(ran: Ran) -> Answer:
    """What a command's end says of its device."""
    if ran.code is None:
        return Answer(ready=False, reason=f"the command was killed: {ran.why}{_first(ran)}", slow=True)
    if ran.code == 0:
        return Answer(ready=True)
    return Answer(ready=False, reason=f"the command exited with {ran.code}{_first(ran)}")


def of_adb(ran: Ran, serial: str, port: str) -> Answer:
    """What the answer of the adb server inside says of a phone. serial, port: as in `adb.state_of`."""
    phones = adb.listed(ran.output)
    if phones is None and ran.code is None:
        return Answer(None, "the adb server inside does not answer", slow=True)
    if phones is None:
        return Answer(None, "no adb server runs inside", wrong=False)
    why = adb.told(adb.state_of(phones, serial, port))
    return Answer(ready=not why, reason=why)


def _first(ran: Ran) -> str:
    """The first line that a command wrote, as the end of a sentence."""
    line = next(iter(ran.output.decode(errors="replace").strip().splitlines()), "")
    return f": {quoted(line)}" if line else ""
