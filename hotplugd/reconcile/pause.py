"""How long the server is asked for nothing about one instance after it did not do what was asked. Pure."""

from __future__ import annotations

from typing import Final

from hotplugd.aio.backoff import LONG_AGO, Retry
from hotplugd.model.ports import Busy, Gone, ServerError
from hotplugd.reconcile.stopped import HANDS_OFF

# The first pause, and the longest.
_BUSY: Final = (0.1, 5.0)
_FAILED: Final = (0.1, 30.0)
_STOPPED: Final = (HANDS_OFF, 5.0)
# However often something else failed before: there may be another of that name.
_GONE: Final = (0.1, 0.1)


class Pause:
    """After each failure a longer one, until something is done. Times are the event loop's, in seconds."""

    def __init__(self) -> None:
        self._retry = Retry()
        # What the last request failed with; and whether there is word of the instance since, for which a
        # question does not wait.
        self._failure: ServerError | None = None
        self._heard = False

    @property
    def until(self) -> float:
        """Nothing is sent before."""
        return self._retry.until

    @property
    def asks_at(self) -> float:
        """No question is asked before."""
        return LONG_AGO if self._heard else self._retry.until

    @property
    def message(self) -> str:
        """What the server said, or empty."""
        return self._retry.message

    def failed(
        self, error: ServerError, now: float, *, asking: bool = False, stopped: bool = False
    ) -> tuple[float, bool]:
        """A request failed, or a question (asking), about an instance that does not run (stopped).

        Returns the seconds to wait, and whether what the server said is new.
        """
        gone = isinstance(error, Gone)
        pauses = _FAILED
        if gone and not isinstance(self._failure, Gone):
            pauses = _GONE
        elif isinstance(error, Busy):
            pauses = _STOPPED if stopped else _BUSY
        self._failure, self._heard = None if asking else error, gone
        return self._retry.failed(str(error), now, *pauses)

    def heard(self) -> None:
        """There is word of the instance."""
        self._heard = isinstance(self._failure, Busy | Gone)

    def asked(self) -> None:
        """A question is asked."""
        self._heard = False

    def wait(self, until: float) -> None:
        """Nothing is sent before that, whatever failed."""
        self._retry.until = until

    def end(self) -> None:
        """Nothing has to wait."""
        self._retry.until = LONG_AGO

    def reset(self) -> None:
        """The server did what was asked, or everything begins anew."""
        self._retry.reset()
