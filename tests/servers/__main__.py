"""Run tests with a server that this machine does not have: `python -m tests.servers SERVER [PATH|OPTION …]`.

The root is made and kept in the user's cache (root.py). Each run has namespaces of its own: of mounts,
processes, network interfaces and control groups. The kernel's devices are the machine's, and nothing else is.
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
from tests.servers.table import SERVERS, Row
from tests.support.lab import debian
from tests.support.lab.debian import PROJECT
from tests.support.lab.stop import clean_up_when_told_to_end

_ENTER: Final = Path(__file__).with_name("enter.sh")
_MOST: Final = 3600.0
_GENTLY: Final = 60.0
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Everything with a server, udevd or a device of the kernel's.
_TESTS: Final = (
    "tests/e2e/cli",
    "tests/e2e",
    "tests/faults",
    "tests/kernel/udev",
    "tests/kernel/support/test_lab.py",
    "tests/e2e/test_client.py",
)
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


def main() -> int:
    """Returns pytest's exit code, 124 when it took too long, or 130 when it was told to end."""
    name, *words = sys.argv[1:] or [""]
    if name not in SERVERS:
        print(f"expected a server of {', '.join(SERVERS)}, and found {name!r}", file=sys.stderr)
        return 2
    if os.geteuid() != 0:
        print("expected to be root: a server and its containers are started", file=sys.stderr)
        return 2
    row = SERVERS[name]
    tree = root.root(row)
    print(f"servers: {root.versions(tree, row)}", flush=True)
    clean_up_when_told_to_end(signal.SIGTERM, signal.SIGHUP)
    try:
        return _run(row, tree, words or list(_TESTS))
    except KeyboardInterrupt:  # the tests have said so
        return 130


def _run(row: Row, tree: Path, words: list[str]) -> int:
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
                "sh", "-e", _ENTER, tree, PROJECT, work, root.PROJECT,
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


if __name__ == "__main__":
    sys.exit(main())
