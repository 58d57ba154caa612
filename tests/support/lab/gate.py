"""A gate in the start of instances: they wait in a hook of LXC's while it is shut."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Gate:
    """Instances with its configuration do not get past the hook while it is shut. The server has made their
    nodes by then, and they do not run yet.
    """

    folder: Path

    def config(self, hook: str = "mount") -> dict[str, str]:
        """What has an instance wait in this hook."""
        return {"raw.lxc": f"lxc.hook.{hook} = {self.folder}/hook"}

    @contextmanager
    def shut(self) -> Iterator[None]:
        (self.folder / "shut").touch()
        try:
            yield
        finally:
            (self.folder / "shut").unlink()
            (self.folder / "waits").unlink(missing_ok=True)

    @property
    def is_met(self) -> bool:
        """Whether a start waits for it."""
        return (self.folder / "waits").exists()


@contextmanager
def made() -> Iterator[Gate]:
    """One that is open."""
    with tempfile.TemporaryDirectory(prefix="hpg-", dir="/tmp") as name:
        folder = Path(name)
        # The hook is run by the root of an unprivileged container.
        folder.chmod(0o777)
        hook = folder / "hook"
        hook.write_text(
            f"#!/bin/sh\nwhile [ -e {name}/shut ]; do /usr/bin/touch {name}/waits; /bin/sleep 0.1; done\n"
        )
        hook.chmod(0o755)
        yield Gate(folder)
