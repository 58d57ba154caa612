"""Has uevents injected into containers by the program that may do that: see `inject`.

Under systemd the program waits behind a socket. Where there is none, as when hotplugd is run by hand, it is
started as a child. One program serves all containers and is kept; one that ended or hangs is replaced.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from hotplugd import inject, sysfs
from hotplugd.inside import Lost, Network
from hotplugd.model import InstanceName
from hotplugd.properties import kernel_lines
from hotplugd.server import Unfit, Untold
from hotplugd.threads import NoThread, Threads
from hotplugd.uevents import Uevent, kernel_form, libudev_form

# A uevent takes a fraction of a millisecond, and the program some tens to start.
_DEADLINE: Final = 2.0
_PROGRAM: Final = (sys.executable, "-I", "-S", inject.__file__)
_DENIED: Final = "Operation not permitted"


@dataclass(frozen=True, slots=True)
class _Program:
    """The program's other end; process is None where systemd started it."""

    channel: socket.socket
    process: subprocess.Popen[bytes] | None = None

    def end(self) -> None:
        """Have it end, also if it hangs."""
        self.channel.close()
        if self.process is not None:
            self.process.kill()


class Injector:
    """Injects uevents, one after the other.

    network  gives the network namespace of an instance that runs, as `Root.network` does
    path     where systemd listens for the program
    """

    def __init__(
        self, threads: Threads, network: Callable[[InstanceName], Network | None], path: Path
    ) -> None:
        self._threads = threads
        self._network = network
        self._path = path
        self._turn = asyncio.Lock()
        self._program: _Program | None = None
        self._reading: set[str] = set()
        self._over = False

    async def inject(self, name: InstanceName, uevent: Uevent) -> Uevent:
        """See `server.Injector`."""
        if uevent.action == "add":
            uevent = replace(uevent, kernel=await self._read(uevent.device.syspath))
        try:
            kernel, libudev = kernel_form(uevent), libudev_form(uevent, sysfs.sequence_now() + 1)
        except ValueError as error:
            raise Unfit(str(error)) from error
        try:
            async with self._turn:
                self._see_whether_over()
                if (network := self._network(name)) is None:
                    return uevent  # those inside hear what the host's kernel and udevd say
                try:
                    await self._ask(inject.request(network.user, kernel, libudev), network.descriptor)
                finally:
                    os.close(network.descriptor)
        except Lost as error:
            raise Untold(str(error)) from error
        return uevent

    def close(self) -> None:
        """Let go of the program. What is under way is cancelled."""
        self._over = True
        if self._program is not None and self._turn.locked():
            # The loop listens to the channel: closed under its hands, its number may be another's next.
            self._program.channel.shutdown(socket.SHUT_RDWR)
        else:
            self._drop()

    def _drop(self) -> None:
        if self._program is not None:
            self._program.end()
            self._program = None

    def _see_whether_over(self) -> None:
        if self._over:
            raise asyncio.CancelledError

    async def _read(self, syspath: str) -> str:
        """The kernel's own variables of the device, as lines; none where it takes too long or is gone."""
        if syspath in self._reading:
            return ""
        self._reading.add(syspath)

        def work() -> str:
            try:
                return "\n".join(f"{key}={value}" for key, value in (kernel_lines(syspath) or {}).items())
            except OSError:  # no file can be opened
                return ""
            finally:
                self._threads.tell(self._reading.discard, syspath)

        try:
            return await self._threads.call(work, _DEADLINE)
        except NoThread:
            self._reading.discard(syspath)
            return ""
        except TimeoutError:
            return ""

    # --- the program ------------------------------------------------------------------------------------

    async def _ask(self, request: bytes, descriptor: int) -> None:
        """Have the program carry out a request. Raises Untold."""
        kept = self._program
        try:
            answer = await self._exchange(request, descriptor)
            self._see_whether_over()
            if not answer and kept is not None:
                # It ended while nobody needed it, perhaps because it was installed anew.
                answer = await self._exchange(request, descriptor)
        except TimeoutError:
            raise Untold(f"the program for it does not answer within {_DEADLINE:.0f} s") from None
        except OSError as error:
            raise Untold(f"the program for it cannot be reached: {error}") from error
        if not answer:
            raise Untold("the program for it ended")
        if answer != inject.DONE:
            message = answer.decode("utf-8", "replace")
            if self._program is not None and self._program.process is not None and _DENIED in message:
                message += f"; under systemd, hotplugd-inject.socket has to be there ({self._path})"
            raise Untold(message)

    async def _exchange(self, request: bytes, descriptor: int) -> bytes:
        """The program's answer, empty if it ended. Raises OSError and TimeoutError."""
        answer = b""
        try:
            async with asyncio.timeout(_DEADLINE):
                if self._program is None:
                    self._program = self._connect() or await self._start()
                with suppress(BrokenPipeError, ConnectionResetError):
                    socket.send_fds(self._program.channel, [request], [descriptor])
                    loop = asyncio.get_running_loop()
                    answer = await loop.sock_recv(self._program.channel, inject.ANSWER_MOST)
        finally:
            if not answer:  # one that comes late is not the next one's
                self._drop()
        return answer

    def _connect(self) -> _Program | None:
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        try:
            channel.setblocking(False)
            channel.connect(str(self._path))
        except FileNotFoundError:
            channel.close()
            return None
        except OSError:
            channel.close()
            raise
        return _Program(channel)

    async def _start(self) -> _Program:
        """Start the program, with nothing of our environment: whatever is in there is not meant for it."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)

        def spawn() -> subprocess.Popen[bytes]:
            return subprocess.Popen(_PROGRAM, stdin=theirs.fileno(), stdout=subprocess.DEVNULL, env={})

        try:
            process = await self._threads.call(spawn, _DEADLINE)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        threading.Thread(target=process.wait, daemon=True, name="hotplugd-inject").start()
        return _Program(ours, process)
