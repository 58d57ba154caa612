"""`python -m tests.fuzz [--cases N] [--seconds S] [--seed X] [TARGET…]`: fuzzes with atheris.

N is for all targets together, S for each of them; another X makes other cases.
Prints a table. Exit code 1 where something was found, or where time ran out before so many cases.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz.targets import TARGETS

_FAST = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
# Seconds until a target begins, at the most: what it imports is instrumented, which others may delay.
_BEGINS = 900
_HEAD = ("target", "cases", "seconds", "cases/s", "MiB at 10 %", "MiB at the end", "slowest ms")


def main() -> int:
    """Run the targets, one after the other."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--cases", type=int, default=1_000_000, help="of all targets together")
    parser.add_argument("--seconds", type=float, default=900, help="of each target at the most")
    parser.add_argument("--seed", type=int, default=7, help="of the choices")
    parser.add_argument("target", nargs="*", choices=[*TARGETS, []], help="all, if none is named")
    options = parser.parse_args()
    if importlib.util.find_spec("atheris") is None:
        sys.stderr.write(
            "python -m tests.fuzz: atheris is not installed; it has wheels for Python 3.11 to 3.13\n"
        )
        return 2
    names = options.target or list(TARGETS)
    shares = sum(TARGETS[name].share for name in names)
    _say(_line(_HEAD))
    total, found, short = 0, False, list[str]()
    for name in names:
        cases = -(-options.cases * TARGETS[name].share // shares)
        done = _one(name, cases, options.seconds, options.seed)
        total += int(done["cases"])
        seconds = max(float(done["seconds"]), 0.001)
        _say(
            _line(
                (
                    name, str(done["cases"]), f"{seconds:.0f}", f"{int(done['cases']) / seconds:.0f}",
                    f"{int(done['first']) / 1024:.0f}", f"{int(done['last']) / 1024:.0f}",
                    f"{float(done['slowest']) * 1000:.0f}",
                )
            )
        )  # fmt: skip
        if done["finding"]:
            found = True
            _say(f"  {done['finding']}\n  bytes.fromhex({done['data']!r})")
        elif int(done["cases"]) < cases:
            short.append(f"{name} ran {done['cases']} of {cases} cases")
    _say(f"{total} cases, {'with findings' if found else 'nothing found'}")
    if short:
        _say(f"{options.seconds:.0f} s for each were too few: {'; '.join(short)}")
    return 1 if found or short else 0


def _one(name: str, cases: int, seconds: float, seed: int) -> dict[str, str | int | float]:
    # In memory, where there is such a place; what the child leaves goes with it.
    with tempfile.TemporaryDirectory(prefix="hpf-", dir=_FAST) as folder:
        report = Path(folder, "report")
        words = [sys.executable, "-m", "tests.fuzz.child", name]
        words += [str(cases), str(seconds), str(seed), str(report)]
        try:
            ended = subprocess.run(
                words,
                capture_output=True,
                check=False,
                timeout=seconds + _BEGINS,
                env={**os.environ, "TMPDIR": folder},
            )
            said = ended.stderr.decode("utf-8", "replace")[-500:]
        except subprocess.TimeoutExpired:
            said = "it did not end"
        if report.exists():
            done: dict[str, str | int | float] = json.loads(report.read_text())
            return done
        return {"cases": 0, "seconds": 0, "slowest": 0, "first": 0, "last": 0, "finding": said, "data": ""}


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _line(cells: tuple[str, ...]) -> str:
    first, *rest = cells
    return "  ".join(
        (first.ljust(16), *(cell.rjust(len(head)) for cell, head in zip(rest, _HEAD[1:], strict=True)))
    )


if __name__ == "__main__":
    sys.exit(main())
