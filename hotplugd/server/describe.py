"""What a server says of itself, and what its log says of us, for a report. Blocks."""

from __future__ import annotations

import os
import re
import stat
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hotplugd.model.text import plain
from hotplugd.server.connection import CONNECT, READ, Connection
from hotplugd.server.traits import LOGS, UNITS, Row, rows_of

# Not its certificate, its addresses and its name.
_TOLD: Final = (
    "server", "server_version", "server_clustered", "os_name", "os_version", "kernel", "kernel_version",
    "kernel_architecture", "driver", "driver_version", "storage", "storage_version", "firewall",
)  # fmt: skip
# Entries of ours, and texts of ours.
_OURS: Final = r"hp-[0-9a-f]{16}|hotplugd"
_PROGRAMS: Final = frozenset({"lxd", "incusd"})
# Of the end of a log so many bytes are read, so many lines shown, and so much of each.
_END: Final = 16 << 20
_MOST: Final = 200
_LONGEST: Final = 2000
_PATIENCE: Final = 30.0


@dataclass(frozen=True, slots=True)
class Description:
    """A server.

    told        of its environment: pairs of names and values
    name        its host's, or its own in a cluster
    extensions  of its API
    rows        what it does otherwise than others
    """

    software: str
    told: Sequence[tuple[str, str]]
    name: str
    extensions: Sequence[str]
    rows: Sequence[Row]
    pid: int


def describe(address: str) -> Description:
    """Ask the server. Raises Unreachable or Refused."""
    connection = Connection(address, CONNECT + READ)
    try:
        return connection.guarded(lambda: _description(connection))
    finally:
        connection.close()


def _description(connection: Connection) -> Description:
    info = connection.connect()
    found: dict[str, Any] = connection.tree.get().json()["metadata"]
    environment = found["environment"]
    extensions = sorted(str(each) for each in found["api_extensions"])
    return Description(
        info.software,
        [(key, plain(str(environment[key]))) for key in _TOLD if key in environment],
        str(environment.get("server_name", "")),
        extensions,
        rows_of(info.software, info.version, extensions),
        info.pid,
    )


def log_lines(software: str, pid: int) -> tuple[list[str], list[str]]:
    """The last lines of the server's own log that are about us, and what was read, or why it was not.

    pid  the server's process; 0 where nobody knows
    """
    lines: list[str] = []
    told: list[str] = []
    for path in dict.fromkeys((*_open_logs(pid), *map(Path, LOGS.get(software, ())))):
        try:
            found = _about_us(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            told.append(f"{path} cannot be read: {error.strerror or error}")
            continue
        told.append(f"{path}: {len(found)} lines")
        lines += found
    try:
        found = _from_journal(UNITS.get(software, ()))
        told.append(f"the journal: {len(found)} lines")
        lines += found
    except (OSError, subprocess.TimeoutExpired) as error:
        told.append(f"the journal cannot be read: {plain(str(error))}")
    return lines, told


def _open_logs(pid: int) -> Iterator[Path]:
    """The files that the server's process writes its log to (proc(5))."""
    folder = Path(f"/proc/{pid}")
    with suppress(OSError):
        if (folder / "comm").read_text().strip() not in _PROGRAMS:
            return
        for each in (folder / "fd").iterdir():
            with suppress(OSError):
                target = os.readlink(each)
                if target.endswith(".log") and stat.S_ISREG(each.stat().st_mode):
                    yield Path(target)


def _about_us(path: Path) -> list[str]:
    ours = re.compile(_OURS)
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - _END, 0))
        text = file.read(_END).decode("utf-8", "replace")
    return [plain(line[:_LONGEST]) for line in text.splitlines() if ours.search(line)][-_MOST:]


def _from_journal(units: Sequence[str]) -> list[str]:
    command = ["journalctl", "--quiet", "--no-pager", "--no-hostname", "--output=short-iso"]
    command += [f"--grep={_OURS}", f"--lines={_MOST}", *(f"--unit={each}" for each in units)]
    done = subprocess.run(command, capture_output=True, check=False, timeout=_PATIENCE)
    return [plain(line[:_LONGEST]) for line in done.stdout.decode("utf-8", "replace").splitlines()]
