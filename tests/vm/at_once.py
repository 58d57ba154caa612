"""Groups of cases in processes of their own, some at once: a guest has one processor."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import IO, Final

# A guest is switched off, and its disk removed.
_GENTLY: Final = 60.0


def at_once(count: int, commands: Sequence[Sequence[str]]) -> int:
    """Run commands, at most `count` at once, begun in this order.

    Returns the first exit status that was not 0, else 0. What a command writes is printed whole when it ends.
    Those that still run when this is left early are told to end, and waited for.
    """
    waiting = list(commands)
    running: dict[int, tuple[subprocess.Popen[bytes], IO[bytes]]] = {}
    status = 0
    try:
        while waiting or running:
            while waiting and len(running) < count:
                output: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # it is closed once it is printed
                process = subprocess.Popen(waiting.pop(0), stdout=output, stderr=subprocess.STDOUT)
                running[os.pidfd_open(process.pid)] = process, output
            for ended in select.select(list(running), [], [])[0]:
                process, written = running.pop(ended)
                os.close(ended)
                code = process.wait()
                status = status or code
                _print(written)
    finally:
        for process, _ in running.values():
            process.terminate()
        for descriptor, (process, written) in running.items():
            process.wait(_GENTLY)
            os.close(descriptor)
            _print(written)
    return status


def _print(output: IO[bytes]) -> None:
    with output:
        output.seek(0)
        sys.stdout.write(output.read().decode(errors="replace"))
    sys.stdout.flush()
