"""The soak in short: see `__main__`."""

from __future__ import annotations

from random import Random

import pytest

from tests.soak.report import Diary, keep
from tests.soak.scene import Scene
from tests.soak.soak import Plan, Soak

pytestmark = pytest.mark.alone

_PLAN = Plan(plugs=150, people=10, daemon=50, server=75, quiet=40)


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("root", "udevd")
def test_all_is_right_at_each_quiet_point() -> None:
    diary = Diary()
    with Scene(4) as scene:
        soak = Soak(scene, _PLAN, Random(1), diary.say)
        try:
            soak.run()
        except AssertionError as error:
            error.add_note(keep(scene, diary))
            raise
        assert (soak.outcome.kills, soak.outcome.servers, len(soak.outcome.quiet)) == (3, 2, 4)
        assert all(soak.outcome.people.values()), soak.outcome.people
        assert '"defect"' not in scene.daemon.log()
