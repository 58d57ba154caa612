"""Checks single values of the section `pools`. A check returns a Complaint, or None."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from hotplugd.model.names import is_instance_name
from hotplugd.model.text import quoted
from hotplugd.rules import duration
from hotplugd.rules.complaint import Complaint
from hotplugd.rules.keys import MatchKey
from hotplugd.rules.pattern import Alternative, CharClass, Pattern, PatternError
from hotplugd.rules.pools import NO_CLAIM
from hotplugd.rules.template import TemplateError, parse_template

_NAME: Final = re.compile(r"[A-Za-z](?:[A-Za-z0-9-]{0,30}[A-Za-z0-9])?", re.ASCII)
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,4}", re.ASCII)
_IN_NAMES: Final = re.compile(r"[A-Za-z0-9-]", re.ASCII)
_MOST_EACH: Final = 100
_MOST_DEVICES: Final = 10_000
_LONGEST: Final = 30 * 86400.0
_PATH: Final = re.compile(r"/[A-Za-z0-9_.:+@,=/-]+", re.ASCII)
_LONGEST_PATH: Final = 1024

NAME_JSON: Final = f"^{_NAME.pattern}$"
NUMBER_JSON: Final = f"^({_NUMBER.pattern})$"
PATH_JSON: Final = f"^{_PATH.pattern}$"
SPAN_JSON: Final = f"^({duration.PATTERN})$"


def name(text: str) -> Complaint | None:
    """A pool's name, with which a claim begins."""
    if text == NO_CLAIM:
        return Complaint(f"a pool cannot be called '{NO_CLAIM}'", "a claim with that word asks for nothing")
    if _NAME.fullmatch(text):
        return None
    hint = "1 to 32 letters, digits and dashes, a letter first and no dash last, such as android"
    return Complaint(f"'{quoted(text)}' is no name for a pool", hint)


def instances(text: str) -> Complaint | None:
    """An instance's name, or a pattern of names."""
    try:
        pattern = Pattern.of(text)
    except PatternError as error:
        return Complaint(f"'{quoted(text)}' is no pattern: {error}")
    if all(map(is_instance_name, pattern.exact)) and all(map(_may_be_name, pattern.wild)):
        return None
    hint = "letters, digits and dashes, and wildcards: runner-*"
    if "{" in text:
        hint = "templates do not work here: write a pattern, such as runner-*"
    elif "/" in text:
        hint = "the project has a key of its own: `project`"
    return Complaint(f"'{quoted(text)}' matches no name that an instance can have", hint)


def per_instance(text: str) -> Complaint | None:
    """How many devices an instance gets without a claim."""
    return _number(text, 0, _MOST_EACH)


def expect(text: str) -> Complaint | None:
    """How many devices a pool should have."""
    return _number(text, 1, _MOST_DEVICES)


def keep(text: str) -> Complaint | None:
    """For how long a lease outlives its device's absence."""
    return _span(text, 1, _LONGEST, "30m; leave it out for no time at all")


def flap_within(text: str) -> Complaint | None:
    """In which time plugs of a device are counted."""
    return _span(text, 1, 3600, "60s")


def flap_count(text: str) -> Complaint | None:
    """How many plugs of a device are not too many."""
    return _number(text, 1, _MOST_EACH)


def ready_within(text: str) -> Complaint | None:
    """How long a device may take to be ready."""
    return _span(text, 1, 86400, "60s")


def ready_every(text: str) -> Complaint | None:
    """How often a device is looked at that is not ready."""
    return _span(text, 1, 3600, "10s")


def ready_timeout(text: str) -> Complaint | None:
    """How long a command may take."""
    return _span(text, 1, 60, "5s")


def word(text: str, keys: Sequence[MatchKey]) -> Complaint | None:
    """A word of a command, or a template of one."""
    if not text or "\0" in text:
        return Complaint("a word of a command is empty, or has a zero byte in it")
    try:
        parse_template(text, keys)
    except TemplateError as error:
        return Complaint(f"'{quoted(text)}' is no template: {error}", error.hint)
    return None


def source(text: str) -> Complaint | None:
    """The path of a file on the host."""
    return _path(text)


def inside(text: str) -> Complaint | None:
    """The path of a file inside, where the server can put one."""
    if text.startswith(("/dev/", "/proc/", "/sys/")):
        return Complaint(
            f"'{quoted(text)}' is in a folder of the kernel's", "give another, such as /run/phones"
        )
    return _path(text)


def _path(text: str) -> Complaint | None:
    parts = text.split("/")[1:]
    if not _PATH.fullmatch(text) or len(text) > _LONGEST_PATH:
        return Complaint(f"'{quoted(text)}' is no whole path of a file", "such as /etc/hotplugd/adbkey")
    if any(part in ("", ".", "..") for part in parts):
        return Complaint(
            f"'{quoted(text)}' has '.', '..' or nothing between two slashes", "write it as it is"
        )
    return None


def _number(text: str, least: int, most: int) -> Complaint | None:
    if _NUMBER.fullmatch(text) and least <= int(text) <= most:
        return None
    return Complaint(f"'{quoted(text)}' is no number from {least} to {most}")


def _may_be_name(alternative: Alternative) -> bool:
    fixed = (chars.literal for chars in alternative if isinstance(chars, CharClass))
    return all(char is None or _IN_NAMES.fullmatch(char) for char in fixed)


def _span(text: str, least: float, most: float, example: str) -> Complaint | None:
    """A span of time of so many seconds at least and at most."""
    span = duration.seconds(text)
    if span is not None and least <= span <= most:
        return None
    limits = f"from {duration.in_words(least)} to {duration.in_words(most)}"
    hint = f"a whole number and its unit, s, m, h or d: {example}"
    return Complaint(f"'{quoted(text)}' is no span of time {limits}", hint)
