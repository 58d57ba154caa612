"""Mounts that the host does not see: a service may have some of its own."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def elsewhere(*words: str) -> Iterator[int]:
    """A process that has run this in a mount namespace of its own, of which nobody else hears.

    It is `sh` for as long as it lasts: a shell that becomes another program has its own name for a while yet.
    """
    script = f"mount --make-rprivate / && {shlex.join(words)} && echo done && read -r _"
    with subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"done\n"
            yield process.pid
        finally:
            process.kill()
