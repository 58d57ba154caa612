"""YAML text into nodes that know their place and keep every value as it was written.

YAML 1.1 resolves `0403` to 259, `1050:10` to 63010 and `no` to False. Here values come from the parser's
events, before they are resolved. So this file can also limit the depth (PyYAML's composer overflows the
stack), and refuse aliases before they multiply.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import yaml

from hotplugd.model.text import printable
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
class Span:
    """A place in a file: lines and columns from 0, the end exclusive."""

    line: int
    column: int
    end_line: int
    end_column: int


@dataclass(frozen=True, slots=True)
class YamlScalar:
    """A single value, as written. plain: without quotes."""

    text: str
    plain: bool
    span: Span

    @property
    def is_null(self) -> bool:
        """Whether the value is empty."""
        return not self.text.strip() or (self.plain and self.text in ("~", "null", "Null", "NULL"))


@dataclass(frozen=True, slots=True)
class YamlSequence:
    """A list."""

    items: tuple[YamlNode, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class YamlMapping:
    """A mapping, with every pair that was written, also those of repeated keys."""

    pairs: tuple[tuple[YamlScalar, YamlNode], ...]
    span: Span


@dataclass(frozen=True, slots=True)
class InvalidNode:
    """A node with an error that is among the diagnostics already."""

    span: Span


YamlNode = YamlScalar | YamlSequence | YamlMapping | InvalidNode


@dataclass(frozen=True, slots=True)
class Source:
    """A file's name and its lines: what a diagnostic quotes from."""

    file: str
    lines: tuple[str, ...]

    @classmethod
    def of(cls, file: str, text: str) -> Source:
        """The source with this text."""
        return cls(file, tuple(_BREAK.split(text)))

    def diagnostic(
        self, severity: Severity, span: Span, message: str, hint: str = "", related: Related | None = None
    ) -> Diagnostic:
        """A diagnostic at a place in this file."""
        line, column, source, width = self._excerpt(span)
        return Diagnostic(severity, self.file, line, column, message, hint, source, width, related)

    def error(self, span: Span, message: str, hint: str = "", related: Related | None = None) -> Diagnostic:
        """An error at a place in this file."""
        return self.diagnostic("error", span, message, hint, related)

    def related(self, span: Span, message: str) -> Related:
        """A place in this file that another diagnostic speaks of."""
        line, column, source, width = self._excerpt(span)
        return Related(self.file, line, column, message, source, width)

    def _excerpt(self, span: Span) -> tuple[int, int, str, int]:
        line, column = span.line, span.column
        if line >= len(self.lines):
            line, column = len(self.lines) - 1, len(self.lines[-1])
        while line and not self.lines[line].strip():
            line -= 1
            column = len(self.lines[line])
        source = self.lines[line]
        end = span.end_column if span.end_line == span.line == line else len(source.rstrip())
        return line + 1, column + 1, source, max(end - column, 1)


def parse_yaml(source: Source) -> tuple[YamlNode | None, tuple[Diagnostic, ...]]:
    """The one document in a file (None where it is empty, or no YAML), and what is wrong with it as YAML."""
    for number, line in enumerate(source.lines):
        if illegal := _ILLEGAL.search(line):
            span = Span(number, illegal.start(), number, illegal.end())
            what = f"character U+{ord(illegal[0]):04X} is not allowed in YAML"
            return None, (source.error(span, what, "leave it out"),)
    composer = _Composer(source)
    try:
        for event in yaml.parse("\n".join(source.lines), Loader=_LOADER):
            if not composer.take(event):
                break
    except yaml.MarkedYAMLError as error:
        return None, (*composer.diagnostics, _syntax(source, error))
    except yaml.YAMLError as error:
        return None, (
            *composer.diagnostics,
            source.error(Span(0, 0, 0, 0), f"not YAML: {printable(str(error))}"),
        )
    return composer.root, tuple(composer.diagnostics)


def _syntax(source: Source, error: yaml.MarkedYAMLError) -> Diagnostic:
    mark = error.problem_mark or error.context_mark
    problem = error.problem or error.context or "not YAML"
    hint = next((advice for part, advice in _ADVICE if part in problem), "")
    related = None
    context = error.context_mark
    if context is not None and error.context and mark is not None and context.line != mark.line:
        related = source.related(_point(context), printable(error.context))
    span = _point(mark) if mark is not None else Span(0, 0, 0, 0)
    if "nesting depth" in problem:  # libyaml's own limit, which it may come to before we come to ours
        return source.error(span, _TOO_DEEP)
    if span.line < len(source.lines) and source.lines[span.line][span.column :].startswith("\t"):
        hint = _SPACES
    return source.error(span, f"not YAML: {printable(problem)}", hint, related)


def _point(mark: yaml.Mark) -> Span:
    return Span(mark.line, mark.column, mark.line, mark.column + 1)


@dataclass(slots=True)
class _Open:
    """A list or a mapping whose end has not been reached."""

    start: yaml.CollectionStartEvent
    nodes: list[YamlNode]


class _Composer:
    """Composes nodes from the events of a YAML parser."""

    def __init__(self, source: Source) -> None:
        self.root: YamlNode | None = None
        self.diagnostics: list[Diagnostic] = []
        self._source = source
        self._open: list[_Open] = []
        self._documents = 0

    def take(self, event: yaml.Event) -> bool:
        """Takes the next event. Returns False if the rest is not to be read."""
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                hint = "put it into a file of its own, without '---'"
                self._error(_span(event), "a second document in one file", hint)
                return False
        elif isinstance(event, yaml.AliasEvent):
            self._error(_span(event), "aliases are not supported", "write the value out, or quote it")
            self._add(InvalidNode(_span(event)))
        elif isinstance(event, yaml.ScalarEvent):
            self._add(self._scalar(event))
        elif isinstance(event, yaml.CollectionStartEvent):
            self._tag_or_anchor(event)
            self._open.append(_Open(event, []))
            if len(self._open) > _DEEPEST:
                self._error(_span(event), _TOO_DEEP)
                self.root = None
                return False
        elif isinstance(event, yaml.CollectionEndEvent):
            self._add(self._close(event))
        return True

    def _add(self, node: YamlNode) -> None:
        if self._open:
            self._open[-1].nodes.append(node)
        else:
            self.root = node

    def _scalar(self, event: yaml.ScalarEvent) -> YamlNode:
        if self._tag_or_anchor(event):
            return InvalidNode(_span(event))
        return YamlScalar(event.value, not event.style, _span(event))

    def _close(self, end: yaml.CollectionEndEvent) -> YamlNode:
        closed = self._open.pop()
        start, stop = _span(closed.start), _span(end)
        span = Span(start.line, start.column, stop.end_line, stop.end_column)
        if isinstance(closed.start, yaml.SequenceStartEvent):
            return YamlSequence(tuple(closed.nodes), span)
        return YamlMapping(tuple(self._pairs(closed.nodes)), span)

    def _pairs(self, nodes: list[YamlNode]) -> Iterator[tuple[YamlScalar, YamlNode]]:
        for key, value in zip(nodes[::2], nodes[1::2], strict=True):
            if isinstance(key, YamlScalar) and key.plain and key.text == "<<":
                self._error(key.span, "merge keys are not supported", "write the keys out")
            elif isinstance(key, YamlScalar):
                yield key, value
            elif not isinstance(key, InvalidNode):
                self._error(key.span, "expected a key, and found a list or a mapping")

    def _tag_or_anchor(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent) -> bool:
        if event.anchor is not None:
            self._error(_begin(event), "anchors are not supported", "write the value out, or quote it")
        elif event.tag is not None:
            self._error(_begin(event), f"tags are not supported: {printable(event.tag)}", "leave it out")
        else:
            return False
        return True

    def _error(self, span: Span, message: str, hint: str = "") -> None:
        self.diagnostics.append(self._source.error(span, message, hint))


def _begin(event: yaml.NodeEvent) -> Span:
    """Where the node's anchor or tag is: its first word."""
    span = _span(event)
    return (
        span
        if isinstance(event, yaml.ScalarEvent)
        else Span(span.line, span.column, span.line, span.column + 1)
    )


def _span(event: yaml.Event) -> Span:
    start, end = event.start_mark, event.end_mark
    assert start is not None
    assert end is not None
    return Span(start.line, start.column, end.line, end.column)
