import math
import platform

import pytest

from benchmarks.figure import Figure, machine, table


def at_most(limit: float, found: float) -> Figure:
    return Figure("plug", "floor", "≤", limit, found)


def test_a_value_at_the_limit_passes_and_one_beyond_it_does_not() -> None:
    assert at_most(1.15, 1.15).passed
    assert not at_most(1.15, 1.16).passed
    assert Figure("storm", "script", "≥", 4, 4).passed
    assert not Figure("storm", "script", "≥", 4, 3.99).passed


def test_what_is_no_number_does_not_pass() -> None:
    assert not at_most(1.15, math.nan).passed


@pytest.mark.parametrize(
    ("limit", "unit", "words"),
    [(1.15, "times", "≤ 1.15 times"), (4, "times", "≤ 4 times"), (0, "writes", "no writes")],
)
def test_the_limit_in_words(limit: float, unit: str, words: str) -> None:
    assert Figure("", "", "≤", limit, 0, unit).must_be == words


def test_the_table_says_what_missed_in_aligned_columns() -> None:
    start = Figure("start", "", "≤", 0, 2, "writes", "of 40 devices")
    assert table([at_most(1.15, 1.0421), start]).split("\n") == [
        "measure  against  must be       found               absolute",
        "plug     floor    ≤ 1.15 times  1.04 times  ok",
        "start             no writes     2 writes    MISSED  of 40 devices",
    ]


def test_the_table_in_markdown_has_a_rule_below_its_head() -> None:
    lines = table([at_most(1.15, 1)], markdown=True).split("\n")
    assert lines[0].startswith("| measure | against |")
    assert set(lines[1]) == set("|- ")
    assert {line.count("|") for line in lines} == {7}


def test_the_machine_is_told_with_its_kernel_and_the_server() -> None:
    told = machine()
    assert f"Linux {platform.release()}, Python {platform.python_version()}, LXD 5." in told
