"""Reads a listing piece by piece while it arrives, so that it is never in memory as a whole.

A user who may edit an instance can make its configuration any size: 70 MB in one instance take 140 MB here
(measured, LXD 5.0.2), and parsing a few dozen MB of JSON blocks the event loop for seconds. So unneeded parts
of instances above a size are skipped.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from hotplugd.model.claim_texts import CLAIM, LEASES

# Characters of one instance: smaller ones are parsed as a whole.
_LARGE: Final = 1 << 18
# Characters of one needed value of a larger instance, and its parts: each nested list takes 64 bytes.
_LONGEST: Final[Mapping[str, int]] = {
    "devices": 1 << 22, "expanded_devices": 1 << 22, "name": 256, "project": 256, "status": 256, "type": 256,
    "location": 256, "created_at": 256, "description": 1 << 16, "last_used_at": 256,
}  # fmt: skip
_MOST_PARTS: Final = 300_000
_LONGEST_KEY: Final = 1 << 12
# Whose keys are looked at one by one.
_KEYS_OF: Final = ("config", "expanded_config")
# Far more than count: which ones do is decided by all of them.
_MOST_CLAIMS: Final = 1_000
_HEAD: Final = 1 << 16
_LEAST: Final = 1 << 16

_TEXT: Final = r'"(?:[^"\\]++|\\.)*+"'
# An answer up to its metadata, which LXD and Incus have last (shared/api, ResponseRaw).
_BEGINNING: Final = re.compile(
    rf'\s*+\{{(?:\s*+{_TEXT}\s*+:\s*+(?:{_TEXT}|[-+.\w]++)\s*+,)*+\s*+"metadata"\s*+:\s*+', re.DOTALL
)
# A quote by itself begins a text of which the end has not come yet.
_PART: Final = re.compile(rf'{_TEXT}|[\[\]{{}},:]|[-+.\w]++|"', re.DOTALL)
# What is between brackets, with such as have none in them.
_FLAT: Final = re.compile(rf'(?:[^"\[\]{{}}]++|{_TEXT}|\[[^"\[\]{{}}]*+\]|\{{[^"\[\]{{}}]*+\}})*+', re.DOTALL)
_BETWEEN: Final = " \t\r\n,"
_OPEN: Final = ("{", "[")
_CLOSE: Final = ("}", "]")
_DECODER: Final = json.JSONDecoder()


class NoListing(ValueError):
    """The answer is no list of instances. The text says what it is."""


def elements(pieces: Iterable[bytes]) -> Iterator[Mapping[str, Any]]:
    """The items of the list that an answer has as its metadata, from the pieces that its body comes in.

    An item that is too large has only the needed keys, without values that are too large.
    Raises ValueError or TypeError for an answer of another shape.
    """
    source = iter(pieces)
    buffer = _Buffer(source)
    _begin(buffer)
    while not buffer.next_is("]"):
        if not buffer.next_is("{"):
            raise NoListing(f"expected an instance, and found {buffer.text[:20]!r}")
        found = _small(buffer)
        yield found if found is not None else _Large(buffer).read()
    # The rest, so that the connection can be used again.
    for _ in source:
        pass


class _Buffer:
    """The part of the body that has come. at: the end of the part that was taken."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self.text = ""
        self.at = 0
        self._pieces = pieces
        self._decode = codecs.getincrementaldecoder("utf-8")().decode

    def more(self) -> None:
        """Read more of the body. Raises NoListing at its end."""
        # So much that what is begun anew each time is not read often, however small the pieces are.
        wanted = max(_LEAST, (len(self.text) - self.at) // 2)
        pieces: list[str] = []
        for piece in self._pieces:
            pieces.append(self._decode(piece))
            wanted -= len(pieces[-1])
            if wanted <= 0:
                break
        if not pieces:
            raise NoListing("expected a whole list, and it breaks off")
        self.text, self.at = "".join((self.text[self.at :], *pieces)), 0

    def pass_over(self, pattern: re.Pattern[str]) -> None:
        """Take the text that the pattern matches, which may be empty."""
        found = pattern.match(self.text, self.at)
        assert found is not None
        self.at = found.end()

    def next_is(self, char: str) -> bool:
        """Whether this text comes next, after separators."""
        while True:
            while self.at < len(self.text) and self.text[self.at] in _BETWEEN:
                self.at += 1
            if self.at < len(self.text):
                return self.text[self.at] == char
            self.more()


def _begin(buffer: _Buffer) -> None:
    while (found := _BEGINNING.match(buffer.text)) is None or found.end() == len(buffer.text):
        if len(buffer.text) > _HEAD:
            raise NoListing("expected `metadata`, and found other things")
        buffer.more()
    buffer.at = found.end()
    if not buffer.next_is("["):
        raise NoListing(f"expected a list, and found {buffer.text[buffer.at : buffer.at + 20]!r}")
    buffer.at += 1


def _small(buffer: _Buffer) -> Mapping[str, Any] | None:
    """Take the next item; None, with nothing taken, where it is large."""
    while True:
        try:
            found, buffer.at = _DECODER.raw_decode(buffer.text, buffer.at)
        except json.JSONDecodeError:
            # The item is not complete yet.
            if len(buffer.text) - buffer.at > _LARGE:
                return None
            buffer.more()
        else:
            return dict(found)


class _Large:
    """Reads the next item of a buffer part by part, and keeps what is needed."""

    def __init__(self, buffer: _Buffer) -> None:
        self._buffer = buffer
        self._kept: dict[str, str] = {}
        # Of the configuration, which keys there are; of the profiles' with it, those of claims as they are.
        self._config: dict[str, str] = {}
        self._claims: dict[str, str] = {}
        self._name = ""
        self._key = ""
        # The parts of the present value; None where it is not needed, or too large.
        self._value: list[str] | None = None
        self._size = 0

    def read(self) -> Mapping[str, Any]:
        """Take the item. Raises ValueError."""
        depth, last = 0, ""
        while True:
            if depth > 1 and self._value is None and self._key not in _KEYS_OF:
                self._buffer.pass_over(_FLAT)
            part = self._part()
            depth -= part in _CLOSE
            if not depth and part in _CLOSE:
                self._end()
                found = {key: json.loads(text) for key, text in self._kept.items()}
                claims = {"expanded_config": self._claims} if self._claims else {}
                return {"config": self._config, **claims, **found}
            if depth == 1 and part == ",":
                self._end()
            elif depth == 1 and part == ":":
                self._begin(last)
            else:
                if depth == 2 and self._key == "config":  # noqa: PLR2004
                    self._see_own(last, part)
                elif depth == 2 and self._key == "expanded_config":  # noqa: PLR2004
                    self._see_claim(last, part)
                self._take(part)
            depth += part in _OPEN
            last = part

    def _see_own(self, last: str, part: str) -> None:
        """A part of the instance's own configuration, and the one before: the value of one key counts."""
        if part == ":":
            self._name = last[1:-1]
            self._config[self._name] = ""
        elif last == ":" and self._name == LEASES and part.startswith('"'):
            self._config[LEASES] = str(json.loads(part))

    def _see_claim(self, last: str, part: str) -> None:
        """A part of the configuration with the profiles' own, and the one before."""
        if part == ":":
            self._name = last[1:-1]
        elif (
            last == ":"
            and part.startswith('"')
            and self._name.startswith(CLAIM)
            and len(self._claims) < _MOST_CLAIMS
        ):
            # One that is too long is passed over, and empty here: it is no claim in either way.
            self._claims[self._name] = str(json.loads(part))

    def _begin(self, key: str) -> None:
        self._key, self._size = key[1:-1], 0
        self._value = [] if self._key in _LONGEST else None

    def _take(self, part: str) -> None:
        if self._value is None:
            return
        self._value.append(part)
        self._size += len(part)
        if self._size > _LONGEST[self._key] or len(self._value) > _MOST_PARTS:
            self._value = None

    def _end(self) -> None:
        if self._value is not None:
            self._kept[self._key] = "".join(self._value)
        self._key, self._value = "", None

    def _part(self) -> str:
        """The next token; an empty text in place of one that is too long."""
        buffer = self._buffer
        while True:
            found = _PART.search(buffer.text, buffer.at)
            if found is None:
                buffer.at = len(buffer.text)
            elif found[0] == '"':
                buffer.at = found.start()
                most = _LONGEST_KEY if self._value is None else _LONGEST[self._key]
                if len(buffer.text) - buffer.at > most:
                    self._value = None
                    self._pass_over()
                    return '""'
            elif found.end() < len(buffer.text):
                buffer.at = found.end()
                return found[0]
            buffer.more()

    def _pass_over(self) -> None:
        """Take the text that comes next, of whatever length."""
        buffer = self._buffer
        buffer.at += 1
        while True:
            rest = buffer.text[buffer.at :]
            # A hundred times faster than a regular expression: only quotes that end a text are left.
            end = rest.replace("\\\\", "  ").replace('\\"', "  ").find('"')
            if end >= 0:
                buffer.at += end + 1
                return
            # The last character may be the first half of an escape.
            odd = (len(rest) - len(rest.rstrip("\\"))) % 2
            buffer.at = len(buffer.text) - odd
            buffer.more()
