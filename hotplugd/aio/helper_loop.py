"""The loop of our programs that have a privilege each: `inject`, `roots`, `seal`, `udevdb`, `udevrules`
and `usb`.

Standard input is a connected SOCK_SEQPACKET socket. A request is one message with descriptors beside it. The
answer is one message, `DONE`, what was asked for, or what went wrong, with or without descriptors beside it.
The program ends when the other side closes. This file and the programs import the standard library and each
other alone, so `helper` starts them without the path to anything else.
"""

from __future__ import annotations

import array
import os
import socket
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

DONE: Final = b"done"
NO_REQUEST: Final = "not a request"
_INT: Final = array.array("i").itemsize


class Answer(NamedTuple):
    """The answer to a request. opened: descriptors to send with it, which are closed afterwards."""

    message: bytes = DONE
    opened: tuple[int, ...] = ()


class Limits(NamedTuple):
    """What a program takes and gives.

    request      the bytes of the longest request
    least, most  how many descriptors have to be beside it
    answer       the bytes of the longest answer; what went wrong is cut to it
    """

    request: int
    least: int
    most: int
    answer: int


Handler = Callable[[bytes, Sequence[int]], Answer]
"""Serves one request, with as many descriptors as the limits say. Raises OSError and ValueError."""


def serve(name: str, limits: Limits, handle: Handler) -> int:
    """Serve standard input by `handle`. name: what the program is called. Returns the exit code."""
    try:
        channel = socket.socket(fileno=os.dup(0))
    except OSError:
        channel = None
    if channel is None or (channel.family, channel.type) != (socket.AF_UNIX, socket.SOCK_SEQPACKET):
        sys.stderr.write(f"hotplugd {name}: standard input is no socket; hotplugd or systemd starts this\n")
        return 2
    with channel, suppress(BrokenPipeError, ConnectionResetError):  # the client has gone
        while serve_one(channel, limits, handle):
            pass
    return 0


def serve_one(channel: socket.socket, limits: Limits, handle: Handler) -> bool:
    """Serve one request. Returns whether there was one."""
    room = socket.CMSG_SPACE(max(limits.most, 1) * _INT)
    message, beside, flags, _ = channel.recvmsg(limits.request, room, socket.MSG_CMSG_CLOEXEC)
    given = array.array("i")
    for level, kind, data in beside:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            given.frombytes(data[: len(data) - len(data) % _INT])
    answer = Answer()
    try:
        if not message:
            return False
        whole = not flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC)
        fits = whole and limits.least <= len(given) <= limits.most
        answer = handle(message, given) if fits else Answer(NO_REQUEST.encode())
    except (OSError, ValueError) as error:
        answer = Answer(str(error).encode()[: limits.answer])
    finally:
        # Closed before the answer is sent: a client that has the answer may rely on that.
        _close(given)
    try:
        socket.send_fds(channel, [answer.message], answer.opened)
    finally:
        _close(answer.opened)
    return True


def _close(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
