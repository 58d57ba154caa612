"""Templates of names and paths: `ci-{serial}`. Braces take the name of a match key, or of one of udev's
properties as `property.ID_MODEL`, and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from hotplugd.model.text import printable
from hotplugd.model.values import Device
from hotplugd.rules.keys import KEYS, PROPERTY, MatchKey

# As udev(7) has the keys of ENV.
_PROPERTY_NAME: Final = re.compile("[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
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
            parts.append(Part(token[1] if keys is None else key_named(token[1], keys).name, is_key=True))
        else:
            parts.append(Part(text))
    return tuple(parts)


def key_named(name: str, keys: Sequence[MatchKey]) -> MatchKey:
    """The key that braces with this name mean: of `keys`, or a property. Raises TemplateError."""
    names = [key.name for key in keys]
    if name in names:
        return keys[names.index(name)]
    group, _, own = name.partition(".")
    if group == PROPERTY.name and _PROPERTY_NAME.fullmatch(own):
        return PROPERTY.key(own)
    close = get_close_matches(name.strip().casefold(), names, 1)
    hint = (
        f"did you mean '{{{close[0]}}}'?" if close else f"one of {', '.join(names)} or {PROPERTY.name}.NAME"
    )
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
        key = key_named(part.text, keys)
        # A property may be there and say nothing.
        values = [value for value in key.values(device) if value]
        if not values:
            raise TemplateError(f"the device has no {part.text}, which '{printable(template)}' needs")
        text += key.in_template(device, values[0])
    return text
