"""Process 1 of the tests' namespaces: `python -m tests.servers.first COMMAND …`.

It reaps what others leave behind, such as the processes that hold containers, and ends with the command; the
kernel then ends everything else. Being told to end is passed on to the command.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from types import FrameType


def main() -> int:
    """Returns the command's exit code."""
    command = subprocess.Popen(sys.argv[1:])

    def pass_on(number: int, _: FrameType | None) -> None:
        with suppress(ProcessLookupError):
            os.kill(command.pid, number)

    for each in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, pass_on)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal tells the command itself
    while True:
        pid, status = os.wait()
        if pid == command.pid:
            return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main())
