"""YAML text into nodes that know their place and keep every value as it was written.

YAML 1.1 makes 259 of `0403`, 63010 of `1050:10` and False of `no`; none of that happens here, since the
values are read from the parser's events, before they are resolved. Read that way, the depth is ours to
limit as well (PyYAML's composer overflows the stack), and aliases are refused before they can multiply.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import yaml

from hotplugd.model.values import printable
from hotplugd.rulefile.diagnostics import Diagnostic, Related, Severity

_DEEPEST: Final = 24
_TOO_DEEP: Final = f"nested deeper than {_DEEPEST} levels, which no rule needs"
_LOADER: Final = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
_BREAK: Final = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_ILLEGAL: Final = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SPACES: Final = "indent with spaces, not with tabs"
_ADVICE: Final = (
    ("tab", _SPACES),
    ("cannot start any token", "quote a value that begins with a special character"),
    (
        "mapping values are not allowed",
        "quote a value with ': ' in it; keys of one level start in one column",
    ),
    ("expected ',' or '}'", "is a '}' or a comma missing?"),
    ("expected ',' or ']'", "is a ']' or a comma missing?"),
    ("expected '-' indicator", "items of one list start in one column"),
    ("expected <block end>", "keys of one level start in one column"),
    ("expected key", "keys of one level start in one column"),
    ("could not find expected ':'", "is a ':' missing?"),
    ("unexpected ':'", "quote a value that ends in ':'"),
    ("unexpected end of stream", "is a quote missing?"),
    ("undefined alias", "quote a value that begins with '*'"),
    ("alphabetic or numeric character", "quote a value that begins with '*' or '&'"),
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands: lines and columns from 0, the end exclusive."""

    line: int
    column: int
    end_line: int
    end_column: int


@dataclass(frozen=True, slots=True)
class Scalar:
    """A single value, as written. plain: without quotes."""

    text: str
    plain: bool
    place: Place

    @property
    def is_null(self) -> bool:
        """Whether there is nothing there."""
        return not self.text.strip() or (self.plain and self.text in ("~", "null", "Null", "NULL"))


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    items: tuple[Node, ...]
    place: Place


@dataclass(frozen=True, slots=True)
class Pairs:
    """A mapping, with every pair that was written, also of keys that stand there twice."""

    pairs: tuple[tuple[Scalar, Node], ...]
    place: Place


@dataclass(frozen=True, slots=True)
class Broken:
    """Something that was complained about already."""

    place: Place


Node = Scalar | Items | Pairs | Broken


@dataclass(frozen=True, slots=True)
class Source:
    """A file's name and its lines: what a diagnostic quotes from."""

    file: str
    lines: tuple[str, ...]

    @classmethod
    def of(cls, file: str, text: str) -> Source:
        """The source that `text` is."""
        return cls(file, tuple(_BREAK.split(text)))

    def diagnostic(
        self, severity: Severity, place: Place, message: str, hint: str = "", related: Related | None = None
    ) -> Diagnostic:
        """A diagnostic at a place in this file."""
        line, column, source, width = self._excerpt(place)
        return Diagnostic(severity, self.file, line, column, message, hint, source, width, related)

    def error(self, place: Place, message: str, hint: str = "", related: Related | None = None) -> Diagnostic:
        """An error at a place in this file."""
        return self.diagnostic("error", place, message, hint, related)

    def related(self, place: Place, message: str) -> Related:
        """A place in this file that another diagnostic speaks of."""
        line, column, source, width = self._excerpt(place)
        return Related(self.file, line, column, message, source, width)

    def _excerpt(self, place: Place) -> tuple[int, int, str, int]:
        line, column = place.line, place.column
        if line >= len(self.lines):
            line, column = len(self.lines) - 1, len(self.lines[-1])
        while line and not self.lines[line].strip():
            line -= 1
            column = len(self.lines[line])
        source = self.lines[line]
        end = place.end_column if place.end_line == place.line == line else len(source.rstrip())
        return line + 1, column + 1, source, max(end - column, 1)


def compose(source: Source) -> tuple[Node | None, tuple[Diagnostic, ...]]:
    """The one document in a file (None where it is empty, or no YAML), and what is wrong with it as YAML."""
    for number, line in enumerate(source.lines):
        if found := _ILLEGAL.search(line):
            place = Place(number, found.start(), number, found.end())
            what = f"character U+{ord(found[0]):04X} is not allowed in YAML"
            return None, (source.error(place, what, "leave it out"),)
    builder = _Builder(source)
    try:
        for event in yaml.parse("\n".join(source.lines), Loader=_LOADER):
            if not builder.take(event):
                break
    except yaml.MarkedYAMLError as error:
        return None, (*builder.found, _syntax(source, error))
    except yaml.YAMLError as error:
        return None, (*builder.found, source.error(Place(0, 0, 0, 0), f"not YAML: {printable(str(error))}"))
    return builder.root, tuple(builder.found)


def _syntax(source: Source, error: yaml.MarkedYAMLError) -> Diagnostic:
    mark = error.problem_mark or error.context_mark
    problem = error.problem or error.context or "not YAML"
    hint = next((advice for part, advice in _ADVICE if part in problem), "")
    related = None
    context = error.context_mark
    if context is not None and error.context and mark is not None and context.line != mark.line:
        related = source.related(_point(context), printable(error.context))
    place = _point(mark) if mark is not None else Place(0, 0, 0, 0)
    if "nesting depth" in problem:  # libyaml's own limit, which it may come to before we come to ours
        return source.error(place, _TOO_DEEP)
    if place.line < len(source.lines) and source.lines[place.line][place.column :].startswith("\t"):
        hint = _SPACES
    return source.error(place, f"not YAML: {printable(problem)}", hint, related)


def _point(mark: yaml.Mark) -> Place:
    return Place(mark.line, mark.column, mark.line, mark.column + 1)


@dataclass(slots=True)
class _Open:
    """A list or a mapping whose end has not been reached."""

    start: yaml.CollectionStartEvent
    nodes: list[Node]


class _Builder:
    """Makes nodes of events."""

    def __init__(self, source: Source) -> None:
        self.root: Node | None = None
        self.found: list[Diagnostic] = []
        self._source = source
        self._open: list[_Open] = []
        self._documents = 0

    def take(self, event: yaml.Event) -> bool:
        """Takes the next event. False: the rest is not worth reading."""
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                hint = "put it into a file of its own, without '---'"
                self._wrong(_place(event), "a second document in one file", hint)
                return False
        elif isinstance(event, yaml.AliasEvent):
            self._wrong(_place(event), "aliases are not supported", "write the value out, or quote it")
            self._add(Broken(_place(event)))
        elif isinstance(event, yaml.ScalarEvent):
            self._add(self._scalar(event))
        elif isinstance(event, yaml.CollectionStartEvent):
            self._tag_or_anchor(event)
            self._open.append(_Open(event, []))
            if len(self._open) > _DEEPEST:
                self._wrong(_place(event), _TOO_DEEP)
                self.root = None
                return False
        elif isinstance(event, yaml.CollectionEndEvent):
            self._add(self._close(event))
        return True

    def _add(self, node: Node) -> None:
        if self._open:
            self._open[-1].nodes.append(node)
        else:
            self.root = node

    def _scalar(self, event: yaml.ScalarEvent) -> Node:
        if self._tag_or_anchor(event):
            return Broken(_place(event))
        return Scalar(event.value, not event.style, _place(event))

    def _close(self, end: yaml.CollectionEndEvent) -> Node:
        closed = self._open.pop()
        start, stop = _place(closed.start), _place(end)
        place = Place(start.line, start.column, stop.end_line, stop.end_column)
        if isinstance(closed.start, yaml.SequenceStartEvent):
            return Items(tuple(closed.nodes), place)
        return Pairs(tuple(self._pairs(closed.nodes)), place)

    def _pairs(self, nodes: list[Node]) -> Iterator[tuple[Scalar, Node]]:
        for key, value in zip(nodes[::2], nodes[1::2], strict=True):
            if isinstance(key, Scalar) and key.plain and key.text == "<<":
                self._wrong(key.place, "merge keys are not supported", "write the keys out")
            elif isinstance(key, Scalar):
                yield key, value
            elif not isinstance(key, Broken):
                self._wrong(key.place, "expected a key, and found a list or a mapping")

    def _tag_or_anchor(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent) -> bool:
        if event.anchor is not None:
            self._wrong(_begin(event), "anchors are not supported", "write the value out, or quote it")
        elif event.tag is not None:
            self._wrong(_begin(event), f"tags are not supported: {printable(event.tag)}", "leave it out")
        else:
            return False
        return True

    def _wrong(self, place: Place, message: str, hint: str = "") -> None:
        self.found.append(self._source.error(place, message, hint))


def _begin(event: yaml.NodeEvent) -> Place:
    """Where the node's anchor or tag is: its first word."""
    place = _place(event)
    return (
        place
        if isinstance(event, yaml.ScalarEvent)
        else Place(place.line, place.column, place.line, place.column + 1)
    )


def _place(event: yaml.Event) -> Place:
    start, end = event.start_mark, event.end_mark
    assert start is not None
    assert end is not None
    return Place(start.line, start.column, end.line, end.column)
