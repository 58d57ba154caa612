"""Bytes as a source of choices: the same bytes always make the same choices."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

T = TypeVar("T")

# What a device, a server or a container might say to get somewhere, or to get something into a terminal.
HOSTILE: Final = (
    "", "0", "A", "1A0021", "ci", "ci-1", "box", "default", "None", "true", "é", "e\u0301", "\u6f22",
    "\U0001f600" * 63,
    "\n", "A\nB", "A\r\nB", "\0", "A\0B", " ", "\t", "\x7f", "\x85", "\u2028", "\u2029",
    ".", "..", "../..", "../../etc/passwd", "/", "//", "/dev/null", "/dev/../etc", "a/b", "a.b", "\\",
    "\\x41",
    "$(reboot)", "`reboot`", "; reboot", "| cat", "&", "%s%n", "{serial}", "{{", "}", "'", '"', "''", "<<",
    "*", "[", "a|b",
    "-", "--", "--flag", "-rf", "--help", "\x1b[2J", "\x1b]0;title\x07", "\x9b31m", "\x08\x08", "\x1b",
    "\u202eevil", "\u2066", "\u200b", "\ufeff", "\U000e0041", "\u0600", "\ud800", "\udc80", "\udfff\ud800",
    "\uffff",
    "x" * 63, "x" * 64, "x" * 126, "x" * 4097, "hp-0123456789abcdef", "user.hotplugd.instance", "NAME=value",
    "A=B\nC=D",
    "18d1", "18D1", "0x18d1", "4ee7", "ff:42:01", ":ff4201:080650:", ":0900", "1-4.2", "usb1",
    "00:e0:4c:68:01:02", "eth0",
    "9" * 30, "-1", "1e999", "\u0661", "[[[[", '{"a":', "c-189-3-1",
    "n-1-" + "9" * 5000, "/dev/a\0b", "/dev/" + "x" * 300,
)  # fmt: skip


class Feed:
    """Makes choices; once the bytes are used up, the first of each."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def byte(self) -> int:
        """From 0 to 255."""
        if self._at >= len(self._data):
            return 0
        self._at += 1
        return self._data[self._at - 1]

    def number(self, most: int) -> int:
        """From 0 to `most`."""
        found = 0
        for _ in range((most.bit_length() + 7) // 8):
            found = found << 8 | self.byte()
        return found % (most + 1)

    def pick(self, choices: Sequence[T]) -> T:
        """One of these."""
        return choices[self.byte() % len(choices)]

    def chance(self, of: int = 2) -> bool:
        """True once in so many times."""
        return self.byte() % of == of - 1

    def several(self, make: Callable[[], T], most: int) -> list[T]:
        """Up to so many of what `make` makes."""
        return [make() for _ in range(self.byte() % (most + 1))]

    def raw(self, most: int) -> bytes:
        """Some bytes as they are."""
        length = self.byte() % (most + 1)
        found = self._data[self._at : self._at + length]
        self._at += length
        return found

    def rest(self) -> bytes:
        """All that is left."""
        found, self._at = self._data[self._at :], len(self._data)
        return found

    def text(self) -> str:
        """A text: a nasty one, any bytes as udev's strings come, or code units as USB has them."""
        kind = self.byte()
        if kind < 0xA0:
            return self.pick(HOSTILE)
        if kind < 0xC0:
            return self.pick(HOSTILE) + self.pick(HOSTILE)
        raw = self.raw(126)
        if kind < 0xE0:
            return raw.decode("utf-8", "surrogateescape")
        return raw[: len(raw) & ~1].decode("utf-16-le", "surrogatepass")

    def texts(self, keys: Sequence[str], most: int = 8) -> dict[str, str]:
        """A mapping; most of its keys are among these."""
        return {
            self.text() if self.chance(8) else self.pick(keys): self.text()
            for _ in range(self.byte() % (most + 1))
        }

    def json(self, depth: int = 3) -> object:
        """Any value that JSON has."""
        kind = self.byte() % (12 if depth else 8)
        if kind >= 10:
            return self.several(lambda: self.json(depth - 1), 3)
        if kind >= 8:
            return {self.text(): self.json(depth - 1) for _ in range(self.byte() % 4)}
        return (self.text(), None, True, False, self.number(1 << 16), -1, 1.5, 1 << 70)[kind]

    def warped(self, value: object) -> object:
        """The value as JSON, with something else in some places of it."""
        if self.chance(24):
            return self.json()
        if isinstance(value, dict):
            found = {key: self.warped(each) for key, each in value.items() if not self.chance(24)}
            return found | ({self.text(): self.json(1)} if self.chance(16) else {})
        if isinstance(value, list):
            return [self.warped(each) for each in value]
        return self.text() if isinstance(value, str) and self.chance(8) else value


def as_json(value: object) -> bytes:
    """JSON as servers send it, raw where it can be."""
    try:
        return json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(value).encode()
