"""What ran with which server: how it is counted, kept, and shown in the support table."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Final

import pytest

from tests.servers.areas import AREAS, REST, paths
from tests.servers.results import AreaResult, Results, load, parse_junit, store, with_result

_PROJECT: Final = Path(__file__).parents[2]
_REPORT: Final = (
    '<testsuites><testsuite name="pytest" errors="1" failures="2" skipped="3" tests="20" time="9.6"/>'
    "</testsuites>"
)


def tables(results: Results) -> str:
    """The tables of docs/generate.py, which is a program and in no package."""
    spec = importlib.util.spec_from_file_location("generate", _PROJECT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return str(module.results_tables(results))


def result(passed: int, failed: int = 0, skipped: int = 0) -> AreaResult:
    return {"passed": passed, "failed": failed, "skipped": skipped, "date": "2026-11-27", "seconds": 10}


def test_errors_count_as_failures() -> None:
    assert parse_junit(_REPORT, "2026-11-27") == result(14, 3, 3)


@pytest.mark.parametrize("text", ["", "<testsuites/>", _REPORT.replace("20", "0")])
def test_a_run_that_broke_off_is_no_result(text: str) -> None:
    with pytest.raises(ValueError, match="expected a report"):
        parse_junit(text, "2026-11-27")


def test_results_are_kept_until_the_packages_change(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    assert load(file) == {}
    store(with_result(load(file), "incus7", "incus 7.0.2", "links", result(5)), file)
    store(with_result(load(file), "incus7", "incus 7.0.2", "daemon", result(9)), file)
    assert set(load(file)["incus7"]["areas"]) == {"links", "daemon"}
    store(with_result(load(file), "incus7", "incus 7.0.3", "daemon", result(9)), file)
    assert set(load(file)["incus7"]["areas"]) == {"daemon"}


def test_each_file_is_in_one_area() -> None:
    every = [path for area in AREAS for path in paths(area, _PROJECT)]
    assert len(every) == len(set(every))
    assert all((_PROJECT / each).exists() for each in every)
    files = {str(each.relative_to(_PROJECT)) for each in (_PROJECT / "tests" / "e2e").glob("test_*.py")}
    assert files <= set(every)
    assert paths(REST, _PROJECT)


def test_a_table_says_what_failed_and_what_did_not_run() -> None:
    found = with_result({}, "incus7", "p", "links", result(5, skipped=1))
    found = with_result(found, "lxd", "q", "links", result(4, 2))
    found = with_result(found, "lxd", "q", "daemon", result(7))
    table = tables(found)
    assert "| area | `incus7` | `lxd` |" in table
    assert "| daemon | not run | 7 |" in table
    assert "| links | 5, 1 skipped | **2 of 6 failed** |" in table
