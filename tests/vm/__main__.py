"""Runs the cases in a virtual machine: `python -m tests.vm [--at-once=COUNT] [RELEASE/][GROUP]...`.

Debian 12 is meant where no release is named. `trixie/` alone means all groups on Debian 13. No word at all
means all groups on both. COUNT groups run at once, each in a guest of its own, in the order of the words; one
where it is left out.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from signal import Signals
from typing import Final

from tests.support.lab.package import packages
from tests.support.lab.stop import clean_up_when_told_to_end
from tests.vm.at_once import at_once
from tests.vm.guest import BOARD, RESULTS, SCRIPT, SYSTEMD, Board, Outcome, boot, make_disk
from tests.vm.image import RELEASES, Image, Release, image, prepare

_AT_ONCE: Final = "--at-once="
_TAIL: Final = 60


@dataclass(frozen=True, slots=True)
class Group:
    """Cases that share a guest: what each boot is to run, one boot after the other with the same disk.

    boots     pytest's arguments, for each
    server    whose it is that the cases start
    deadline  of each boot, in seconds
    disk      whether what the guest writes is on one, which all boots have
    packages  whether the cases want the Debian package, which is built then
    board     what the guest runs on
    """

    boots: tuple[tuple[str, ...], ...]
    init: str = SCRIPT
    server: str = "lxd"
    deadline: float = 1800.0
    disk: bool = False
    packages: bool = False
    board: Board = BOARD


_PYTEST: Final = (
    "python", "-m", "pytest", "-v", "--color=no", "-o", "python_files=case_*.py",
    # An emulated machine is ten times slower than a real one.
    "-o", "cache_dir=/tmp/pytest", "--junitxml=/results/junit.xml", "--timeout=300",
)  # fmt: skip
_CASES: Final = "tests/vm/cases"
_HARDWARE: Final = tuple(
    f"{_CASES}/case_{name}.py" for name in ("hardware", "devices", "udev_records", "radios", "leave")
)
_PAGES: Final = (f"{_CASES}/case_device_pages.py",)
_ATTACKS: Final = tuple(
    f"{_CASES}/case_{name}.py"
    for name in (
        "buses",
        "camera",
        "flapping",
        "forged",
        "interfaces",
        "others",
        "sealed",
        "strangers",
        "udevd",
    )
)
_MACHINES: Final = (f"{_CASES}/case_machines.py", f"{_CASES}/case_machines_pci.py")
_DAY: Final = (f"{_CASES}/case_day.py",)
_PACKAGE: Final = (f"{_CASES}/case_package.py",)
_TIMED: Final = (f"{_CASES}/case_early_timed.py",)
_SHORT: Final = (
    *(f"{_CASES}/case_{name}.py" for name in ("cable", "early", "order", "uevents")),
    f"{_CASES}/case_phones.py::test_adb_to_the_bootloader_and_back",
)
_SEED: Final = os.environ.get("SEED", "1")


def _day(size: str) -> tuple[tuple[str, ...], ...]:
    """The boots of a farm's day of this size."""
    words = (*_DAY, f"--day={size}", f"--seed={_SEED}", "-m")
    return ((*words, "first_boot"), (*words, "second_boot"))


_UNMARKED: Final = "not first_boot and not second_boot and not crashes"
_WITH_LXD: Final = {
    "plain": Group(
        (
            (
                _CASES,
                *(
                    f"--ignore={each}"
                    for each in (*_HARDWARE, *_PAGES, *_ATTACKS, *_MACHINES, *_PACKAGE, *_DAY, *_TIMED)
                ),
                "-m",
                _UNMARKED,
            ),
        ),
    ),
    "attacks": Group(((*_ATTACKS, "-m", "not variant"), (*_ATTACKS, *_HARDWARE, "-m", "variant"))),
    "attacks-in-short": Group(((*_ATTACKS, "-m", "not variant"),)),
    "hardware": Group(((*_HARDWARE, "-m", "not variant"),)),
    "device-pages": Group((_PAGES,)),
    "crashes": Group(((_CASES, "-m", "crashes"),)),
    "reboot": Group(
        ((f"{_CASES}/case_reboot.py", "-m", "first_boot"), (f"{_CASES}/case_reboot.py", "-m", "second_boot")),
        disk=True,
    ),
    "systemd": Group(
        (
            (f"{_CASES}/case_service.py", "-m", "first_boot"),
            (f"{_CASES}/case_service.py", "-m", "second_boot"),
        ),
        init=SYSTEMD,
        disk=True,
    ),
    # SEED in the environment is that of the events.
    "day": Group(_day("whole"), deadline=2400.0, disk=True, board=Board(2560)),
    "day-in-short": Group(_day("short"), disk=True, board=Board(2048)),
    "timed": Group((_TIMED,)),
    "package": Group((_PACKAGE,), init=SYSTEMD, packages=True, board=Board(2560)),
}
_WITH_BOTH: Final = ("plain", "hardware", "device-pages", "systemd")
GROUPS: Final = {
    **_WITH_LXD,
    **{f"{each}-incus": replace(_WITH_LXD[each], server="incus") for each in _WITH_BOTH},
    # What CI runs of it.
    "plain-incus-in-short": Group((_SHORT,), server="incus"),
    # Virtual machines of a server, in this one.
    "machines": Group(
        ((*_MACHINES[:1], "-m", "not variant"),),
        server="incus",
        deadline=720.0,
        disk=True,
        board=Board(4096),
    ),
    # What a server and its QEMU keep of what is gone.
    "machines-left": Group(
        ((*_MACHINES[:1], "-m", "variant"),), server="incus", deadline=720.0, disk=True, board=Board(4096)
    ),
    "machines-pci": Group(
        (_MACHINES[1:],), server="incus", deadline=900.0, disk=True, board=Board(4096, iommu=True)
    ),
}


def main(words: Sequence[str]) -> int:
    """Run what these words name. Returns the exit status: 0 where every case passed."""
    if words and words[0].startswith(_AT_ONCE):
        return _at_once(words[0].removeprefix(_AT_ONCE), words[1:])
    chosen = [each for word in words for each in _runs(word)]
    unknown = [word for word in words if not _runs(word)]
    if unknown:
        print(
            f"vm: expected groups of {', '.join(GROUPS)}, after {'/ or '.join(RELEASES)}/ or nothing, "
            f"and found {', '.join(unknown)}",
            file=sys.stderr,
        )
        return 2
    status = 0
    clean_up_when_told_to_end(Signals.SIGINT, Signals.SIGTERM, Signals.SIGHUP)
    try:
        for release in RELEASES:
            names = [name for each, name in chosen or _ALL if each == release]
            if names:
                status = _groups(release, names) or status
    except KeyboardInterrupt:
        print("stopped; nothing is left running", file=sys.stderr)
        return 130
    return status


def _at_once(count: str, words: Sequence[str]) -> int:
    if not count.isdecimal() or not words:
        print(f"vm: expected {_AT_ONCE}COUNT and groups, and found {count!r} and {words}", file=sys.stderr)
        return 2
    clean_up_when_told_to_end(Signals.SIGINT, Signals.SIGTERM, Signals.SIGHUP)
    try:
        for release in RELEASES:
            if any(each == release for word in words for each, _ in _runs(word)):
                prepare(release)
        return at_once(int(count), [(sys.executable, "-m", "tests.vm", each) for each in words])
    except KeyboardInterrupt:
        print("stopped; nothing is left running", file=sys.stderr)
        return 130


_ALL: Final = tuple((release, name) for release in RELEASES for name in GROUPS)


def _runs(word: str) -> Sequence[tuple[Release, str]]:
    """The releases and groups that a word of the command line names; none where there are no such."""
    prefix, slash, name = word.rpartition("/")
    return [
        (release, group)
        for release, group in _ALL
        if release == (prefix if slash else RELEASES[0]) and group == (name or group)
    ]


def _groups(release: Release, names: Sequence[str]) -> int:
    status = 0
    wanted = any(GROUPS[each].packages for each in names)
    with image(release, dict(zip(("newer", "older"), packages(), strict=True)) if wanted else None) as made:
        for name in names:
            title = name if release == RELEASES[0] else f"{release}-{name}"
            status = _run(made, title, GROUPS[name]) or status
    return status


def _run(made: Image, name: str, group: Group) -> int:
    if not group.disk:
        return _boots(made, name, group, None)
    disk = RESULTS / f"{name}.disk"
    try:
        make_disk(disk)
        return _boots(made, name, group, disk)
    finally:
        disk.unlink(missing_ok=True)


def _boots(made: Image, name: str, group: Group, disk: Path | None) -> int:
    status = 0
    for number, arguments in enumerate(group.boots, 1):
        title = name if len(group.boots) == 1 else f"{name}-{number}"
        folder = RESULTS / title
        print(f"\n=== {title}", flush=True)
        begun = time.monotonic()
        outcome = boot(
            made,
            folder,
            (*_PYTEST, *arguments),
            server=group.server,
            init=group.init,
            deadline=group.deadline,
            disk=disk,
            board=group.board,
        )
        status = _tell(outcome, folder, time.monotonic() - begun) or status
        if outcome.code is None:
            break
    return status


def _tell(outcome: Outcome, folder: Path, seconds: float) -> int:
    """Print what came of a boot. Returns its exit status."""
    for case in outcome.cases:
        print(f"{case.outcome:8} {case.seconds:6.1f} s  {case.name}  {case.text.partition(chr(10))[0]}")
    status = outcome.code if outcome.code is not None else 1
    if (figures := folder / "figures.txt").exists():
        print(figures.read_text().rstrip())
    if status:
        console = (folder / "console.txt").read_text(errors="replace").splitlines()
        sys.stdout.write("\n".join(["--- the end of its console", *console[-_TAIL:], "---", ""]))
    what = outcome.problem or f"the suite's exit code is {outcome.code}"
    print(f"=== {seconds:.0f} s; {what}; its logs are in {folder}", flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
