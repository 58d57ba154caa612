"""hotplugd's commands without the time for imports: a process that has made them forks for each command.

Where a machine is emulated the imports of the daemon take many seconds, and all else of its start takes one.
What runs is what the installed program runs, from the command line on.

A request is one message of JSON, with three descriptors beside it: standard output, standard error, and where
to tell the number of the process and, later, its exit code, each on a line of its own.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import hotplugd
from hotplugd import cli
from tests.support.lab.commands import Commands, Executed, Process

_DEADLINE: Final = 60.0
_MOST: Final = 64 << 10
_DESCRIPTORS: Final = 3
_PROJECT: Final = Path(__file__).parents[3]
_NO_DIFFERENCE: Final = {"LD_PRELOAD", "UMOCKDEV_DIR", "PYTEST_CURRENT_TEST"}


class Forked:
    """A command that runs."""

    def __init__(self, report: int) -> None:
        self._report = report
        self._read = b""
        self.returncode: int | None = None
        line = self._line(_DEADLINE)
        assert line is not None, "the process that forks did not answer"
        self.pid = int(line)

    def poll(self) -> int | None:
        """Its exit code, or minus the signal that ended it; None while it runs."""
        return self._code(0.0)

    def wait(self, timeout: float) -> int:
        """Wait for its exit code. Raises subprocess.TimeoutExpired after so many seconds."""
        if (code := self._code(timeout)) is None:
            raise subprocess.TimeoutExpired("hotplugd", timeout)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def _code(self, seconds: float) -> int | None:
        if self.returncode is None and (line := self._line(seconds)) is not None:
            os.close(self._report)
            self.returncode = int(line)
        return self.returncode

    def _line(self, seconds: float) -> str | None:
        """The next line of the report; None where none comes within so many seconds."""
        end = time.monotonic() + seconds
        while b"\n" not in self._read:
            if not select.select([self._report], [], [], max(0.0, end - time.monotonic()))[0]:
                return None
            more = os.read(self._report, _MOST)
            assert more, "the process that forks ended"
            self._read += more
        line, _, self._read = self._read.partition(b"\n")
        return line.decode()


class Forking:
    """See `commands.Commands`. Ends with its last command, at the latest."""

    def __init__(self, preload: str = "") -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        environment = {**os.environ, **({"LD_PRELOAD": preload} if preload else {})}
        with theirs:
            # Not by -m: the commands would name themselves so.
            words = [sys.executable, "-c", f"import sys; from {__name__} import main; sys.exit(main())"]
            # In a session of its own: Ctrl-C is for us, whose end is its end.
            self._process = subprocess.Popen(
                words, cwd=_PROJECT, env=environment, stdin=theirs.fileno(), start_new_session=True
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it."""
        self._channel.close()
        self._process.wait(_DEADLINE)

    def start(self, words: Sequence[str], environment: Mapping[str, str], stderr: int) -> Process:
        return self._start(words, environment, stderr, stderr)

    def run(self, words: Sequence[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        with ExitStack() as undo:
            files = [os.memfd_create(name) for name in ("stdout", "stderr")]
            for each in files:
                undo.callback(os.close, each)
            process = self._start(words, environment, *files)
            try:
                code = process.wait(_DEADLINE)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                raise
            output, errors = (os.pread(each, os.fstat(each).st_size, 0).decode() for each in files)
        return subprocess.CompletedProcess(list(words), code, output, errors)

    def _start(self, words: Sequence[str], environment: Mapping[str, str], out: int, error: int) -> Forked:
        report, told = os.pipe()
        try:
            asked = {"words": list(words), "environment": dict(environment), "folder": os.getcwd()}
            request = json.dumps(asked).encode()
            socket.send_fds(self._channel, [request], [out, error, told])
        finally:
            os.close(told)
        return Forked(report)


class Quick:
    """See `commands.Commands`. Forks where that makes no difference; else executes hotplugd: `program`.

    What an environment says, other than of a made-up /sys (umockdev-wrapper(1)), may be read by imports.
    """

    def __init__(self, program: Sequence[str]) -> None:
        self._executed = Executed(program)
        self._environment = dict(os.environ)
        self._forking: dict[str, Forking] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in self._forking.values():
            each.close()

    def start(self, words: Sequence[str], environment: Mapping[str, str], stderr: int) -> Process:
        return self._for(environment).start(words, environment, stderr)

    def run(self, words: Sequence[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        return self._for(environment).run(words, environment)

    def _for(self, environment: Mapping[str, str]) -> Commands:
        names = (environment.keys() | self._environment.keys()) - _NO_DIFFERENCE
        if any(environment.get(each) != self._environment.get(each) for each in names):
            return self._executed
        preload = environment.get("LD_PRELOAD", "")
        if preload not in self._forking:
            self._forking[preload] = Forking(preload)
        return self._forking[preload]


def main() -> int:
    """Serve standard input. Returns an exit code."""
    channel = socket.socket(fileno=os.dup(0))
    for module in pkgutil.walk_packages(hotplugd.__path__, f"{hotplugd.__name__}."):
        if not module.name.endswith(".__main__"):
            importlib.import_module(module.name)
    assert threading.active_count() == 1, "expected no threads before a fork"
    gc.freeze()
    # Nobody waits for those that wait for the commands.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while (request := socket.recv_fds(channel, _MOST, _DESCRIPTORS))[0]:
        message, descriptors, *_ = request
        if os.fork() == 0:
            _command(message, *descriptors)
            return 0
        for each in descriptors:
            os.close(each)
    return 0


def _command(message: bytes, out: int, error: int, told: int) -> None:
    """Be a command, or the one who waits for it."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid:
        os.write(told, f"{pid}\n".encode())
        _, status = os.waitpid(pid, 0)
        os.write(told, f"{os.waitstatus_to_exitcode(status)}\n".encode())
        os._exit(0)
    os.setsid()
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(out, 1)
    os.dup2(error, 2)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    asked = json.loads(message)
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    sys.argv = ["hotplugd", *asked["words"]]
    try:
        cli.main()
    except SystemExit as ended:
        sys.stdout.flush()
        # The last events of a command are written then.
        atexit._run_exitfuncs()
        # Without taking apart, module by module, what only this has imported.
        os._exit(ended.code if isinstance(ended.code, int) else int(ended.code is not None))
