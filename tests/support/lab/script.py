"""What hotplugd is compared with, at work: `benchmarks/script.py` and `benchmarks/floor.py`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

_PROGRAMS: Final = Path(__file__).parents[3] / "benchmarks"


class Script:
    """Runs while its context lasts, or until it fails.

    places  the instance of each device, by its serial number, or by the kernel's name of one without
    name    which of them: `script`, which people write in an afternoon, or `floor`
    links   a folder: the floor's entries name links in there
    """

    def __init__(
        self,
        server: Path,
        places: Mapping[str, str],
        environment: Mapping[str, str] | None = None,
        name: str = "script",
        links: Path | None = None,
    ) -> None:
        options = [] if links is None else [f"--links={links}"]
        words = [*options, *(f"{name}={instance}" for name, instance in places.items())]
        self.process = subprocess.Popen(
            [sys.executable, str(_PROGRAMS / f"{name}.py"), str(server), *words], env=environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip

    def __enter__(self) -> Self:
        assert self.process.stdout is not None
        first = self.process.stdout.readline()
        if first.strip() != "ready":
            self.close()
            raise AssertionError(f"the script did not start: {first}{self.error}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and not self.running:
            sys.stderr.write(f"--- the script's last words\n{self.error}---\n")
        self.close()

    @property
    def running(self) -> bool:
        """Whether it has not failed yet."""
        return self.process.poll() is None

    @property
    def error(self) -> str:
        """What it said as it failed; waits for its end."""
        assert self.process.stderr is not None
        return self.process.stderr.read()

    def close(self) -> None:
        """End it, however it is."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
