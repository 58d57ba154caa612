"""Whether a pattern can be met by a value of a match key, as the key's values are written. Pure."""

from __future__ import annotations

import re
from typing import Final, assert_never

from hotplugd.model.text import quoted
from hotplugd.rules.complaint import Complaint
from hotplugd.rules.keys import Form
from hotplugd.rules.pattern import Alternative, CharClass, Pattern

_HEX: Final = "0123456789abcdef"
_NUMBER: Final = (_HEX,) * 4
_ID: Final = (*_NUMBER, ":", *_NUMBER)
_INTERFACE: Final = (_HEX, _HEX, ":", _HEX, _HEX, ":", _HEX, _HEX)
_MAC: Final = (_HEX, _HEX, *(":", _HEX, _HEX) * 5)
_PORT: Final = re.compile(r"[1-9][0-9]*-[1-9][0-9]*(\.[1-9][0-9]*)*|usb[1-9][0-9]*", re.ASCII)
_IN_PORTS: Final = frozenset("0123456789-.usb")

# Both go into instances' names by templates: shelf-1-4.
HUB: Final = re.compile(r"[A-Za-z](?:[A-Za-z0-9-]{0,30}[A-Za-z0-9])?", re.ASCII)
LABEL: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,14}[A-Za-z0-9])?", re.ASCII)


def match_value(form: Form, pattern: Pattern) -> Complaint | None:  # noqa: PLR0911  # one for each form
    """A pattern for the values of a match key. That of a form in hex digits is in lower case."""
    match form:
        case Form.TEXT:
            return None
        case Form.NUMBER:
            return _number(pattern)
        case Form.ID:
            return _vendor_and_product(pattern)
        case Form.INTERFACE:
            return _interface(pattern)
        case Form.MAC:
            return _mac(pattern)
        case Form.PORT:
            return _port(pattern)
        case Form.LOCATION:
            return _location(pattern)
    assert_never(form)


def _number(pattern: Pattern) -> Complaint | None:
    """A vendor's or product's: four hex digits. The pattern is in lower case."""
    if pattern.may_match(_NUMBER):
        return None
    digits = pattern.text.removeprefix("0x")
    hint = "as lsusb prints them, such as 0403"
    if re.fullmatch(r"[0-9a-f]{1,4}", digits):
        hint = f"did you mean '{digits.zfill(4)}'?"
    return Complaint(f"'{quoted(pattern.text)}' is not four hex digits", hint)


def _vendor_and_product(pattern: Pattern) -> Complaint | None:
    """`vendor:product`. The pattern is in lower case."""
    if pattern.may_match(_ID):
        return None
    hint = "as lsusb prints it, such as 0403:6001"
    if digits := re.fullmatch(r"(?:0x)?([0-9a-f]{1,4})[:/_-](?:0x)?([0-9a-f]{1,4})", pattern.text):
        hint = f"did you mean '{digits[1].zfill(4)}:{digits[2].zfill(4)}'?"
    return Complaint(f"'{quoted(pattern.text)}' is no vendor:product of four hex digits each", hint)


def _interface(pattern: Pattern) -> Complaint | None:
    """`class:subclass:protocol`. The pattern is in lower case."""
    if pattern.may_match(_INTERFACE):
        return None
    hint = "such as ff:42:01, which is adb's"
    if digits := re.fullmatch(r":?([0-9a-f]{2})[:/]?([0-9a-f]{2})[:/]?([0-9a-f]{2}):?", pattern.text):
        hint = f"did you mean '{digits[1]}:{digits[2]}:{digits[3]}'?"
    return Complaint(f"'{quoted(pattern.text)}' is no class:subclass:protocol of two hex digits each", hint)


def _mac(pattern: Pattern) -> Complaint | None:
    """A hardware address of six bytes. The pattern is in lower case."""
    if pattern.may_match(_MAC):
        return None
    digits = re.sub("[:.-]", "", pattern.text)
    hint = "six pairs of hex digits, such as 00:e0:4c:68:01:02; `hotplugd devices` shows it"
    if re.fullmatch(r"[0-9a-f]{12}", digits):
        hint = f"did you mean '{':'.join(re.findall('..', digits))}'?"
    return Complaint(f"'{quoted(pattern.text)}' is no hardware address", hint)


def _port(pattern: Pattern) -> Complaint | None:
    """A USB device's name by its port, `1-4.2`, or a root hub's, `usb1` (Linux: drivers/usb/core/usb.c)."""
    wild = {
        character.literal
        for alternative in pattern.wild
        for character in alternative
        if isinstance(character, CharClass)
    }
    if all(map(_PORT.fullmatch, pattern.exact)) and wild - {None} <= _IN_PORTS:
        return None
    hint = "bus-port, and .port for each hub between: 1-4.2; `hotplugd devices` shows it"
    if re.fullmatch(r"[0-9]+(\.[0-9]+)*", pattern.text):
        hint = f"with the bus first, such as 1-{pattern.text}, or *-{pattern.text} for any"
    elif pattern.text.startswith("/dev/"):
        hint = "a node's number changes at each plug; `hotplugd devices` shows the port"
    elif pattern.text.startswith("pci-"):
        hint = "that is udev's ID_PATH: write `path`"
    return Complaint(f"'{quoted(pattern.text)}' is no USB port", hint)


def _location(pattern: Pattern) -> Complaint | None:
    """A hub's name and a port's label, with a slash between."""
    if all(map(_is_location, pattern.exact)) and all(map(_may_have_slash, pattern.wild)):
        return None
    hint = "hub/port, such as shelf-1/4, or shelf-1/* for any port of that hub"
    if HUB.fullmatch(pattern.text):
        hint = f"did you mean '{pattern.text}/*'?"
    elif pattern.text.startswith(("pci-", "platform-")):
        hint = "that is udev's ID_PATH: write `path`"
    return Complaint(f"'{quoted(pattern.text)}' is no location", hint)


def _is_location(text: str) -> bool:
    hub, _, port = text.partition("/")
    return HUB.fullmatch(hub) is not None and LABEL.fullmatch(port) is not None


def _may_have_slash(alternative: Alternative) -> bool:
    return any(chars is None or chars.has("/") for chars in alternative)
