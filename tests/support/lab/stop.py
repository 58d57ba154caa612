"""Being told to end goes through every clean-up, once."""

from __future__ import annotations

import signal
from types import FrameType


def clean_up_when_told_to_end(*numbers: signal.Signals) -> None:
    """From now on these signals raise KeyboardInterrupt: the first of them, and none after it.

    Whoever is impatient presses Ctrl-C again, and would else stop the clean-up half-way.
    """

    def interrupt(number: int, _: FrameType | None) -> None:
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt(signal.Signals(number).name)

    for each in numbers:
        signal.signal(each, interrupt)


def finish_undisturbed(*numbers: signal.Signals) -> None:
    """From now on these signals are ignored: what is left to do is the clean-up."""
    for each in numbers:
        signal.signal(each, signal.SIG_IGN)
