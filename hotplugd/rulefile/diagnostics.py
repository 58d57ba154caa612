"""What is wrong with a file, where, and how it is shown: the place, the line, a caret below it, and advice.

`message` and `hint` are printable already (their authors escape quoted texts with `printable`);
`file` and `source` are raw, and escaped here.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from hotplugd.model.text import plain, printable

Severity = Literal["error", "warning"]

_BEFORE: Final = 70
_COLUMNS: Final = 110
_TAB: Final = "    "


@dataclass(frozen=True, slots=True)
class Related:
    """A second place that a diagnostic refers to. Lines and columns count from 1, columns in characters."""

    file: str
    line: int
    column: int
    message: str
    source: str = ""
    width: int = 1

    def render(self) -> str:
        """The place as a note, with its line and a caret."""
        return "\n".join((_head(self.file, self.line, self.column, "note", self.message), *_excerpt(self)))

    @classmethod
    def of_json(cls, found: Mapping[str, object]) -> Related:
        """The note that `as_json` gave. Raises as `Diagnostic.of_json` does."""
        return cls(
            str(found["file"]),
            int(str(found["line"])),
            int(str(found["column"])),
            plain(str(found["message"])),
            str(found["source"]),
            int(str(found["width"])),
        )

    def as_json(self) -> dict[str, object]:
        """The note as plain values, under keys that stay."""
        return {
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "message": self.message,
            "source": self.source,
            "width": self.width,
        }


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One thing that is wrong with a file.

    line, column  from 1; a column is a character, not a byte
    hint          what to do about it ("did you mean 'serial'?"), or empty
    source        the line as it stands in the file, or empty where there is none to show
    width         how many characters of it are meant
    whole         it is about the whole file, and has no line
    """

    severity: Severity
    file: str
    line: int
    column: int
    message: str
    hint: str = ""
    source: str = ""
    width: int = 1
    related: Related | None = None
    whole: bool = False

    @classmethod
    def of_json(cls, found: Mapping[str, object]) -> Diagnostic:
        """The diagnostic that `as_json` gave. Raises KeyError, TypeError, ValueError for anything else."""
        related = found["related"]
        return cls(
            "error" if found["severity"] == "error" else "warning",
            str(found["file"]),
            int(str(found["line"])),
            int(str(found["column"])),
            plain(str(found["message"])),
            plain(str(found["hint"])),
            str(found["source"]),
            int(str(found["width"])),
            Related.of_json(related) if isinstance(related, Mapping) else None,
            whole=found.get("whole") is True,
        )

    @property
    def place(self) -> str:
        """The file, and the line and the column where these say something. Printable."""
        return printable(self.file) if self.whole else f"{printable(self.file)}:{self.line}:{self.column}"

    def render(self) -> str:
        """The diagnostic for a terminal: escaped lines, without a newline at the end."""
        lines = [f"{self.place}: {self.severity}: {self.message}"]
        lines += _excerpt(self, self.hint)
        if self.related is not None:
            lines.append(self.related.render())
        return "\n".join(lines)

    def as_json(self) -> dict[str, object]:
        """The diagnostic as plain values, under keys that stay."""
        return {
            "severity": self.severity,
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "message": self.message,
            "hint": self.hint,
            "source": self.source,
            "width": self.width,
            "related": self.related.as_json() if self.related is not None else None,
            "whole": self.whole,
        }


def errors_of(diagnostics: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """The diagnostics that are errors, and no warnings."""
    return tuple(diagnostic for diagnostic in diagnostics if diagnostic.severity == "error")


def _head(file: str, line: int, column: int, kind: str, message: str) -> str:
    return f"{printable(file)}:{line}:{column}: {kind}: {message}"


def _excerpt(of: Diagnostic | Related, hint: str = "") -> list[str]:
    """The line and, below it, the caret with the hint. A long line is cut on both sides of the caret."""
    if not of.source:
        return [f"    {hint}"] if hint else []
    at = min(of.column - 1, len(of.source))
    before = [_shown(char) for char in of.source[max(0, at - _COLUMNS) : at]]
    over = 0 if _fits(of.source) else _width("".join(before)) - _BEFORE
    cut = 0
    while over > 0:
        over -= _width(before[cut])
        cut += 1
    left = ("…" if len(before) - cut < at else "") + "".join(before[cut:])
    meant = of.source[at : at + of.width]
    room = _COLUMNS - _width(left)
    right, width, underlined = "", 0, 0
    for position, char in enumerate(of.source[at : at + _COLUMNS]):
        shown = _shown(char)
        if width + _width(shown) > room:
            break
        right += shown
        width += _width(shown)
        if position < len(meant):
            underlined = width
    if _raw_is_longer(of.source, at, right):
        right += "…"
    caret = "^" + "~" * (underlined - 1)
    return [left + right, " " * _width(left) + caret + (f" {hint}" if hint else "")]


def _fits(source: str) -> bool:
    return len(source) <= _COLUMNS and _width("".join(map(_shown, source))) <= _COLUMNS


def _raw_is_longer(source: str, at: int, right: str) -> bool:
    rest = source[at : at + _COLUMNS + 1]
    return len(rest) > _COLUMNS or _width("".join(map(_shown, rest))) > _width(right)


def _shown(char: str) -> str:
    return _TAB if char == "\t" else printable(char)


def _width(text: str) -> int:
    """How many columns of a terminal the text takes."""
    return sum(
        0
        if unicodedata.category(char) in ("Mn", "Me", "Cf")
        else 2
        if unicodedata.east_asian_width(char) in "WF"
        else 1
        for char in text
    )
