"""Runs tests in a server's root, in namespaces of their own: of mounts, processes, network interfaces and
control groups. The kernel's devices are the machine's, and nothing else is.

The udevd in there hears of devices as the machine's own does, since uevents of all but interfaces go to each
network namespace; it tells nobody outside of its own, and its database is its own. Whatever the tests leave
goes with the namespaces.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from tests.servers import root
from tests.servers.table import Row
from tests.support.lab import debian
from tests.support.lab.debian import PROJECT

_ENTER: Final = Path(__file__).with_name("enter.sh")
_MOST: Final = 3600.0
_GENTLY: Final = 60.0
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# $1 an empty folder, $2 a new control group; the rest is run with that group as the root of all. A group with
# groups below it holds no process itself: ours are in what servers take for systemd's, and theirs beside it.
_GROUP: Final = """\
mount -t cgroup2 cgroup2 "$1"
mkdir "$1/$2" "$1/$2/init.scope"
echo 0 > "$1/$2/cgroup.procs"
exec unshare --cgroup -- sh -ec '
echo 0 > "$1/$2/init.scope/cgroup.procs"
umount "$1"
shift 2
exec "$@"' sh "$@"
"""
_AWAY: Final = """\
mount -t cgroup2 cgroup2 "$1"
[ ! -e "$1/$2" ] || find "$1/$2" -depth -type d -exec rmdir {} +
"""


def run(row: Row, tree: Path, words: list[str], results: Path) -> int:
    """Run pytest with these words. Returns its exit code, or 124 when it took too long.

    results  the folder that the tests have as /results
    """
    pytest = [root.PYTHON, "-m", "pytest", "-W", "error", "-p", "no:cacheprovider", *words]
    environment = {
        "HOME": "/root",
        "HOTPLUGD_SERVER": row.software,
        "HYPOTHESIS_STORAGE_DIRECTORY": "/tmp/hypothesis",
        "LANG": "C.UTF-8",
        "PATH": _PATH,
        "PYTHONDONTWRITEBYTECODE": "1",
        **{name: os.environ[name] for name in ("COLUMNS", "TERM") if name in os.environ},
    }
    with tempfile.TemporaryDirectory(prefix="hps-", dir="/tmp") as work, _group(work) as within:
        process = subprocess.Popen(
            [
                *within, "setpriv", "--pdeathsig=KILL", "--",
                "unshare", "--mount", "--pid", "--net", "--ipc", "--fork", "--kill-child=KILL", "--",
                "sh", "-e", _ENTER, tree, PROJECT, work, root.PROJECT, results,
                root.PYTHON, "-m", "tests.servers.first", *pytest,
            ],
            env=environment,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            return process.wait(_MOST)
        except subprocess.TimeoutExpired:
            print(f"servers: not done within {_MOST:.0f} s, and ended", file=sys.stderr)
            return 124
        finally:
            _end(process)


@contextmanager
def _group(work: str) -> Iterator[list[str]]:
    """Words before a command that give it a new control group, which goes afterwards."""
    name = Path(work).name
    try:
        yield ["unshare", "--mount", "--", "sh", "-ec", _GROUP, "sh", work, name]
    finally:
        debian.run("unshare", "--mount", "--", "sh", "-ec", _AWAY, "sh", work, name)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Nothing runs any more when this returns: the tests have some time for their own clean-up."""
    with suppress(subprocess.TimeoutExpired):
        for first in _children(process.pid):
            with suppress(ProcessLookupError):
                os.kill(first, signal.SIGTERM)
        process.wait(_GENTLY)
    process.kill()
    process.wait()


def _children(pid: int) -> list[int]:
    with suppress(FileNotFoundError):
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []
