"""Run the native tests with several servers, area by area: `python -m tests.servers.matrix [SERVER|AREA …]`.

Servers and areas that are named are meant; where none of a kind is, all of them. Each result is written into
results.json as soon as it is there, so that what was done is not lost when the rest is broken off.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from signal import SIGHUP, SIGTERM
from typing import Final

from tests.servers import results, root
from tests.servers.areas import AREAS, paths
from tests.servers.namespaces import run
from tests.servers.table import SERVERS
from tests.support.lab import debian
from tests.support.lab.debian import PROJECT
from tests.support.lab.stop import clean_up_when_told_to_end

# The server of the machine itself.
_NATIVE: Final = "lxd"
_NAMES: Final = (_NATIVE, *(each for each in SERVERS if each != "lxd-bookworm"))
_PACKAGES: Final = ("lxd", "python3", "udev")
_REPORT: Final = "report.xml"

# Of pytest: all tests ran, and all or not all passed.
_WHOLE: Final = (0, 1)

Runner = Callable[[list[str], Path], int]
"""Runs pytest with words and a folder for its report. Returns its exit code."""


def main() -> int:
    """Returns 0, 1 where a test failed or an area could not be run, 2 for wrong words, 130 if interrupted."""
    words = sys.argv[1:]
    if unknown := [each for each in words if each not in _NAMES and each not in AREAS]:
        known = ", ".join((*_NAMES, *AREAS))
        print(f"expected servers and areas of {known}, and found {unknown[0]!r}", file=sys.stderr)
        return 2
    if os.geteuid() != 0:
        print("expected to be root: servers and their containers are started", file=sys.stderr)
        return 2
    clean_up_when_told_to_end(SIGTERM, SIGHUP)
    areas = [each for each in AREAS if each in words] or [*AREAS]
    try:
        well = [_server(each, areas) for each in _NAMES if each in words or not set(words) & {*_NAMES}]
    except KeyboardInterrupt:
        return 130
    return 0 if all(well) else 1


def _server(name: str, areas: list[str]) -> bool:
    """Run areas with a server. Returns whether all is well."""
    packages, runner = _native() if name == _NATIVE else _in_root(name)
    print(f"matrix: {name}: {packages}", flush=True)
    well = True
    for area in areas:
        with tempfile.TemporaryDirectory(prefix="hpr-", dir="/tmp") as folder:
            code = runner(paths(area, PROJECT), Path(folder))
            if code not in _WHOLE:
                print(
                    f"matrix: {name}, {area}: broken off with exit code {code}, and not counted", flush=True
                )
                well = False
                continue
            report = Path(folder, _REPORT).read_text("utf-8")
            found = results.parse_junit(report, f"{datetime.now(UTC):%Y-%m-%d}")
        results.store(results.with_result(results.load(), name, packages, area, found))
        told = ", ".join(f"{found[key]} {key}" for key in ("passed", "failed", "skipped"))
        print(f"matrix: {name}, {area}: {told} in {found['seconds']} s", flush=True)
        well = well and not found["failed"]
    return well


def _native() -> tuple[str, Runner]:
    lines = debian.lines("dpkg-query", "-W", "-f=${Package} ${Version}\n", *_PACKAGES)

    def runner(words: list[str], folder: Path) -> int:
        command = [sys.executable, "-m", "pytest", "-W", "error", "-q", "-p", "no:cacheprovider"]
        command += [f"--junitxml={folder / _REPORT}", *words]
        return subprocess.run(command, check=False, cwd=PROJECT).returncode

    return f"Debian of this machine: {', '.join(lines)}", runner


def _in_root(name: str) -> tuple[str, Runner]:
    row = SERVERS[name]
    tree = root.root(row)

    def runner(words: list[str], folder: Path) -> int:
        return run(row, tree, ["-q", f"--junitxml=/results/{_REPORT}", *words], folder)

    return root.versions(tree, row), runner


if __name__ == "__main__":
    sys.exit(main())
