"""Tests with a server that this machine does not have: `python -m tests.servers SERVER [PATH|--OPTION …]`.

The root is made and kept in the user's cache (root.py); namespaces.py says what a run has of its own.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.servers import root
from tests.servers.namespaces import run
from tests.servers.table import SERVERS
from tests.support.lab.stop import clean_up_when_told_to_end

# Everything with a server, udevd or a device of the kernel's.
_TESTS: Final = (
    "tests/e2e/cli",
    "tests/e2e",
    "tests/faults",
    "tests/kernel/udev",
    "tests/kernel/support/test_lab.py",
    "tests/e2e/test_client.py",
)


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
        with tempfile.TemporaryDirectory(prefix="hpr-", dir="/tmp") as results:
            paths = [] if any(not each.startswith("-") for each in words) else _TESTS
            return run(row, tree, [*words, *paths], Path(results))
    except KeyboardInterrupt:  # the tests have said so
        return 130


if __name__ == "__main__":
    sys.exit(main())
