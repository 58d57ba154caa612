"""How far an event goes through the code."""

from __future__ import annotations

from benchmarks.shape import plug, repair


def test_a_plug_is_one_plan_in_one_task() -> None:
    shape = plug()
    assert (shape.plans, shape.tasks) == (1, 1)


def test_a_repair_is_one_look_and_one_plan() -> None:
    shape = repair()
    assert (shape.plans, shape.tasks) == (1, 2)
