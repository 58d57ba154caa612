"""A private systemd-journald, in a mount namespace of its own: only what runs in there sees it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.support.lab.wait import eventually

JOURNALD: Final = Path("/lib/systemd/systemd-journald")
_MOUNTS: Final = """
mount -t tmpfs none /run/systemd/journal
mount -t tmpfs none /run/log
mount -t tmpfs none /var/log
mount --bind "$1" /etc/systemd/journald.conf
"""
_SERVE: Final = f"{_MOUNTS}\nexec {JOURNALD}"
_NOTHING: Final = f"{_MOUNTS}\nexec sleep infinity"
_CONFIG: Final = "[Journal]\nStorage=volatile\nAudit=no\nReadKMsg=no\nRateLimitBurst=0\n"


class Journal:
    """journald with nothing in its journal; or with no journal at all.

    more  further lines of its configuration
    """

    def __init__(self, *, runs: bool = True, more: str = "") -> None:
        programs = (str(JOURNALD), "journalctl", "unshare", "nsenter")
        missing = [name for name in programs if shutil.which(name) is None]
        assert not missing, f"expected {', '.join(missing)}: packages systemd and util-linux (`make lab`)"
        self._folder = tempfile.TemporaryDirectory(prefix="hpj-", dir="/tmp")
        config = Path(self._folder.name, "journald.conf")
        config.write_text(_CONFIG + more)
        Path("/run/systemd/journal").mkdir(parents=True, exist_ok=True)
        Path("/run/log").mkdir(exist_ok=True)
        words = ["sh", "-ec", _SERVE if runs else _NOTHING, "sh", str(config)]
        self._process = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", *words], stderr=subprocess.DEVNULL
        )
        self._runs = runs

    def __enter__(self) -> Self:
        socket = Path(f"/proc/{self._process.pid}/root/run/systemd/journal/socket")
        config = Path(f"/proc/{self._process.pid}/root/etc/systemd/journald.conf")
        ready = socket.exists if self._runs else lambda: config.read_text().startswith(_CONFIG)
        eventually(ready)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()

    @property
    def within(self) -> tuple[str, ...]:
        """The words before a program that is to see this journal."""
        return ("nsenter", f"--mount=/proc/{self._process.pid}/ns/mnt", "--")

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a program that sees it."""
        return subprocess.run([*self.within, *words], capture_output=True, text=True, check=False, timeout=60)

    def hotplugd(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a hotplugd command that sees it."""
        return self.run(sys.executable, "-m", "hotplugd", *words)

    def sync(self) -> None:
        """Have all that was sent written down."""
        done = self.run("journalctl", "--sync")
        assert done.returncode == 0, done.stderr

    def rotate(self) -> None:
        """Begin a new file."""
        done = self.run("journalctl", "--rotate")
        assert done.returncode == 0, done.stderr


def stream_of(file: Path) -> str:
    """What $JOURNAL_STREAM says of a standard error that is this file."""
    status = os.stat(file)
    return f"{status.st_dev}:{status.st_ino}"
