"""systemd and logs: readiness, the watchdog, the journal. Nothing where systemd is absent."""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from typing import Final

import structlog
from structlog.typing import FilteringBoundLogger, Processor

from hotplugd.model.text import plain

# What an entry in the journal is about: `journalctl MESSAGE_ID=…`; hotplugd.catalog explains each.
MESSAGE_IDS: Final[Mapping[str, str]] = {
    "device.add": "b0b5e0ed8d2b4d1fa0d9b4c0a64fd101",
    "device.update": "b0b5e0ed8d2b4d1fa0d9b4c0a64fd102",
    "device.repair": "b0b5e0ed8d2b4d1fa0d9b4c0a64fd103",
    "device.remove": "b0b5e0ed8d2b4d1fa0d9b4c0a64fd104",
    "device.problem": "b0b5e0ed8d2b4d1fa0d9b4c0a64fd105",
    "device.left-behind": "b0b5e0ed8d2b4d1fa0d9b4c0a64fd106",
    "instance.problem": "b0b5e0ed8d2b4d1fa0d9b4c0a64fd107",
    "slot.problem": "b0b5e0ed8d2b4d1fa0d9b4c0a64fd108",
    "udev.lost-events": "b0b5e0ed8d2b4d1fa0d9b4c0a64fd109",
    "server.connected": "b0b5e0ed8d2b4d1fa0d9b4c0a64fd10a",
    "server.away": "b0b5e0ed8d2b4d1fa0d9b4c0a64fd10b",
    "reload.done": "b0b5e0ed8d2b4d1fa0d9b4c0a64fd10c",
    "reload.failed": "b0b5e0ed8d2b4d1fa0d9b4c0a64fd10d",
    "ready": "b0b5e0ed8d2b4d1fa0d9b4c0a64fd10e",
    "stopping": "b0b5e0ed8d2b4d1fa0d9b4c0a64fd10f",
    "device.untold": "b0b5e0ed8d2b4d1fa0d9b4c0a64fd110",
    "link.problem": "b0b5e0ed8d2b4d1fa0d9b4c0a64fd111",
    "leave-alone.problem": "b0b5e0ed8d2b4d1fa0d9b4c0a64fd112",
    "control.problem": "b0b5e0ed8d2b4d1fa0d9b4c0a64fd113",
    "udev.problem": "5c7a0f3be26c4b0f9d1e7a4c83d26b01",
    "udev.back": "5c7a0f3be26c4b0f9d1e7a4c83d26b02",
    # Not the next number: others count on from there.
    "server.unlisted": "728a5baea4f44934b4e89e4c38d5cc7e",
    "node.unsealed": "37d01b33304a4d1999ffe34903fbb26b",
}
_FIELDS: Final = {
    "device": "DEVICE",
    "rule": "HOTPLUGD_RULE",
    "instance": "HOTPLUGD_INSTANCE",
    "action": "HOTPLUGD_ACTION",
    "path": "HOTPLUGD_PATH",
    "location": "HOTPLUGD_LOCATION",
}
_PRIORITIES: Final = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}


def notify(state: str) -> None:
    """Tell the service manager, as sd_notify(3) does. Nothing happens where there is none."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        # A service manager that is stuck does not keep us from attaching.
        channel.settimeout(0.1)
        channel.connect("\0" + address[1:] if address.startswith("@") else address)
        channel.sendall(state.encode("utf-8", "backslashreplace"))


def reloading() -> str:
    """The state that says that a reload has begun."""
    return f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}"


def watchdog_interval() -> float | None:
    """How often the service manager wants to hear from us, in seconds; None where it does not watch."""
    try:
        interval = int(os.environ.get("WATCHDOG_USEC", "")) / 1e6
        watched = int(os.environ.get("WATCHDOG_PID", str(os.getpid())))
    except ValueError:
        return None
    return interval / 2 if watched == os.getpid() and interval > 0 else None


def logger() -> FilteringBoundLogger:
    """The log: the journal under systemd, colours on a terminal, JSON lines otherwise; on standard error."""
    processors: list[Processor] = [_plain_strings, structlog.processors.add_log_level]
    processors.append(_traceback)
    if _to_journal():
        processors.append(_Journal())
    elif sys.stderr.isatty():
        colours = not os.environ.get("NO_COLOR")
        processors += [
            structlog.processors.TimeStamper("%H:%M:%S.%f", utc=False),
            structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=structlog.dev.plain_traceback),
        ]
    else:
        processors += [
            structlog.processors.TimeStamper("iso", utc=True),
            structlog.processors.JSONRenderer(),
        ]
    log: FilteringBoundLogger = structlog.wrap_logger(
        Lines(sys.stderr.fileno()),
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )
    return log


class Lines:
    """Writes each event by one write(2), with the end of its line: of other threads, of another hotplugd that
    appends to the same file, or of a crash in between none can come into it.

    What cannot be written is lost: a log that is full or gone keeps no device out.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()
        # The last line was cut.
        self._cut = False

    def msg(self, message: str) -> None:
        """Write it."""
        with self._lock, suppress(OSError):
            before = "\n" if self._cut else ""
            left = memoryview(f"{before}{message}\n".encode(errors="backslashreplace"))
            while left:
                # A pipe that is nearly full, or a disk, may take a part.
                left = left[os.write(self._descriptor, left) :]
                self._cut = bool(left)

    debug = info = warning = error = critical = msg


def _plain_strings(_: object, __: str, event: MutableMapping[str, object]) -> MutableMapping[str, object]:
    # What devices, servers and rule files say must not forge lines or move the reader's cursor.
    return {key: plain(value) if isinstance(value, str) else value for key, value in event.items()}


def _traceback(log: object, method: str, event: MutableMapping[str, object]) -> MutableMapping[str, object]:
    # What an exception says may be what a device says; its lines begin no event.
    made = structlog.processors.format_exc_info(log, method, event)
    if isinstance(text := made.get("exception"), str):
        made["exception"] = "\n    ".join(map(plain, text.split("\n")))
    return made


def _to_journal() -> bool:
    """Whether standard error is the journal, by systemd's own test (systemd.exec(5), $JOURNAL_STREAM)."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    with suppress(OSError, ValueError):
        status = os.fstat(sys.stderr.fileno())
        return (int(device), int(inode)) == (status.st_dev, status.st_ino)
    return False


class _Journal:
    """The last processor: sends the event to the journal with its fields, and prints nothing."""

    def __init__(self) -> None:
        from systemd import journal  # type: ignore[attr-defined]  # noqa: PLC0415

        self._send = journal.send

    def __call__(self, _: object, __: str, event: MutableMapping[str, object]) -> str:
        name = str(event.pop("event"))
        level = str(event.pop("level", "info"))
        message = " ".join([name, *(f"{key}={value}" for key, value in event.items())])
        fields = {field: str(event[key]) for key, field in _FIELDS.items() if key in event}
        if (ident := MESSAGE_IDS.get(name)) is not None:
            fields["MESSAGE_ID"] = ident
        self._send(message, PRIORITY=_PRIORITIES.get(level, 6), SYSLOG_IDENTIFIER="hotplugd", **fields)
        raise structlog.DropEvent
