"""What `hotplugd hooks` says of itself is shown, and is bounded."""

from __future__ import annotations

import json

import pytest

from hotplugd.app.control_request import ControlRequest
from hotplugd.app.endpoints import HOOKS
from hotplugd.app.grants import ROOT
from hotplugd.app.hook_reports import SILENCE, HookReports
from hotplugd.app.peer import Peer


class Bed:
    def __init__(self) -> None:
        self.now = 0.0
        self.reports = HookReports(lambda: self.now)

    def say(self, body: object, user: int = 0) -> object:
        text = body if isinstance(body, str) else json.dumps(body)
        return self.reports.handlers[HOOKS](ControlRequest(Peer(1, user), ROOT, {}, text))

    @property
    def shown(self) -> list[str]:
        return [each.message for each in self.reports.problems()]


def test_what_fails_is_a_problem_until_it_does_not() -> None:
    bed = Bed()
    assert bed.shown == []
    assert bed.say({"failing": ["hook 'a' failed"], "ended": False}) == {"problems": 1}
    assert bed.shown == ["hook 'a' failed"]
    bed.say({"failing": [], "ended": False})
    assert bed.shown == []


def test_who_says_nothing_any_more_is_a_problem_and_who_has_ended_is_none() -> None:
    bed = Bed()
    bed.say({"failing": ["a"], "ended": False})
    bed.now = SILENCE + 1
    assert bed.shown == [
        "hotplugd-hooks says nothing any more; `systemctl status hotplugd-hooks` says how it is"
    ]
    bed.say({"failing": [], "ended": True})
    bed.now += 2 * SILENCE
    assert bed.shown == []


@pytest.mark.parametrize(
    "body", ["", "[]", "{}", '{"failing": []}', '{"failing": 7, "ended": false}', "[" * 60000,
             '{"failing": [7], "ended": false}'],
)  # fmt: skip
def test_what_is_no_report_changes_nothing(body: str) -> None:
    bed = Bed()
    bed.say({"failing": ["a"], "ended": False})
    with pytest.raises(ValueError, match="expected"):
        bed.say(body)
    assert bed.shown == ["a"]


def test_texts_are_bounded_and_escaped() -> None:
    bed = Bed()
    bed.say({"failing": ["a\x1b[31m\n" + "x" * 1000] + ["b"] * 99, "ended": False})
    assert len(bed.shown) == 51
    assert bed.shown[0].startswith("a\\x1b[31m\\x0ax")
    assert len(bed.shown[0]) < 520
    assert bed.shown[-1] == "50 more hooks fail"


def test_what_one_user_says_takes_nothing_away_from_what_another_said() -> None:
    bed = Bed()
    bed.say({"failing": ["a"], "ended": False}, user=1)
    bed.say({"failing": ["b"], "ended": False}, user=2)
    assert bed.shown == ["a", "b"]
    bed.say({"failing": [], "ended": True}, user=2)
    assert bed.shown == ["a"]
    for user in range(100):
        bed.say({"failing": ["c"], "ended": False}, user=user)
    assert len(bed.shown) <= 16


def test_how_long_nobody_spoke_is_known_of_each_user() -> None:
    bed = Bed()
    bed.say({"failing": ["a"], "ended": False}, user=1)
    bed.now = SILENCE + 1
    bed.say({"failing": ["b"], "ended": False}, user=2)
    assert bed.shown == [
        "hotplugd-hooks says nothing any more; `systemctl status hotplugd-hooks` says how it is",
        "b",
    ]
