"""Templates of names and paths: `ci-{serial}`. Braces take the name of a match key, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from hotplugd.model.text import printable
from hotplugd.model.values import Device
from hotplugd.rules.keys import KEYS, MatchKey

_TOKEN: Final = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]|[^{}]+")


class TemplateError(ValueError):
    """A template that cannot be used, or not for this device. The message is printable and says why.

    hint  what to write instead, or empty
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Part:
    """Text that stays, or the name of a key whose value goes there."""

    text: str
    is_key: bool = False


def parse_template(template: str, keys: Sequence[MatchKey] | None = None) -> tuple[Part, ...]:
    """The parts of a template. Raises TemplateError where it is none.

    keys  those that it may name; None: whether it names a key is not checked
    """
    parts: list[Part] = []
    for token in _TOKEN.finditer(template):
        text = token[0]
        if text in ("{{", "}}"):
            parts.append(Part(text[0]))
        elif text in ("{", "}"):
            raise TemplateError(f"a single '{text}'", f"write '{text * 2}' for the character")
        elif token[1] is not None:
            parts.append(Part(token[1] if keys is None else _key(token[1], keys).name, is_key=True))
        else:
            parts.append(Part(text))
    return tuple(parts)


def _key(name: str, keys: Sequence[MatchKey]) -> MatchKey:
    names = [key.name for key in keys]
    if name in names:
        return keys[names.index(name)]
    close = get_close_matches(name.strip().casefold(), names, 1)
    hint = f"did you mean '{{{close[0]}}}'?" if close else f"one of {', '.join(names)}"
    raise TemplateError(f"no key '{{{printable(name)}}}' for templates", hint)


def render(template: str, device: Device, keys: Sequence[MatchKey] = KEYS) -> str:
    """The template with the device's values in it; of several values of a key, the first.

    Raises TemplateError where the device has no value for a key, or the template is none. The text has
    whatever the device says: the caller judges whether it may be a name or a path.
    """
    text = ""
    for part in parse_template(template):
        if not part.is_key:
            text += part.text
            continue
        key = _key(part.text, keys)
        values = key.values(device)
        if not values:
            raise TemplateError(f"the device has no {part.text}, which '{printable(template)}' needs")
        text += key.form.in_template(values[0])
    return text
