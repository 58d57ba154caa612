"""How far an event goes through the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from benchmarks.shape import plug, repair

PROJECT: Final = Path(__file__).parents[2]


def test_a_plug_is_one_plan_in_one_task() -> None:
    shape = plug()
    assert (shape.plans, shape.tasks) == (1, 1)
    assert len(shape.files) <= 32
    assert shape.switches <= 65


def test_a_repair_is_one_look_and_one_plan() -> None:
    shape = repair()
    assert (shape.plans, shape.tasks) == (1, 2)
    assert len(shape.files) <= 35
    assert shape.switches <= 93


def test_architecture_has_these_figures_and_names_each_file() -> None:
    text = (PROJECT / "docs" / "explanation" / "architecture.md").read_text("utf-8")
    text = text.partition("## The path of a plug")[2].partition("## ")[0]
    for shape in (plug(), repair()):
        figures = (len(shape.files), shape.switches, shape.plans, shape.tasks)
        assert f"| {' | '.join(map(str, figures))} |" in text
    assert sorted(re.findall(r"`([a-z_/]+\.py)`", text.partition("These 32")[0])) == sorted(plug().files)
