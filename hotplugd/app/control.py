"""The control socket: other commands ask the daemon, which answers with one JSON document.

A client sends one line with the name of what it asks for, and more for some of it, and gets `{"answer": …}`
or `{"error": "…"}`.
Only the user who runs the daemon, and root, may connect: by the socket's mode, and by its peer's credentials
(unix(7), SO_PEERCRED), since a mode says nothing of descriptors that were passed on.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import socket
import stat
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple, TypeAlias

from hotplugd.model.text import plain

_LINE: Final = 8192
_PATIENCE: Final = 5.0
# Of a question whose answer is an awaitable: a reload reads files, and an event may be waited for.
_LONG: Final = 90.0
_CREDENTIALS: Final = struct.Struct("3i")
_ANSWER_MOST: Final = 64 << 20
_CLIENTS: Final = 16
# So often the loop turns from accept(2) until asyncio hands the client over, and more.
_TURNS: Final = 4
# Of an error that is shown; and what to do where nothing else is known.
_LONGEST: Final = 4096
_ASK: Final = "`systemctl status hotplugd` says how it is"


Question: TypeAlias = Callable[[], object]
QuestionAbout: TypeAlias = Callable[[str], object]
Order: TypeAlias = Callable[["Peer", str], object]


class Peer(NamedTuple):
    """The process at the other end, as the kernel has it since it connected."""

    pid: int
    uid: int


class ControlError(Exception):
    """The socket cannot be had, or nobody answers there as expected. The text is fit to be shown."""


class NotRunning(ControlError):
    """Nobody listens on the socket."""


@asynccontextmanager
async def serve(
    path: Path,
    questions: Mapping[str, Question],
    about: Mapping[str, QuestionAbout] = MappingProxyType({}),
    orders: Mapping[str, Order] = MappingProxyType({}),
) -> AsyncIterator[None]:
    """Answer these questions on a socket at `path`. Raises ControlError where it cannot be made.

    questions  by name, what gives the answer, or an awaitable of it
    about      likewise, of those that get the rest of the line; they raise ValueError where that is wrong
    orders     likewise, of what changes something: they also get to know who asks
    """
    answer = _answering(questions, about, orders)
    listening = _listen(path)
    inode = os.stat(path).st_ino
    clients: set[asyncio.Task[None]] = set()

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(TimeoutError, OSError, EOFError, asyncio.LimitOverrunError):
            async with asyncio.timeout(_PATIENCE) as limit:
                await _answer(reader, writer, answer, limit)

    # Not the coroutine itself: asyncio would call it a defect that we cancel its task.
    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(clients) >= _CLIENTS:
            writer.transport.abort()
            return

        # Not within the task: one that is cancelled before it began runs nothing of its own.
        def ended(task: asyncio.Task[None]) -> None:
            clients.discard(task)
            writer.transport.abort()

        task = asyncio.get_running_loop().create_task(client(reader, writer))
        clients.add(task)
        task.add_done_callback(ended)

    server = await asyncio.start_unix_server(connected, sock=listening, limit=_LINE)
    try:
        yield
    finally:
        # Before close(): Server forgets the sockets that it accepted and has not handed over by then.
        asyncio.get_running_loop().remove_reader(listening)
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        server.close()
        left = tuple(clients)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        # Their sockets are closed in the next turn of the loop, which may be its last.
        await asyncio.sleep(0)
        with suppress(OSError):
            if os.stat(path).st_ino == inode:
                os.unlink(path)


def _answering(
    questions: Mapping[str, Question], about: Mapping[str, QuestionAbout], orders: Mapping[str, Order]
) -> Callable[[str, Peer], object]:
    """What answers a line; it raises ValueError where nobody knows the question, or its rest is wrong."""

    def answer(line: str, peer: Peer) -> object:
        name, _, rest = line.partition(" ")
        if line in questions:
            return questions[line]()
        if name in about:
            return about[name](rest)
        if name in orders:
            return orders[name](peer, rest)
        raise ValueError(f"unknown question; known: {', '.join((*questions, *about, *orders))}")

    return answer


def ask(path: Path, question: str, *, long: bool = False) -> dict[str, object]:
    """The daemon's answer. Blocks, for a few seconds at most. Raises NotRunning, ControlError.

    long  the daemon may have to work for it, or wait: blocks for a minute and a half at most
    """
    patience = _LONG if long else _PATIENCE
    if len(line := f"{question}\n".encode()) > _LINE:
        raise ControlError(f"what is asked is longer than the {_LINE} bytes that hotplugd takes")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
        until = time.monotonic() + patience
        channel.settimeout(patience)
        try:
            channel.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            raise NotRunning(
                f"hotplugd is not running (nobody answers on {path}); what is attached stays attached; "
                f"`systemctl status hotplugd` says why it ended"
            ) from None
        except OSError as error:
            raise ControlError(f"cannot connect to {path}: {error.strerror or error}") from error
        try:
            raw = bytearray()
            channel.sendall(line)
            while len(raw) < _ANSWER_MOST and (more := channel.recv(1 << 16)):
                raw += more
                # For the whole answer: one that comes byte by byte would be waited for as long.
                channel.settimeout(max(until - time.monotonic(), 0.001))
        except TimeoutError:
            raise ControlError(f"hotplugd on {path} did not answer within {patience:.0f} s; {_ASK}") from None
        except ConnectionError:
            raw = bytearray()
        except OSError as error:
            raise ControlError(f"hotplugd on {path} did not answer: {error.strerror or error}") from error
    return _answered(path, raw)


def _answered(path: Path, raw: bytes | bytearray) -> dict[str, object]:
    """The answer in what came. Raises ControlError."""
    if not raw:
        raise ControlError(
            f"hotplugd on {path} did not answer: it hung up, since it ends or has {_CLIENTS} others who ask; "
            f"ask again"
        )
    if len(raw) >= _ANSWER_MOST:
        raise ControlError(
            f"hotplugd on {path} gave an answer of more than {_ANSWER_MOST >> 20} MiB, which none is; {_ASK}"
        )
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        began = raw.lstrip().startswith(b'{"')
        what = "the answer breaks off" if began else "what answers there is no hotplugd"
        raise ControlError(
            f"expected JSON from hotplugd on {path}, and found {len(raw)} bytes that are none: {what}; {_ASK}"
        ) from None
    told = document if isinstance(document, dict) else {}
    if isinstance(answer := told.get("answer"), dict):
        return answer
    if isinstance(error := told.get("error"), str):
        raise ControlError(f"hotplugd on {path} answered: {plain(error[:_LONGEST])}")
    raise ControlError(
        f"expected an answer from hotplugd on {path}, and found other JSON: is it another version? {_ASK}"
    )


async def _answer(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    answer: Callable[[str, Peer], object],
    limit: asyncio.Timeout,
) -> None:
    channel = writer.get_extra_info("socket")
    raw = channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(raw)
    document: dict[str, object]
    if uid not in (0, os.geteuid()):
        document = {"error": f"user {uid} may not ask; root may"}
    else:
        line = (await reader.readuntil(b"\n")).decode("ascii", "replace").strip()
        asked = await _document(partial(answer, line, Peer(pid, uid)), reader, channel, limit)
        if asked is None:
            return
        document = asked
    writer.write(json.dumps(document).encode())
    writer.write_eof()
    await writer.drain()
    while not writer.transport.is_closing() and await reader.read(_LINE):
        pass


async def _document(
    question: Question, reader: asyncio.StreamReader, channel: socket.socket, limit: asyncio.Timeout
) -> dict[str, object] | None:
    """What is answered; None where nobody is there any more to hear it."""
    try:
        answer = question()
        if isinstance(answer, Awaitable):
            loop = asyncio.get_running_loop()
            limit.reschedule(loop.time() + _LONG)
            answer = await _unless_left(answer, reader, channel)
            limit.reschedule(loop.time() + _PATIENCE)
    except _Left:
        return None
    except ValueError as error:
        return {"error": str(error)}
    return {"answer": answer}


class _Left(Exception):
    """Whoever asked has hung up."""


async def _unless_left(
    answer: Awaitable[object], reader: asyncio.StreamReader, channel: socket.socket
) -> object:
    """The answer. Raises _Left as soon as whoever asked has hung up: the place is another's then."""
    work = asyncio.ensure_future(answer)
    left = asyncio.ensure_future(_left(reader, channel))
    try:
        done, _ = await asyncio.wait({work, left}, return_when=asyncio.FIRST_COMPLETED)
        if work not in done and left.result():
            raise _Left
        return await work
    finally:
        work.cancel()
        left.cancel()
        # Until it has ended nobody else may read from the same.
        await asyncio.gather(work, left, return_exceptions=True)


async def _left(reader: asyncio.StreamReader, channel: socket.socket) -> bool:
    """Wait until whoever asked says nothing more. Returns whether nobody listens either (poll(2): POLLHUP).

    Who only has nothing to say any more, as `nc -N`, waits for the answer.
    """
    try:
        while await reader.read(_LINE):
            pass
    except OSError:
        return True
    poll = select.poll()
    poll.register(channel, 0)
    return any(event & select.POLLHUP for _, event in poll.poll(0))


def _listen(path: Path) -> socket.socket:
    """A listening socket of mode 0600, in place of one that nobody listens on any more."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            if not stat.S_ISSOCK(path.lstat().st_mode):
                raise ControlError(f"{path} is in the way of the control socket, and no socket; remove it")
            _see_unused(path)
            path.unlink()
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        before = os.umask(0o177)
        try:
            listening.bind(str(path))
        finally:
            os.umask(before)
    except OSError as error:
        raise ControlError(f"cannot make the control socket {path}: {error.strerror or error}") from error
    return listening


def _see_unused(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
        channel.settimeout(1)
        try:
            channel.connect(str(path))
        except ConnectionRefusedError:
            return
    raise ControlError(
        f"another hotplugd answers on {path}; end it, or give this one another `control` in its configuration"
    )
