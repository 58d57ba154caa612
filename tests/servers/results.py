"""What ran with which server, and how it went: the file that the support table is made from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypedDict
from xml.etree import ElementTree as ET

FILE: Final = Path(__file__).with_name("results.json")


class AreaResult(TypedDict):
    """How many tests of an area passed, failed and were skipped, on which day, in how many seconds."""

    passed: int
    failed: int
    skipped: int
    date: str
    seconds: int


class ServerResult(TypedDict):
    """What ran with a server. packages: its own and those below it, with versions"""

    packages: str
    areas: dict[str, AreaResult]


Results = dict[str, ServerResult]


def parse_junit(text: str, date: str) -> AreaResult:
    """What pytest's report in JUnit's XML says. Raises ValueError where that is none, or nothing ran."""
    try:
        suites = ET.fromstring(text).iter("testsuite")
    except ET.ParseError as error:
        raise ValueError(f"expected a report of pytest, and found none: {error}") from None
    total = failed = skipped = 0
    seconds = 0.0
    for suite in suites:
        counts = suite.attrib
        total += int(counts["tests"])
        failed += int(counts["failures"]) + int(counts["errors"])
        skipped += int(counts["skipped"])
        seconds += float(counts["time"])
    if total == 0:
        raise ValueError("expected a report of some tests, and found none")
    return {
        "passed": total - failed - skipped,
        "failed": failed,
        "skipped": skipped,
        "date": date,
        "seconds": round(seconds),
    }


def with_result(results: Results, server: str, packages: str, area: str, result: AreaResult) -> Results:
    """The results with one more. What ran with other packages of this server is left out then."""
    before = results.get(server)
    kept = before["areas"] if before is not None and before["packages"] == packages else {}
    return {**results, server: {"packages": packages, "areas": {**kept, area: result}}}


def load(file: Path = FILE) -> Results:
    """The results that there are."""
    found: Results = json.loads(file.read_text("utf-8")) if file.exists() else {}
    return found


def store(results: Mapping[str, ServerResult], file: Path = FILE) -> None:
    """Write the results."""
    file.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n", "utf-8")
