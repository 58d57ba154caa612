"""`python -m tests.farm [--seed N] [--events N] [--allocations N]`: a farm's long day; allocation alone.

The day is of consoles for phones, and of containers of a private server. Exit code 0 if all was right at
each quiet moment, nothing was left in the end, and each allocation was right; else 1, with the events so far.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from signal import Signals
from statistics import median
from typing import Final

from tests.farm import allocation
from tests.farm.consoles import Consoles, farm, live
from tests.farm.day import Day
from tests.support.lab.stop import clean_up_when_told_to_end
from tests.support.lab.udevd import udevd

_BUILD: Final = Path(__file__).parents[2] / "build" / "farm"
_DEFECT: Final = '"defect"'


def main() -> int:
    """Run both. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.farm", description="A long day of a farm.")
    parser.add_argument("--seed", type=int, default=1, help="other events in another order")
    parser.add_argument("--events", type=int, default=2_000, help="of the day")
    parser.add_argument("--allocations", type=int, default=100_000, help="events of allocation alone")
    options = parser.parse_args()
    clean_up_when_told_to_end(Signals.SIGTERM, Signals.SIGHUP)
    begun = time.monotonic()
    given = allocation.live(options.seed, options.allocations)
    _print(
        f"allocation alone: {options.allocations:,} events, seed {options.seed}: {given:,} leases, all was "
        f"right, in {time.monotonic() - begun:.0f} s"
    )
    if not options.events:
        return 0
    with udevd(), farm() as lab:
        return _day(lab, options.seed, options.events)


def _day(lab: Consoles, seed: int, events: int) -> int:
    begun = time.monotonic()
    try:
        day = live(lab, seed, events)
        assert _DEFECT not in lab.daemon.log(), f"the log has {_DEFECT}"
    except Exception as error:
        _BUILD.mkdir(parents=True, exist_ok=True)
        (_BUILD / "hotplugd.log").write_text(lab.daemon.log())
        (_BUILD / "server.log").write_text(lab.server.tail(1_000_000))
        error.add_note(f"the logs are in {_BUILD}")
        raise
    _print(_told(day, time.monotonic() - begun))
    return 0


def _told(day: Day, seconds: float) -> str:
    done, rests = day.diary.done, day.diary.rests
    return (
        f"a day of {day.state.events:,} events, seed {day.diary.seed}, {len(day.model.devices)} consoles: "
        f"all was right at each of {len(rests)} quiet moments, and nothing was left, in {seconds:.0f} s\n"
        f"until all was right: median {median(rests):.1f} s, worst {max(rests):.1f} s\n"
        f"events: {', '.join(f'{count} {name}' for name, count in sorted(done.items()))}"
    )


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
