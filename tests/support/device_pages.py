"""The pages about the devices that people have: their parts, with rules and tests of rules."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_FOLDER: Final = Path(__file__).parents[2] / "docs" / "how-to"
PAGES: Final = (_FOLDER / "devices.md", _FOLDER / "host-devices.md")


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a page. rules, tests: its two blocks of YAML, a file of rules and one of tests of rules"""

    page: Path
    title: str
    rules: str
    tests: str

    def __str__(self) -> str:
        return self.title


def _parts(page: Path) -> list[Part]:
    found = []
    for text in re.split(r"^## ", page.read_text("utf-8"), flags=re.MULTILINE)[1:]:
        rules, tests = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
        found.append(Part(page, text.partition("\n")[0], rules, tests))
    return found


PARTS: Final = tuple(part for page in PAGES for part in _parts(page))


def part(title: str) -> Part:
    """The part of this title."""
    return next(each for each in PARTS if each.title == title)
