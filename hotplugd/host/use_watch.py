"""Watches mounts, swap spaces, routes and addresses of the host, for which there are no uevents."""

from __future__ import annotations

import asyncio
import os
import select
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final

_FILES: Final = ("/proc/1/mountinfo", "/proc/self/mountinfo", "/proc/swaps")
# include/uapi/linux/rtnetlink.h: RTMGRP_LINK, IPV4_IFADDR, IPV4_ROUTE, IPV6_IFADDR, IPV6_ROUTE
_GROUPS: Final = 0x1 | 0x10 | 0x40 | 0x100 | 0x400
# Seconds between two looks where mounts or routes change all the time.
_PAUSE: Final = 0.5
_CHUNK: Final = 1 << 16
_ONE_TURN: Final = 64


class HostWatch:
    """Calls `changed` some time after the host began or ended to use something."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._files: list[int] = []
        # A poll set of its own asks for POLLPRI alone, and who finds it readable has had the change: see
        # `container.root.Root`.
        self._polled: select.epoll | None = None
        self._routes: socket.socket | None = None
        self._alarm: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Listen. Raises OSError."""
        self._polled = select.epoll()
        for path in _FILES:
            with suppress(FileNotFoundError):  # a kernel without swap space
                self._files.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
                self._polled.register(self._files[-1], select.EPOLLPRI)
        self._routes = socket.socket(
            socket.AF_NETLINK,
            socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK,
            socket.NETLINK_ROUTE,
        )
        self._routes.bind((0, _GROUPS))
        self._loop.add_reader(self._polled.fileno(), self._hear)
        self._loop.add_reader(self._routes.fileno(), self._hear_routes)

    def stop(self) -> None:
        """Listen no more."""
        if self._alarm is not None:
            self._alarm.cancel()
        for each in (self._polled, self._routes):
            if each is not None:
                self._loop.remove_reader(each.fileno())
                each.close()
        while self._files:
            os.close(self._files.pop())
        self._polled = self._routes = None

    def _hear_routes(self) -> None:
        assert self._routes is not None
        # Read what is there, within a bound. An overflow (ENOBUFS) means a change, too.
        with suppress(OSError):
            for _ in range(_ONE_TURN):
                self._routes.recv(_CHUNK)
        self._hear()

    def _hear(self) -> None:
        if self._alarm is None:
            self._alarm = self._loop.call_later(_PAUSE, self._tell)

    def _tell(self) -> None:
        self._alarm = None
        self._changed()
