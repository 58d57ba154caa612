"""How the tests start hotplugd's commands."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

_DEADLINE: Final = 60.0


class Process(Protocol):
    """What the tests use of a subprocess.Popen."""

    @property
    def pid(self) -> int: ...

    @property
    def returncode(self) -> int | None: ...

    def poll(self) -> int | None: ...

    def wait(self, timeout: float) -> int: ...

    def send_signal(self, number: int) -> None: ...


class Commands(Protocol):
    """Starts them; words are those behind `hotplugd`."""

    def start(self, words: Sequence[str], environment: Mapping[str, str], stderr: int) -> Process:
        """Start one in a session of its own, which writes to this descriptor. Waits for nothing."""
        ...

    def run(self, words: Sequence[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Run one to its end. Raises subprocess.TimeoutExpired after a minute."""
        ...


@dataclass(frozen=True, slots=True)
class Executed:
    """Executes hotplugd, which is these words; some may be of a program that confines it."""

    program: Sequence[str]

    def start(self, words: Sequence[str], environment: Mapping[str, str], stderr: int) -> Process:
        return subprocess.Popen(
            [*self.program, *words], env=environment,
            stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr, start_new_session=True,
        )  # fmt: skip

    def run(self, words: Sequence[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.program, *words], env=environment,
            capture_output=True, text=True, check=False, timeout=_DEADLINE,
        )  # fmt: skip
