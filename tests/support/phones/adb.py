"""What a phone speaks over its adb interface (Android: packages/modules/adb/protocol.txt)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

_HEADER: Final = struct.Struct("<6I")
_VERSION: Final = 0x01000000
_MOST: Final = 4096
_TOKEN, _KEY = 1, 3


def _command(name: str) -> int:
    return int.from_bytes(name.encode("ascii"), "little")


_CNXN, _AUTH, _OPEN, _OKAY, _WRTE, _CLSE = map(_command, ("CNXN", "AUTH", "OPEN", "OKAY", "WRTE", "CLSE"))


def message(command: int, first: int, second: int, data: bytes = b"") -> list[bytes]:
    """A message as the transfers that it takes: the header, and the data where there is some."""
    check = sum(data) & 0xFFFFFFFF
    head = _HEADER.pack(command, first, second, len(data), check, command ^ 0xFFFFFFFF)
    return [head, data] if data else [head]


class Adb:
    """The phone's end of one connection.

    banner      what the phone says of itself
    authorised  whether its owner trusts this host; set by `authorise`
    send        takes one transfer for the host
    shell       answers a command, or with None for one that goes on for ever
    reboot      is told where to: `bootloader`, or nothing
    """

    def __init__(
        self,
        banner: str,
        send: Callable[[bytes], None],
        shell: Callable[[str], str | None],
        reboot: Callable[[str], None],
        *,
        authorised: bool,
    ) -> None:
        self._banner = banner.encode()
        self._send = send
        self._shell = shell
        self._reboot = reboot
        self._authorised = authorised
        self._key_shown = False
        self._came = b""
        self._streams = 0

    def authorise(self) -> None:
        """The owner taps on `allow`."""
        self._authorised = True
        if self._key_shown:
            self._connect()

    def take(self, data: bytes) -> None:
        """What the host sent, in whatever pieces."""
        self._came += data
        while len(self._came) >= _HEADER.size:
            command, first, second, length, _, _ = _HEADER.unpack_from(self._came)
            end = _HEADER.size + length
            if len(self._came) < end:
                return
            body, self._came = self._came[_HEADER.size : end], self._came[end:]
            self._obey(command, first, second, body)

    def _obey(self, command: int, first: int, second: int, body: bytes) -> None:
        if command == _CNXN:
            self._key_shown = False
            if self._authorised:
                self._connect()
            else:
                self._say(_AUTH, _TOKEN, 0, bytes(range(20)))
        elif command == _AUTH:
            self._key_shown = first == _KEY
            if not self._key_shown:  # a signature by a key that nobody has seen before
                self._say(_AUTH, _TOKEN, 0, bytes(range(20)))
            elif self._authorised:
                self._connect()
        elif command == _OPEN:
            self._open(first, body.rstrip(b"\0").decode(errors="replace"))
        elif command == _OKAY:  # what we wrote has arrived, and there is no more
            self._say(_CLSE, second, first)

    def _open(self, theirs: int, service: str) -> None:
        self._streams += 1
        ours = self._streams
        name, _, rest = service.partition(":")
        if name == "shell":
            self._say(_OKAY, ours, theirs)
            answer = self._shell(rest)
            if answer is not None:
                self._say(_WRTE, ours, theirs, answer.encode()[:_MOST])
        elif name == "reboot":
            self._say(_OKAY, ours, theirs)
            self._reboot(rest)
        else:
            self._say(_CLSE, 0, theirs)

    def _connect(self) -> None:
        self._say(_CNXN, _VERSION, _MOST, self._banner)

    def _say(self, command: int, first: int, second: int, data: bytes = b"") -> None:
        for part in message(command, first, second, data):
            self._send(part)
