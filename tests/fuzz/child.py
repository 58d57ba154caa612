"""One target under atheris, in a process of its own: libFuzzer ends the process when it is done.

`python -m tests.fuzz.child TARGET CASES SECONDS SEED REPORT`: writes what came of it there as JSON.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol, cast

_LONGEST = 600
_LIMIT = 1.0
_TRIES = 9
_HANGS = 60
# In KiB. Caches that fill up and what libFuzzer keeps take 2 MiB after a tenth of the cases, few or many.
_GROWTH = 8 << 10


_SCHEDULED = os.open("/proc/thread-self/schedstat", os.O_RDONLY | os.O_CLOEXEC)


class _Atheris(Protocol):
    def instrument_imports(self, include: Sequence[str]) -> AbstractContextManager[None]: ...

    def Setup(self, words: Sequence[str], run: Callable[[bytes], None]) -> object: ...  # noqa: N802

    def Fuzz(self) -> None: ...  # noqa: N802


def memory() -> int:
    """What this process has in memory, in KiB (proc(5): VmRSS)."""
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError("no VmRSS")


def waited() -> float:
    """The seconds for which this thread was ready to run, and did not (Linux: scheduler/sched-stats.rst)."""
    return int(os.pread(_SCHEDULED, 64, 0).split()[1]) / 1e9


class _Watch:
    """Runs the cases, one after the other, and keeps count."""

    def __init__(self, run: Callable[[bytes], None], cases: int, seconds: float, report: Path) -> None:
        self._run = run
        self._cases = cases
        self._report = report
        self._until = time.monotonic() + seconds
        self._begun = time.monotonic()
        self._count = 0
        self._slowest = 0.0
        self._first = 0

    def __call__(self, data: bytes) -> None:
        took = self._timed(data)
        for _ in range(_TRIES):
            # A machine that others keep busy takes long now and then; what blocks does each time.
            if took > _LIMIT:
                took = min(took, self._timed(data))
        self._slowest = max(self._slowest, took)
        if took > _LIMIT:
            self._end(f"a case took {took:.1f} s, and {_TRIES} times again", data)
        self._count += 1
        if self._count == max(1, self._cases // 10):
            self._first = memory()
        if self._count >= self._cases or time.monotonic() > self._until:
            self._end()

    def _timed(self, data: bytes) -> float:
        """The seconds that a case takes, less those in which others had the processor."""
        began, before = time.monotonic(), waited()
        try:
            self._run(data)
        except Exception:  # noqa: BLE001  # that there is none is what is tested
            self._end(traceback.format_exc(), data)
        return time.monotonic() - began - (waited() - before)

    def _end(self, finding: str = "", data: bytes = b"") -> None:
        last = memory()
        if not finding and self._first and last > self._first + _GROWTH:
            finding = f"it grew from {self._first} to {last} KiB"
        seconds = time.monotonic() - self._begun
        self._report.write_text(
            json.dumps(
                {
                    "cases": self._count, "seconds": seconds, "slowest": self._slowest, "first": self._first,
                    "last": last,
                    "finding": finding, "data": data.hex(),
                }
            )
        )  # fmt: skip
        os._exit(1 if finding else 0)


def main() -> None:
    """Run one target."""
    name, cases, seconds, seed, report = sys.argv[1:]
    atheris = cast("_Atheris", importlib.import_module("atheris"))
    with atheris.instrument_imports(include=["hotplugd", "yaml"]):
        targets = importlib.import_module("tests.fuzz.targets")
    target = targets.TARGETS[name]
    with tempfile.TemporaryDirectory(prefix="hpf-") as folder:
        corpus = Path(folder, "corpus")
        corpus.mkdir()
        for number, start in enumerate(target.seeds):
            (corpus / str(number)).write_bytes(start)
        options = [
            f"-max_len={_LONGEST}",
            f"-timeout={_HANGS}",
            "-rss_limit_mb=1024",
            "-len_control=10",
            f"-seed={seed}",
        ]
        options += [f"-artifact_prefix={folder}/", "-verbosity=0", "-print_final_stats=0"]
        if target.words:
            words = Path(folder, "words")
            words.write_text("".join(f'"{_escaped(each)}"\n' for each in target.words))
            options.append(f"-dict={words}")
        watch = _Watch(target.run, int(cases), float(seconds), Path(report))
        atheris.Setup([sys.argv[0], *options, str(corpus)], watch)
        atheris.Fuzz()


def _escaped(word: str) -> str:
    return "".join(f"\\x{each:02x}" for each in word.encode("utf-8", "surrogatepass"))


if __name__ == "__main__":
    main()
