"""systemd and logs: readiness, the watchdog, the journal. Nothing where systemd is absent."""

from __future__ import annotations

import atexit
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Final, Literal

import structlog
from structlog.typing import FilteringBoundLogger

from hotplugd.app.event_buffer import EventBuffer
from hotplugd.app.event_stream import Event, EventStream, Writer
from hotplugd.host.sysfs import boot

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
    "device.seen": "165cb931f12a4fdb9564c758effafb19",
    "device.gone": "0840fccf4d8840fc9cead55d4c6b6c88",
    "device.unmatched": "2091e190399f4bfcb7d5e4edfdbcef29",
    "device.asked": "085bfb3c428848a1b0449e68c6f30342",
    "device.attached": "4f7b6fe7529b4657a5944c5d53a6403b",
    "device.detached": "427d0d17d9cc4a4fad6f327f4266cc64",
    "device.inside": "43a59b9a923e475e8a6b6ed66984afaa",
    "problem.over": "99c546ab40a34719b01c61f7f4f9c7fc",
    "instance.created": "d15b8cb7e63544bc927186ff1501b416",
    "instance.started": "781a8f18145c49b191cc4e1cb62f54d6",
    "instance.stopped": "6901c5edbf1b466488fc1c7f9161803f",
    "instance.restarted": "58830669a5ac4f939c81197c7f723bdd",
    "instance.deleted": "8a062c311f074691bb24fa6c8a09a67e",
    "udev-record.problem": "c2f1d6f0a3f54b7e9a6c4f0e5b7d8a19",
    "seal.problem": "ddf1d81bf09946b696d7be99fd0c1aca",
    "server.problem": "2ce2548ebed7407e8e0a0c8153a95471",
    "starting": "327d383fc3354dcd8b0a9a0cc995bd8b",
    "lease.given": "d4104f23cc6f406f90ddb3c3fd95c152",
    "lease.found": "3c8f1d6e0b7a4f52914ad0c76e5b28f3",
    "lease.over": "f251d5ceb66e418da48358e845737828",
    "lease.away": "5a1c70f9b4d34e0fa6e3d8a52d6f7c10",
    "lease.back": "e6b94b7d1f5c4a63b0a8c1d27f3e9b42",
    "claim.waiting": "7c8719c0d1144d5495978b2c392b28e2",
    "claim.bound": "507a623a4c0d44e6abd8cb76dcebb103",
    "claim.withdrawn": "03c03cdcb3d941b080e935e94f80bbb3",
    "claim.problem": "4a23114ef32b444e8e0b19a0e0b22dec",
    "usb.problem": "50c4e006c6e54ab4a5c59bd8aee78783",
    "health.problem": "abd49e7e45c74e7290c23c7d0ca5b3d5",
    "attach.asked": "9f2242d684c348a9b122ea71529db5ab",
    "attach.refused": "15b0607123924d0d9dd036091f789417",
    "detach.asked": "c280e379d3164da39497257de56a026b",
    "detach.refused": "d652cb284b4e4e129f58bf0eb3444e17",
    "undo.asked": "18e6d5ed90ce4a0491f315287703913d",
    "undo.refused": "e1c00b96f608467cac6a5a13cd0bebb0",
    "lease-release.asked": "3d3739195268461486cf66f0de29c2f8",
    "lease-release.refused": "1367dbde1ae34ceeafcc2ec3952ddf41",
    "lease-move.asked": "954e697e54c34128b594dddd35ff6bd0",
    "lease-move.refused": "5443c7d2d6d0451fb9bf1f423fe05fc9",
    "cordon.asked": "a5b0c78750ae491ab7bf7f365f8eee93",
    "cordon.refused": "76ee8704fddd433183cf8022c79ea929",
    "uncordon.asked": "4a252898af5449aba3746bd501928402",
    "uncordon.refused": "326c118c07d34829afb0003cd9223996",
    "drain.asked": "56bf2589f61849ee800a7df1a6486598",
    "drain.refused": "143334137e8b41a2a226980ebd05c493",
    "reload.asked": "d778d22a183745e1992c6e53ae333890",
    "detach-all.asked": "a9c16381f52c480b84170b4be72091ea",
    "lease.problem": "ce1024b94b954a64a39d62d29a4909d4",
    "device.revoked": "1cca6c6fe6004f0897e36379c60c9c3f",
    "reset.asked": "fd4ccf01051843d6ba60fbd42140cc7e",
    "reset.refused": "bf3601daa86e433892dfcbcbe9727366",
    "port.asked": "2ef242b72a3d4c7192df770536b35bd2",
    "port.refused": "12da37643289421f8bb4d8d00d6c399e",
    "state.problem": "35bbaa05673541b58435028e6cc3ba73",
    "allow.problem": "a08b5060866941468321a75e99e807c4",
    "config.error": "cbf9ee27cf8d431cb120484c54c0ad03",
    "config.warning": "0832a70cb28245129f242c787d20d1f8",
    "reload.error": "0fd798a600714e16b2c7843831857758",
    "reload.warning": "5b7765734bdd42aba0a420b84bf63c65",
    "failed": "e2884671840949d2b72c3ce282c7ef88",
    "defect": "01700fe687bd42f2b5e57dc8d7ef6d99",
    "dry-run": "81b0fcec51da4c2dbf2c3545591152b3",
    "leave-alone.written": "c2d534b6233646bebe682d18a3afad0e",
    "slot.swept": "1300b84aa4284740abfc614ffdc0ff7f",
    "device.other": "5f5b9efd79934364b788e6b0f4ca859c",
    "instance.asked": "fd0762480aeb4cb18efb7400be47821d",
    "instance.looked": "45852c93b08b40b092ae0afe4f84cd06",
}
_JOURNAL_SOCKET: Final = "/run/systemd/journal/socket"
_DEVICE: Final = "DEVICE"
FIELD: Final = "HOTPLUGD_"
"""What the journal's field for each of an event begins with; the device's own is the journal's DEVICE=."""
EVENT: Final = f"{FIELD}EVENT"
"""The journal's field with the name of the event."""
# Fields that the journal has itself.
_STAMPS: Final = frozenset({"timestamp", "boottime", "cursor"})
LogFormat = Literal["json", "console", "journal"]
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


def log_format() -> LogFormat:
    """Where the log goes unless somebody says it: to the journal, else a terminal, else as JSON lines."""
    if _to_journal():
        return "journal"
    return "console" if sys.stderr.isatty() else "json"


def logger(
    form: LogFormat | None = None, *, verbose: bool = False, buffer: EventBuffer | None = None
) -> FilteringBoundLogger:
    """The log.

    form     the journal; for people, in colours on a terminal; or JSON lines: on standard error both. None:
             as `log_format` says
    verbose  also what only whoever looks for a mistake wants to know
    buffer   where events are kept; None: nowhere
    Raises OSError where the journal cannot be had.
    """
    form = form or log_format()
    write: Writer = _Journal() if form == "journal" else _Console() if form == "console" else _Json()
    stream = EventStream(buffer or EventBuffer(boot(), most=0), write)
    atexit.register(stream.flush)
    # Bound here, once: else structlog makes a logger for each event.
    log: FilteringBoundLogger = structlog.wrap_logger(
        stream,
        processors=[stream],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if verbose else logging.INFO),
    ).bind()
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


def _to_journal() -> bool:
    """Whether standard error is the journal, by systemd's own test (systemd.exec(5), $JOURNAL_STREAM)."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    with suppress(OSError, ValueError):
        status = os.fstat(sys.stderr.fileno())
        return (int(device), int(inode)) == (status.st_dev, status.st_ino)
    return False


class _Json:
    """Writes each event as a line of JSON."""

    def __init__(self) -> None:
        self._lines = Lines(sys.stderr.fileno())

    def __call__(self, event: Event, text: str) -> None:
        del event
        self._lines.msg(text)


class _Console:
    """Writes each event as a line for people, in colours on a terminal that wants them."""

    def __init__(self) -> None:
        self._lines = Lines(sys.stderr.fileno())
        self._render = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty() and not os.environ.get("NO_COLOR"),
            exception_formatter=structlog.dev.plain_traceback,
        )

    def __call__(self, event: Event, text: str) -> None:
        del text
        at = datetime.fromisoformat(str(event["timestamp"])).astimezone()
        shown = {key: value for key, value in event.items() if key not in _STAMPS}
        shown["timestamp"] = at.strftime("%H:%M:%S.%f")
        level = str(event["level"])
        self._lines.msg(str(self._render(None, level, shown)))


class _Journal:
    """Sends each event to the journal with its fields, and prints nothing."""

    def __init__(self) -> None:
        from systemd import journal  # type: ignore[attr-defined]  # noqa: PLC0415

        self._send = journal.send

    def __call__(self, event: Event, text: str) -> None:
        del text
        told = dict(event)
        name, level = str(told.pop("event")), str(told.pop("level"))
        fields = {_field(key): str(value) for key, value in told.items()}
        said = (f"{key}={value}" for key, value in told.items() if key not in _STAMPS)
        if (ident := MESSAGE_IDS.get(name)) is not None:
            fields["MESSAGE_ID"] = ident
        self._send(
            " ".join([name, *said]),
            PRIORITY=_PRIORITIES.get(level, 6),
            SYSLOG_IDENTIFIER="hotplugd",
            **fields,
            **{EVENT: name},
        )


def tell_journal(name: str, **fields: object) -> None:
    """Send an event of a command that works without the daemon to the journal, where there is one."""
    if os.path.exists(_JOURNAL_SOCKET):
        with suppress(ImportError, OSError):
            _Journal()({"event": name, "level": "info", **fields}, "")


def _field(key: str) -> str:
    return _DEVICE if key == "device" else f"{FIELD}{key.upper()}"
