"""What a command is given of an event: words, variables, and the whole event as JSON. Pure.

A device says what its serial number is, so a value may be anything: it never becomes more than one word, no
shell reads it, and it never becomes an option by itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Final

from hotplugd.app.event_documents import FIELDS
from hotplugd.model.text import quoted
from hotplugd.rules.complaint import Complaint
from hotplugd.rules.template import TemplateError, parse_template

Event = Mapping[str, object]

VARIABLE: Final = "HOTPLUGD_"
"""What the name of a command's variable begins with; the field's name in capitals follows."""

_END_OF_OPTIONS: Final = "--"
_FIELD: Final = re.compile("[a-z][a-z0-9_]*", re.ASCII)
# Variables that systemd gave this program; commands do not get them.
_NOT_THEIRS: Final = frozenset({"NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "CREDENTIALS_DIRECTORY"})


class WordError(Exception):
    """A command cannot be given these words. The text says why, and is fit to be shown."""


def check_word(text: str) -> Complaint | None:
    """What is wrong with a word of `run`, before any event is there."""
    if "\0" in text:
        return Complaint("a word with a NUL in it, which no command can be given")
    try:
        parts = parse_template(text)
    except TemplateError as error:
        return Complaint(str(error), error.hint)
    for part in parts:
        if part.is_key and part.text not in FIELDS:
            close = get_close_matches(part.text, FIELDS, 1)
            hint = f"did you mean '{{{close[0]}}}'?" if close else f"one of {', '.join(FIELDS)}"
            return Complaint(f"no field '{{{quoted(part.text)}}}' of events", hint)
    return None


def check_program(text: str) -> Complaint | None:
    """What is wrong with the first word of `run`."""
    if text.startswith("/") or (text and "/" not in text and not text.startswith("-")):
        if any(part.is_key for part in parse_template(text)):
            return Complaint("the program's name depends on an event", "write its path, and braces after it")
        return None
    return Complaint(f"'{quoted(text)}' is no program", "write a path that begins with /, or a name in $PATH")


def words(run: Sequence[str], event: Event) -> list[str]:
    """The words for this event. What the event does not say is empty.

    Raises WordError: a word would become an option, or has a NUL in it.
    """
    found: list[str] = []
    for number, each in enumerate(run, 1):
        word = "".join(
            _text(event.get(part.text)) if part.is_key else part.text for part in parse_template(each)
        )
        # The file may write options, and anything after `--`; a device's value must not be an option.
        if word.startswith("-") and not each.startswith("-") and _END_OF_OPTIONS not in run[: number - 1]:
            raise WordError(
                f"word {number}, '{quoted(each)}', would be '{quoted(word)}', which programs take for an "
                f"option, so nothing was run; write `--` before it, or something before the braces"
            )
        if "\0" in word:
            raise WordError(f"word {number}, '{quoted(each)}', would have a NUL in it, so nothing was run")
        found.append(word)
    return found


def variables(event: Event, inherited: Mapping[str, str]) -> dict[str, str]:
    """The environment: what this program has, and each field of the event as a variable."""
    found = {
        name: value
        for name, value in inherited.items()
        if not name.startswith(VARIABLE) and not name.startswith("LISTEN_") and name not in _NOT_THEIRS
    }
    for name, value in event.items():
        text = _text(value)
        if _FIELD.fullmatch(name) and "\0" not in text:
            found[VARIABLE + name.upper()] = text
    return found


def document(event: Event) -> bytes:
    """What a command reads on its standard input: the event, one line of JSON."""
    return f"{json.dumps(event)}\n".encode()


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        # What is no UTF-8 cannot be given to a command.
        return value.encode("utf-8", "backslashreplace").decode()
    return json.dumps(value)
