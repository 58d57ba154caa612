"""What a worker does next, as a table."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest

from hotplugd.plan.change import Change
from hotplugd.reconcile.step import Ask, Check, Clear, Look, MakePlan, Rest, Send, State, Step, next_step
from tests.support.devices import ALL, BOX, console, entry, wanted

NOW: Final = 100.0
LATER: Final = 101.0
ONE: Final = console(1)
WANT: Final = wanted(ALL, ONE)[0]
ADD: Final = Change("add", BOX, entry(ONE), "/dev/ttyUSB1", "r", "it is not attached", WANT)
ORPHAN: Final = Change("remove", BOX, entry(console(2)), "/dev/ttyUSB2", "r", "the server left it behind")
CALM: Final = State(NOW)
# There is something of everything to do.
ALL_AT_ONCE: Final = State(
    NOW,
    stale=True,
    ask_at=NOW,
    planned=False,
    send_at=NOW,
    orphans=[ORPHAN],
    batch=[ADD],
    blocking=[ORPHAN],
    unchecked=[WANT],
    look_at=NOW,
)


def test_the_steps_come_in_this_order() -> None:
    state = ALL_AT_ONCE
    assert next_step(state) == Ask()
    state = replace(state, stale=False)
    assert next_step(state) == MakePlan()
    state = replace(state, planned=True)
    assert next_step(state) == Clear([ORPHAN])
    state = replace(state, orphans=())
    assert next_step(state) == Clear([ORPHAN])
    state = replace(state, blocking=())
    assert next_step(state) == Check([WANT])
    state = replace(state, unchecked=())
    assert next_step(state) == Send([ADD])
    state = replace(state, batch=())
    assert next_step(state) == Look()
    state = replace(state, look_at=LATER)
    assert next_step(state) == Rest(done=True)


@pytest.mark.parametrize(
    ("state", "step"),
    [
        (CALM, Rest(done=True)),
        (replace(CALM, batch=[ADD], unchecked=[WANT], unseen=True, look_at=NOW), Look()),
        (replace(CALM, batch=[ADD], unchecked=[WANT], unseen=True), Rest()),
        (replace(CALM, stale=True, ask_at=LATER), Rest()),
        (replace(CALM, stale=True, ask_at=LATER, planned=False), MakePlan()),
        (replace(CALM, stale=True, ask_at=LATER, batch=[ADD]), Rest()),
        (replace(CALM, stale=True, ask_at=LATER, orphans=[ORPHAN]), Rest()),
        (replace(CALM, stale=True, ask_at=LATER, look_at=NOW), Look()),
        (replace(CALM, stale=True, ask_at=NOW, listed=False), Ask()),
        (replace(CALM, listed=False, planned=False, look_at=NOW), Rest()),
        (replace(CALM, send_at=LATER, batch=[ADD]), Rest()),
        (replace(CALM, send_at=LATER, batch=[ADD], look_at=NOW), Look()),
        (replace(CALM, echoed=True), Ask()),
        (replace(CALM, echoed=True, look_at=NOW), Ask()),
        (replace(CALM, echoed=True, batch=[ADD]), Send([ADD])),
        (replace(CALM, echoed=True, send_at=LATER), Rest()),
        (replace(CALM, blocking=[ORPHAN]), Rest(done=True)),
        (replace(CALM, batch=[ADD], dry_run=True), Rest(done=True, would=[ADD])),
        (replace(CALM, batch=[ADD], dry_run=True, unchecked=[WANT]), Check([WANT])),
        (replace(CALM, batch=[ADD], dry_run=True, send_at=LATER), Rest()),
    ],
)
def test_each_state_has_one_next_step(state: State, step: Step) -> None:
    assert next_step(state) == step
