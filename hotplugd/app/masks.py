"""Masks for what names a device, a person or a host in a report: the same value has the same mask. Pure.

A value that is known by where it stood (a field `serial`) is masked wherever it is repeated. What has the
shape of an address, a key or a token is masked where it is found.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Final
from urllib.parse import quote

from hotplugd.model.text import printable, quoted

# A shorter value stands in other words too: it is masked where it is a word of its own, ...
_PART: Final = 6
# ... or, shorter still or 0000 as in the address of a PCI device, where it is said to be a serial number.
_WORD: Final = 4
_SAID: Final = "|".join(f"(?<=serial{each})" for each in (" ", ":", "=", ": ", ':"', ': "', ": '", ': \\\\"'))
_BYTE: Final = "(?:[0-9a-f]{2})"
# Names that identify nobody: they are not masked.
_PLAIN_HOSTS: Final = frozenset({"localhost", "lxd", "incus", "host", "server", "debian", "ubuntu", "none"})
_PLAIN_USERS: Final = frozenset({"root", "nobody", "lxd", "incus"})
_ANYWHERE: Final = frozenset({"127.0.0.1", "::", "::1"})
_TURKISH: Final = str.maketrans("\u0130\u0131", "ii")
# The mask of a text whose number is not known, since it is written in another case.
_MASK: Final = "<serial>"
_SHAPES: Final = re.compile(
    rf"""
    (?P<key>-----BEGIN\ [^-]+-----.*?(?:-----END\ [^-]+-----|\Z))
    | (?P<secret>(?:(?<=token)|(?<=password)|(?<=secret)|(?<=private_key)|(?<=private-key))
        ["']?\s*[=:]\s*["']?[^\s"',;}}\]]+)
    | (?P<uuid>(?<![0-9a-f]){_BYTE}{{4}}(?:-{_BYTE}{{2}}){{3}}-{_BYTE}{{6}}(?![0-9a-f]))
    | (?P<mac>(?<![0-9a-f:])(?:{_BYTE}[:-]){{5}}{_BYTE}(?![0-9a-f:]))
    | (?P<named>(?<=\benx){_BYTE}{{6}}\b|(?<=\bwlx){_BYTE}{{6}}\b|(?<=\bwwx){_BYTE}{{6}}\b)
    | (?P<hex>(?<![0-9a-z]){_BYTE}{{16,}}(?![0-9a-z]))
    | (?P<long>[a-z0-9+/_-]{{40,}}={{0,2}})
    | (?P<v4>(?<![\w.])(?:\d{{1,3}}\.){{3}}\d{{1,3}}(?![\w.]))
    | (?P<v6>(?<![\w:.])[0-9a-f]{{0,4}}(?::[0-9a-f]{{0,4}}){{2,7}}(?![\w:.]))
    | (?P<home>(?<=/home/)[^/\s"',:]+)
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL | re.ASCII,
)
_KINDS: Final[Mapping[str, str]] = {
    "key": "key", "secret": "secret", "uuid": "uuid", "mac": "mac", "named": "mac", "hex": "hex",
    "long": "secret", "v4": "address", "v6": "address", "home": "user",
}  # fmt: skip


class Masks:
    """The masks of one report: `<serial-1>` for the first serial number, and so on."""

    def __init__(self) -> None:
        self._masks: dict[str, str] = {}
        self._numbers: dict[str, int] = {}
        # The masks by the folded value, and by the value as texts have it.
        self._known: dict[str, str] = {}
        self._written: dict[str, str] = {}
        self._pattern: re.Pattern[str] | None = None

    def learn(self, kind: str, value: str) -> None:
        """Mask a value wherever it stands, in upper or lower case. kind: `serial`, `mac`, `host` or `user`"""
        value = value.strip()
        folded = value.casefold()
        if (
            not value
            or (kind == "host" and folded in _PLAIN_HOSTS)
            or (kind == "user" and folded in _PLAIN_USERS)
        ):
            return
        if kind == "mac" and _plain_mac(folded):
            return
        mask = self._mask(kind, value)
        # As udev, messages, URLs and JSON write it.
        once = json.dumps(value, ensure_ascii=False)[1:-1]
        cut = quoted(value)
        forms = {value, re.sub(r"\s+", "_", value), printable(value), cut, quote(value, safe=""), once}
        forms.add(json.dumps(once, ensure_ascii=False)[1:-1])
        for each in forms:
            if each not in self._written:
                self._written[each] = self._known.setdefault(_folded(each), mask)
                self._pattern = None

    def apply(self, text: str) -> str:
        """The text with masks."""
        if self._pattern is None:
            self._pattern = re.compile("|".join(self._alternatives()) or r"(?!)", re.IGNORECASE)
        if (whole := self._known.get(_folded(text))) is not None:
            return whole
        text = self._pattern.sub(lambda found: self._known.get(_folded(found[0]), _MASK), text)
        return _SHAPES.sub(self._shape, text)

    @property
    def longest(self) -> int:
        """Characters of the longest text that has a mask."""
        return max(map(len, self._written), default=0)

    def applied(self, found: object) -> object:
        """A JSON document with masks in all of its texts."""
        if isinstance(found, str):
            return self.apply(found)
        if isinstance(found, Mapping):
            return {self.apply(str(key)): self.applied(value) for key, value in found.items()}
        if isinstance(found, list | tuple):
            return [self.applied(each) for each in found]
        return found

    def counts(self) -> Mapping[str, int]:
        """How many values of each kind have masks."""
        return dict(sorted(self._numbers.items()))

    def _alternatives(self) -> Iterator[str]:
        # The longest first: one may begin as another does.
        for each in sorted(self._written, key=lambda each: (-len(each), each)):
            whole = re.escape(each)
            is_name = self._written[each].startswith(("<host-", "<user-"))
            if not is_name and (len(each) < _WORD or (len(each) < _PART and len(set(each)) == 1)):
                yield rf"(?:{_SAID}){whole}(?![^\W_])"
            elif is_name or len(each) < _PART:
                yield rf"(?<![^\W_]){whole}(?![^\W_])"
            else:
                yield whole

    def _mask(self, kind: str, value: str) -> str:
        key = f"{kind}:{re.sub('[:-]', '', value.casefold()) if kind == 'mac' else value.casefold()}"
        if key not in self._masks:
            self._numbers[kind] = self._numbers.get(kind, 0) + 1
            self._masks[key] = f"<{kind}-{self._numbers[kind]}>"
        return self._masks[key]

    def _shape(self, found: re.Match[str]) -> str:
        shape, text = str(found.lastgroup), found[0]
        if shape == "secret":
            return "=<secret>"
        return text if _stays(shape, text) else self._mask(_KINDS[shape], text)


def _folded(text: str) -> str:
    """The text without case. With `re.IGNORECASE` both of Turkish, dotted and dotless, are an i, too."""
    return text.translate(_TURKISH).casefold()


def _stays(shape: str, text: str) -> bool:
    """Whether a text of such a shape is something else."""
    if shape == "long":
        return not _is_random(text)
    if shape == "mac":
        return _plain_mac(text.casefold())
    if shape in ("v4", "v6"):
        return not _is_address(text)
    return shape == "home" and text.startswith("<")


def _plain_mac(folded: str) -> bool:
    """Whether an address is none: all zeros, or that to everybody."""
    return set(re.sub("[:-]", "", folded)) in ({"0"}, {"f"})


def _is_random(text: str) -> bool:
    """Whether a long word is a token or a key and no path: it has all kinds of letters."""
    kinds = (str.isupper, str.islower, str.isdigit)
    return all(any(map(kind, text)) for kind in kinds) and text.count("/") * 16 <= len(text)


def _is_address(text: str) -> bool:
    if text in _ANYWHERE:
        return False
    try:
        return bool(IPv6Address(text) if ":" in text else IPv4Address(text))
    except ValueError:
        return False
