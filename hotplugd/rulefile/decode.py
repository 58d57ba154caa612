"""Decodes nodes by a table of the language into texts, flags and lists, and notes what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from hotplugd.model.names import is_instance_name
from hotplugd.model.text import quoted
from hotplugd.rulefile.diagnostics import Diagnostic
from hotplugd.rulefile.hints import EXPECTED, KEEP, instead_of
from hotplugd.rulefile.parse import InvalidNode, Source, Span, YamlMapping, YamlNode, YamlScalar, YamlSequence
from hotplugd.rulefile.tables import Key, Shape, Table
from hotplugd.rules.complaint import Complaint
from hotplugd.rules.keys import KeyGroup, MatchKey

MOST_SHOWN: Final = 100
"""How many diagnostics of one file are shown: more have one cause as a rule."""

_NO_VALUE: Final = {"a value": "give it one, or take the key out"}
_LONGEST: Final = 4096


@dataclass(frozen=True, slots=True)
class Field:
    """A key that was written, and its value."""

    key: Key
    name: YamlScalar
    value: YamlNode


class Decoder:
    """Decodes the nodes of one document and gathers diagnostics about them."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.diagnostics: list[Diagnostic] = []

    def error(self, span: Span, message: str, hint: str = "") -> None:
        """Notes an error."""
        self.diagnostics.append(self.source.error(span, message, hint))

    def warning(self, span: Span, message: str, hint: str = "") -> None:
        """Notes a warning."""
        self.diagnostics.append(self.source.diagnostic("warning", span, message, hint))

    def fields(self, node: YamlNode, table: Table, key: YamlScalar | None = None) -> dict[str, Field]:
        """The known keys of a mapping; complains about all others, about double and about missing ones."""
        if not isinstance(node, YamlMapping):
            self.wrong_type(node, "keys and values", key)
            return {}
        fields: dict[str, Field] = {}
        for name, value in node.pairs:
            known = table.key(name.text)
            if known is None:
                hint = instead_of(name.text, table) if len(self.diagnostics) < MOST_SHOWN else ""
                self.error(name.span, f"unknown key '{quoted(name.text)}'", hint)
            elif name.text in fields:
                self.twice(name, fields[name.text].name, known.shape)
            else:
                fields[name.text] = Field(known, name, value)
        missing = [row.name for row in table.keys if row.required and row.name not in fields]
        if missing and not any(name.text not in fields for name, _ in node.pairs):
            names = " and ".join(f"`{missed}`" for missed in missing)
            self.error(key.span if key is not None else first_word(node), f"{table.label} needs {names}")
        return fields

    def text(self, field: Field) -> str | None:
        """A key's one text, judged by its table row; None where it is invalid."""
        return self.judged(field.value, field, field.key.text)

    def texts(self, field: Field) -> tuple[str, ...]:
        """A key's text or list of texts, without invalid ones."""
        texts = (self.judged(item, field, field.key.text) for item in self.one_or_more(field))
        return tuple(text for text in texts if text is not None)

    def flag(self, field: Field) -> bool | None:
        """A key's true or false; None where it is neither."""
        value = field.value
        if isinstance(value, YamlScalar) and value.plain and value.text.lower() in ("true", "false"):
            return value.text.lower() == "true"
        if isinstance(value, YamlScalar) and not value.is_null:
            hint = "write true or false, without quotes"
            self.error(value.span, f"'{quoted(value.text)}' is neither true nor false", hint)
        else:
            self.wrong_type(value, "true or false", field.name)
        return None

    def judged(
        self, node: YamlNode, field: Field, judge: Callable[[str], Complaint | None] | None = None
    ) -> str | None:
        """A node's text; None where the node is no text, or `judge` complains about it."""
        if not isinstance(node, YamlScalar) or node.is_null:
            self.wrong_type(node, "a value", field.name, _without(node, field))
            return None
        if len(node.text) > _LONGEST:
            self.error(node.span, f"a value of {len(node.text)} characters; {_LONGEST} is the most")
            return None
        complaint = judge(node.text) if judge is not None else None
        if complaint is not None:
            self.error(node.span, complaint.message, complaint.hint)
            return None
        return node.text

    def one_or_more(self, field: Field) -> tuple[YamlNode, ...]:
        """A key's value, or all of them where it is a list."""
        if isinstance(field.value, YamlSequence):
            return self.items(field, field.key.name)
        return (field.value,)

    def items(self, field: Field, name: str) -> tuple[YamlNode, ...]:
        """The items of a key's list, which must have some."""
        if not isinstance(field.value, YamlSequence):
            self.wrong_type(field.value, "a list", field.name)
            return ()
        if not field.value.items:
            hint = KEEP if name == "to" else "write one, or take the key out"
            self.error(field.value.span, f"`{name}` is an empty list", hint)
        return field.value.items

    def pairs(self, field: Field, expected: str) -> Iterator[tuple[YamlScalar, YamlNode]]:
        """The pairs of a key's mapping whose names are its own, each name once.

        expected  what the mapping is, for the message where there is none
        """
        if not isinstance(field.value, YamlMapping):
            self.wrong_type(field.value, expected, field.name)
            return
        if not field.value.pairs:
            self.error(field.value.span, f"`{field.key.name}` is empty")
        seen: dict[str, YamlScalar] = {}
        for name, value in field.value.pairs:
            if name.text in seen:
                self.twice(name, seen[name.text], field.key.shape)
            else:
                seen[name.text] = name
                yield name, value

    def named(self, field: Field) -> Iterator[tuple[YamlScalar, YamlNode]]:
        """The pairs of a mapping with names of its own, without those whose name is not allowed."""
        for name, value in self.pairs(field, "names with values"):
            complaint = field.key.text(name.text) if field.key.text is not None else None
            if complaint is not None:
                self.error(name.span, complaint.message, complaint.hint)
            else:
                yield name, value

    def wrong_type(self, node: YamlNode, expected: str, key: YamlScalar | None, nothing: str = "") -> None:
        """Notes that a node, the value of `key`, has another type than expected, or is empty.

        nothing  the hint for an empty text
        """
        if isinstance(node, InvalidNode):
            return
        if isinstance(node, YamlScalar) and node.is_null:
            span = key.span if key is not None and not node.text else node.span
            what = f"`{quoted(key.text)}` has no value" if key is not None else "a value is missing"
            if node.text:
                hint = f'in quotes it is a text: "{quoted(node.text)}"'
            else:
                hint = nothing or _NO_VALUE.get(expected, f"expected {expected}")
            self.error(span, what, hint)
        else:
            hint = EXPECTED.get(key.text, "") if key is not None else ""
            if key is not None and key.text == "attach" and isinstance(node, YamlScalar) and is_name(node):
                hint = f"write `attach: {{to: {quoted(node.text)}}}`"
            self.error(first_word(node), f"expected {expected}, and found {what_is(node)}", hint)

    def twice(self, second: YamlScalar, first: YamlScalar, shape: Shape) -> None:
        """Notes that a key was written twice."""
        related = self.source.related(first.span, "it stands here first")
        message = f"key '{quoted(second.text)}' stands here a second time"
        hint = "a list matches any of several values" if isinstance(shape, (MatchKey, KeyGroup)) else ""
        self.diagnostics.append(self.source.error(second.span, message, hint, related))


def _without(node: YamlNode, field: Field) -> str:
    """The hint for an empty text, which may mean devices without a value of the key."""
    if not isinstance(node, YamlScalar) or node.plain:
        return ""
    if isinstance(field.key.shape, KeyGroup):
        return f'for devices without one: `not: {{{field.key.name}: {{{quoted(field.name.text)}: "*"}}}}`'
    if isinstance(field.key.shape, MatchKey) and not field.key.shape.always:
        return f'for devices without one: `not: {{{field.key.name}: "*"}}`'
    return ""


def is_name(node: YamlScalar) -> bool:
    """Whether it may be an instance's name, and is neither true nor false."""
    return is_instance_name(node.text) and node.text.lower() not in ("true", "false", "yes", "no")


def first_word(node: YamlNode) -> Span:
    """A place that is small enough to underline: a mapping's first key, or the node itself."""
    return node.pairs[0][0].span if isinstance(node, YamlMapping) and node.pairs else node.span


def what_is(node: YamlScalar | YamlSequence | YamlMapping) -> str:
    """A node in a few words."""
    if isinstance(node, YamlSequence):
        return "a list"
    if isinstance(node, YamlMapping):
        return "keys and values"
    return f"'{quoted(node.text)}'"
