"""How long nothing is sent for one instance: after a failure, and while somebody stops or makes it. Pure.

A user who stops or creates an instance often goes on (restore, rename, start), and the server refuses that
while it carries out an update of ours. No update is urgent for an instance that does not run.
"""

from __future__ import annotations

from typing import Final

from hotplugd.aio.backoff import LONG_AGO, NEVER, Retry
from hotplugd.model.ports import Busy, Gone, ServerError
from hotplugd.model.values import Instance
from hotplugd.reconcile.holds import Wait
from hotplugd.reconcile.restarts import RESTARTS_WHY

_HANDS_OFF: Final = 1.0
HANDS_OFF_WHY: Final = (
    f"it was stopped or made less than {_HANDS_OFF:.0f} s ago, and whoever did that may be about to do more"
)
# The server announces an instance when it begins to create it, and not when it is complete. It refuses
# updates meanwhile, but for no more than 30 s (LXD: lxd/instance/operationlock). An instance that is never
# reported as complete counts as complete after this many seconds.
_MAKING: Final = 600.0

# The first pause, and the longest.
_BUSY: Final = (0.1, 5.0)
_FAILED: Final = (0.1, 30.0)
_STOPPED: Final = (_HANDS_OFF, 5.0)
# Short, however often something else failed before: there may be a new instance of that name.
_GONE: Final = (0.1, 0.1)


class ServerBackoff:
    """Pauses that grow with each failure until a request succeeds. Times are the event loop's, in seconds.

    until     nothing is sent before
    retry_at  when the failed request is tried again; the failure is reported until then
    ask_at    no question is asked before
    look_at   when the server is to be asked whether the instance has changed since it was stopped or created
    """

    def __init__(self) -> None:
        self.until = self.retry_at = self.ask_at = LONG_AGO
        self.look_at = NEVER
        self._retry = Retry()
        # The error of the last request, and whether an event came since: then a question does not wait.
        self._failure: ServerError | None = None
        self._heard = False
        # Until then nothing is sent to an instance that does not run, and why where the server said so.
        self._hands_off = LONG_AGO
        self._hands_off_why = HANDS_OFF_WHY
        # Whether that is because the server creates the instance.
        self._making = False
        self._learned = LONG_AGO
        # An instance that appears and is complete was created just now.
        self._new = True

    @property
    def message(self) -> str:
        """What the server said, or empty."""
        return self._retry.message

    def waits(self) -> list[Wait]:
        """What every change of the instance has to wait for; some of it may be over."""
        making = Wait(self._hands_off, "its server still makes it", "its server has made it")
        return [
            Wait(self._retry.until, self._retry.message),
            making if self._making else Wait(self._hands_off, self._hands_off_why),
        ]

    def listed(self) -> None:
        """Instances were listed, so the server answers. Those that the first listing names are not new."""
        self.reset()
        self._new = self._new and self._learned > LONG_AGO

    def learned(self, before: Instance | None, actual: Instance | None, now: float, restarts: float) -> None:
        """Take note of the instance's state before and now. restarts: until when it may be in a restart"""
        if actual is None or actual.running or not actual.known:
            self._hands_off, self._making = LONG_AGO, False
        elif before is None and not actual.made:
            self._hands_off, self._making = now + _MAKING, True
        elif actual.restarts:
            self._hands_off, self._hands_off_why, self._making = restarts, RESTARTS_WHY, False
        elif self._new if before is None else _is_over(before, actual):
            self._hands_off, self._making = now + _HANDS_OFF, False
            self._hands_off_why = HANDS_OFF_WHY
        self._learned, self._new = now, actual is None
        self._set()

    def failed(self, error: ServerError, now: float, *, asking: bool, runs: bool) -> tuple[float, bool]:
        """A request failed, or a question (asking), about an instance that runs, or may.

        Returns the seconds to wait, and whether what the server said is new.
        """
        stopped = isinstance(error, Busy) and not asking and not runs
        gone = isinstance(error, Gone)
        pauses = _FAILED
        if gone and not isinstance(self._failure, Gone):
            pauses = _GONE
        elif isinstance(error, Busy):
            pauses = _STOPPED if stopped else _BUSY
        self._failure, self._heard = None if asking else error, gone
        pause, new = self._retry.failed(str(error), now, *pauses)
        if stopped:
            # Unless it starts, of which an event will tell.
            self._hands_off, self._hands_off_why = self._retry.until, self._retry.message
            self._retry.until = LONG_AGO
        self._set()
        return pause, new

    def heard(self) -> None:
        """An event concerns the instance."""
        self._heard = isinstance(self._failure, Busy | Gone)
        self._set()

    def asked(self) -> None:
        """The server is asked for the instance."""
        self._heard = False
        self._set()

    def wait(self, until: float) -> None:
        """Send nothing before this time."""
        self._retry.until = until
        self._set()

    def end(self) -> None:
        """End the wait after a failure."""
        self._retry.until = LONG_AGO
        self._set()

    def reset(self) -> None:
        """The server did what was asked, or answers again."""
        self._retry.reset()
        self._set()

    def _set(self) -> None:
        retry, hands_off, learned = self._retry.until, self._hands_off, self._learned
        self.until, self.retry_at = max(retry, hands_off), retry
        self.ask_at = LONG_AGO if self._heard else retry
        self.look_at = min(hands_off, learned + _HANDS_OFF) if learned < hands_off else NEVER


def _is_over(before: Instance, actual: Instance) -> bool:
    """Whether the server is done by now with what it did to an instance: a stop, or making it."""
    return before.running or before.restarts or before.made != actual.made
