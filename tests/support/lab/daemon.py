"""The real daemon, as its unit would start it: with a notify socket, and signals for reload and stop."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from itertools import pairwise
from pathlib import Path
from signal import Signals
from types import TracebackType
from typing import Final, Self, cast

from tests.support.lab.api import Json
from tests.support.lab.commands import Commands, Executed, Process
from tests.support.lab.wait import eventually

_SO_TIMESTAMPNS: Final = 35  # asm-generic/socket.h
_TIMESPEC: Final = struct.Struct("ll")
# What hotplugd does to a device in an instance, or cannot do.
_CHANGES: Final = frozenset(
    {"device.add", "device.update", "device.repair", "device.remove", "device.problem"}
)


class NotReady(AssertionError):
    """The daemon ended, or said nothing, where it should have become ready."""


class Daemon:
    """hotplugd with rules and a configuration of its own, on a private server.

    rules        the text of one rule file, or of several by name
    environment  what it is started with; the tests' own where it is left out
    within       words before the command, such as of a program that confines it
    inject       where the program that injects uevents is; where nothing is, the daemon starts one
    more         further lines of its configuration
    seal, roots, udevdb, usb  likewise, the programs that seal nodes, open roots, keep udev's records, and
                 revoke USB devices
    commands     how it and other commands are started; each as a program where it is left out
    """

    def __init__(
        self,
        server: Path,
        rules: str | Mapping[str, str],
        environment: Mapping[str, str] | None = None,
        within: Sequence[str] = (),
        inject: Path | None = None,
        more: str = "",
        seal: Path | None = None,
        roots: Path | None = None,
        udevdb: Path | None = None,
        usb: Path | None = None,
        commands: Commands | None = None,
    ) -> None:
        self._files = tempfile.TemporaryDirectory(prefix="hpd-", dir="/tmp")
        self.folder = Path(self._files.name)
        self.config = self.folder / "config.yaml"
        self.rules = self.folder / "rules.d"
        self.control = self.folder / "control.sock"
        self.state = self.folder / "lib" / "state.json"
        self.stderr = self.folder / "stderr"
        self.states: list[str] = []
        self._feeds: list[float] = []
        self.environment = dict(environment if environment is not None else os.environ)
        self._commands = commands or Executed(command())
        self._starts = commands or Executed((*within, *command()))
        self._process: Process | None = None
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._notify.bind(str(self.folder / "notify"))
        self.rules.mkdir()
        self.write_rules(rules)
        inject = inject or self.folder / "inject.sock"
        self.config.write_text(
            f"server: {server}\nrules: [{self.rules}]\ncontrol: {self.control}\ninject: {inject}\n"
            f"seal: {seal or self.folder / 'seal.sock'}\n"
            f"roots: {roots or self.folder / 'roots.sock'}\n"
            f"udevdb: {udevdb or self.folder / 'udevdb.sock'}\n"
            f"usb: {usb or self.folder / 'usb.sock'}\n"
            f"udev_rules: {self.folder / 'udev'}\nstate: {self.state}\n{more}"
        )

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            undo.callback(self.close)
            self.start()
            undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and kind is not KeyboardInterrupt:
            sys.stderr.write(f"--- hotplugd's log\n{self.log()}---\n")
        self.close()

    # --- life -------------------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """Its process; it must run."""
        assert self._process is not None, "the daemon was not started"
        return self._process.pid

    def start(self, deadline: float = 30.0) -> None:
        """Start it and wait for READY=1."""
        self.spawn()
        self.wait_for("READY=1", deadline)

    def spawn(self) -> None:
        """Start it and wait for nothing."""
        assert self._process is None, "the daemon runs already"
        self._hear()  # what an earlier one said is not this one's
        self.states.clear()
        environment = {**self.environment, "NOTIFY_SOCKET": str(self.folder / "notify")}
        with self.stderr.open("ab") as stderr:
            words = ("run", "--config", str(self.config))
            self._process = self._starts.start(words, environment, stderr.fileno())

    def wait_for(self, state: str, deadline: float = 30.0) -> None:
        """Wait until the daemon has told the service manager this, since it was started or last asked."""
        process = self._process
        assert process is not None, "the daemon was not started"

        def told() -> bool:
            self._hear()
            if state in self.states:
                return True
            if process.poll() is not None:
                raise RuntimeError(f"hotplugd ended with {process.returncode} before {state}:\n{self.log()}")
            return False

        try:
            eventually(told, deadline)
        except AssertionError:
            raise NotReady(
                f"expected {state} from hotplugd, and heard {self.states}; its log:\n{self.log()}"
            ) from None
        del self.states[: self.states.index(state) + 1]

    def unfed(self, since: float) -> float:
        """The longest time for which it has not fed its watchdog since then (of time.time).

        The kernel keeps ten messages that are not read yet: ask once at the beginning as well.
        """
        self._hear()
        moments = [since, *(each for each in self._feeds if each > since), time.time()]
        return max(later - earlier for earlier, later in pairwise(moments))

    def reload(self) -> None:
        """SIGHUP, and wait until it says that it is ready again."""
        self._hear()
        self.states.clear()
        self.send(Signals.SIGHUP)
        self.wait_for("READY=1")

    def send(self, number: Signals) -> None:
        """Send a signal."""
        os.kill(self.pid, number)

    def stop(self, deadline: float = 30.0) -> int:
        """SIGTERM. Returns the exit code."""
        return self._end(Signals.SIGTERM, deadline)

    def kill(self) -> None:
        """SIGKILL: a crash."""
        self._end(Signals.SIGKILL, 10)

    def wait(self, deadline: float = 30.0) -> int:
        """Wait until it ends by itself. Returns the exit code."""
        assert self._process is not None, "the daemon was not started"
        code = self._process.wait(deadline)
        self._process = None
        return code

    def close(self) -> None:
        """End it, however it is, and take its files away."""
        with ExitStack() as undo:
            undo.callback(self._files.cleanup)
            undo.callback(self._notify.close)
            if self._process is not None:
                with suppress(ProcessLookupError):
                    os.kill(self._process.pid, Signals.SIGCONT)
                try:
                    self._end(Signals.SIGTERM, 10)
                except subprocess.TimeoutExpired:
                    self.kill()
                    raise

    # --- rules and answers ------------------------------------------------------------------------------

    def write_rules(self, rules: str | Mapping[str, str]) -> None:
        """Replace all rule files. The daemon reads them at its start and when it is told to reload."""
        for old in self.rules.iterdir():
            old.unlink()
        for name, text in ({"50-test.yaml": rules} if isinstance(rules, str) else rules).items():
            (self.rules / name).write_text(text)

    def ask(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run another hotplugd command with this daemon's configuration."""
        # The name of a command of a group is two words.
        at = 2 if words[0] == "lease" else 1
        name, rest = words[:at], words[at:]
        return self._commands.run((*name, "--config", str(self.config), *rest), self.environment)

    def status(self) -> Json:
        """What `hotplugd status --json` answers."""
        answer = self.ask("status", "--json")
        told = f"hotplugd status: {answer.returncode}\n{answer.stderr}"
        assert answer.returncode in (0, 1), told
        # It ends with 1 as well where the daemon does not answer in time.
        assert answer.stdout, told
        return cast("Json", json.loads(answer.stdout))

    def is_fine(self) -> bool:
        """Whether it says that nothing is wrong. Else it is an assertion, which says what is."""
        problems = self.status()["problems"]
        assert problems == []
        return True

    def changes(self) -> list[dict[str, str]]:
        """The events of what it did to devices in instances, or could not do."""
        events = [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]
        return [each for each in events if each["event"] in _CHANGES]

    def log(self) -> str:
        """What it has logged so far."""
        return self.stderr.read_text(errors="replace") if self.stderr.exists() else ""

    # --- inner workings ---------------------------------------------------------------------------------

    def _hear(self) -> None:
        while True:
            try:
                message, more, *_ = self._notify.recvmsg(1 << 16, 256, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            told = message.decode(errors="replace").splitlines()
            self.states += told
            if "WATCHDOG=1" in told:
                self._feeds.append(_when(more))

    def _end(self, number: Signals, deadline: float) -> int:
        process = self._process
        assert process is not None, "the daemon was not started"
        process.send_signal(number)
        code = process.wait(deadline)
        self._process = None
        return code


def _when(more: Sequence[tuple[int, int, bytes]]) -> float:
    """When the kernel took a message, by what it says beside it (socket(7), SO_TIMESTAMPNS)."""
    (raw,) = [raw for _, kind, raw in more if kind == _SO_TIMESTAMPNS]
    seconds, nanoseconds = cast("tuple[int, int]", _TIMESPEC.unpack(raw))
    return seconds + nanoseconds / 1e9


def command() -> list[str]:
    """How to run hotplugd: the script beside this Python, else the module."""
    script = Path(sys.executable).with_name("hotplugd")
    return [str(script)] if script.exists() else [sys.executable, "-m", "hotplugd"]
