"""Templates: `ci-{serial}`. Only plain names of match keys, so that no template can reach anything else."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from hotplugd.model.values import Device, printable
from hotplugd.rules.keys import MATCH_KEYS, values

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


def parse_template(template: str) -> tuple[Part, ...]:
    """The parts of a template. Raises TemplateError where it is none."""
    parts: list[Part] = []
    for token in _TOKEN.finditer(template):
        found = token[0]
        if found in ("{{", "}}"):
            parts.append(Part(found[0]))
        elif found in ("{", "}"):
            raise TemplateError(f"a single '{found}'", f"write '{found * 2}' for the character")
        elif token[1] is not None:
            parts.append(Part(_key(token[1]), is_key=True))
        else:
            parts.append(Part(found))
    return tuple(parts)


def _key(name: str) -> str:
    if name in MATCH_KEYS:
        return name
    close = get_close_matches(name.strip().casefold(), MATCH_KEYS, 1)
    hint = f"did you mean '{{{close[0]}}}'?" if close else f"one of {', '.join(MATCH_KEYS)}"
    raise TemplateError(f"no key '{{{printable(name)}}}' for templates", hint)


def render(template: str, device: Device) -> str:
    """The template with the device's values in it; of several values of a key, the first.

    Raises TemplateError where the device has no value for a key, or the template is none. What comes out
    is whatever the device says: the caller judges whether it may be a name or a path.
    """
    found = ""
    for part in parse_template(template):
        if not part.is_key:
            found += part.text
            continue
        own = values(device, part.text)
        if not own:
            raise TemplateError(f"the device has no {part.text}, which '{printable(template)}' needs")
        found += own[0]
    return found
