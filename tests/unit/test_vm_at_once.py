"""Groups of the virtual machine at once: how many, what is printed, and that none is left running."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from tests.support.lab.stop import clean_up_when_told_to_end
from tests.support.lab.wait import ended, eventually
from tests.vm.at_once import at_once

# Says which it is, waits until the files that are named exist, and says it again.
_MEETS = """
import pathlib, sys, time
name, code, *others = sys.argv[1:]
print(name, "begins", flush=True)
pathlib.Path(name).touch()
while not all(pathlib.Path(each).exists() for each in others):
    time.sleep(0.002)
print(name, "ends")
sys.exit(int(code))
"""


def meets(name: str, code: int, *others: str) -> tuple[str, ...]:
    return (sys.executable, "-c", _MEETS, name, str(code), *others)


def test_two_run_at_once_and_each_is_printed_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert at_once(2, [meets("a", 0, "b", "c"), meets("b", 3, "a"), meets("c", 4)]) == 3
    printed = capfd.readouterr().out.splitlines()
    assert sorted(printed[::2]) == ["a begins", "b begins", "c begins"]
    assert [each.replace("begins", "ends") for each in printed[::2]] == printed[1::2]


def test_one_after_the_other_where_one_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert at_once(1, [meets("a", 0), meets("b", 0, "a")]) == 0
    assert capfd.readouterr().out.split("\n") == ["a begins", "a ends", "b begins", "b ends", ""]


def test_what_runs_when_it_is_told_to_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    waits = "import os, time; open('pid', 'w').write(f'{os.getpid()}\\n'); time.sleep(60)"
    asks = (
        "import os, pathlib, signal, time\n"
        "while not (pid := pathlib.Path('pid')).exists() or not pid.read_text().endswith('\\n'):\n"
        "    time.sleep(0.002)\n"
        "os.kill(os.getppid(), signal.SIGUSR1)\n"
        "time.sleep(60)"
    )
    before = signal.getsignal(signal.SIGUSR1)
    clean_up_when_told_to_end(signal.SIGUSR1)
    try:
        with pytest.raises(KeyboardInterrupt):
            at_once(2, [(sys.executable, "-c", each) for each in (waits, asks)])
    finally:
        signal.signal(signal.SIGUSR1, before)
    pid = int((tmp_path / "pid").read_text())
    eventually(lambda: ended(pid))
    assert pid != os.getpid()
