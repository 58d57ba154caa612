"""What the tables of the rule language are made of: keys, and the mappings that have them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from hotplugd.rules.complaint import Complaint
from hotplugd.rules.keys import KeyGroup, MatchKey

Shape = (
    Literal[
        "text",
        "texts",
        "flag",
        "match",
        "matches",
        "attach",
        "companions",
        "rules",
        "hubs",
        "ports",
        "pools",
        "items",
        "keys",
        "flap",
        "ready",
        "files",
    ]
    | MatchKey
    | KeyGroup
)
"""What a key takes. "texts" is one or a list; a match key takes one pattern or a list, a group of them names
with patterns.
"""


@dataclass(frozen=True, slots=True)
class Key:
    """A key of the language.

    about   what it means, for the JSON Schema and the reference page
    text    judges a text, or the name of a key of a group
    json    a regular expression for editors
    aliases what other programs call it, in lower case
    item    the keys of each item of a list, or of the mapping that it takes
    """

    name: str
    shape: Shape
    about: str
    text: Callable[[str], Complaint | None] | None = None
    json: str = ""
    required: bool = False
    aliases: tuple[str, ...] = ()
    item: Table | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """The keys of one kind of mapping.

    label     what messages call the mapping
    elsewhere where keys belong that are not in this mapping, by their name
    aliases   the keys of the language by the names that other programs have for them
    """

    label: str
    keys: tuple[Key, ...]
    elsewhere: Mapping[str, str] = field(default_factory=dict, repr=False)
    aliases: Mapping[str, str] = field(default_factory=dict, repr=False)

    def key(self, name: str) -> Key | None:
        """The key of that name, if there is one."""
        return next((key for key in self.keys if key.name == name), None)
