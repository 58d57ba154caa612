"""The serial numbers and addresses that a rule file names: what nobody else is to read in a report.

Works on files that are no YAML too: there the lines are searched.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import yaml

KEY: Final = re.compile(r"(?i)serial|uniq|wwid|wwn|uuid|(?:^|_)mac(?:$|_)")
"""Match keys, udev's properties and the kernel's attributes that have such a value."""

_LINE: Final = re.compile(r"""(?i)\b(?:\w*_)?(?:serial|uniq|wwid|wwn|uuid|mac)(?:_\w*)?["']?\s*[:=]\s*(.*)""")
_ITEM: Final = re.compile(r"\s*-\s+([^:]*)$")
_WORDS: Final = re.compile(r"""[^\s"'\[\]{},|#]+""")
_GLOB: Final = re.compile(r"\[[^]]*\]?|[*?|]+")
# A shorter part of a pattern is how a vendor's serials begin, and names no device.
_SHORTEST: Final = 5


def named_serials(text: str) -> Iterator[str]:
    """The values of keys of serial numbers and addresses, of patterns the parts that are fixed."""
    for value in _values(text):
        parts = _GLOB.split(value)
        if len(parts) == 1:
            yield value
        yield from (part for part in parts if len(part) >= _SHORTEST)


def _values(text: str) -> Iterator[str]:
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError):
        yield from _from_lines(text)
        return
    todo = [(root, False)]
    seen = set[int]()
    while todo:
        node, ours = todo.pop()
        if isinstance(node, yaml.ScalarNode):
            if ours:
                yield str(node.value)
        elif id(node) in seen:  # an alias: it may hang in itself
            continue
        elif isinstance(node, yaml.SequenceNode):
            todo += [(each, ours) for each in node.value]
        elif isinstance(node, yaml.MappingNode):
            todo += [(value, ours or _is_ours(key)) for key, value in node.value]
        seen.add(id(node))


def _is_ours(key: yaml.Node) -> bool:
    return isinstance(key, yaml.ScalarNode) and KEY.search(str(key.value)) is not None


def _from_lines(text: str) -> Iterator[str]:
    below = False
    for line in text.splitlines():
        if line.lstrip().startswith("#"):
            continue
        if (found := _LINE.search(line)) is not None:
            words = _words(found[1])
            yield from words
            below = not words
        elif below and (item := _ITEM.match(line)) is not None:
            yield from _words(item[1])
        else:
            below = False


def _words(text: str) -> list[str]:
    """The values at the beginning of what follows a key, up to the next key."""
    found: list[str] = []
    for each in _WORDS.findall(text.partition(" #")[0]):
        if each.endswith((":", "=")):
            break
        found.append(each)
    return found
