"""The soak in short, of each seed: see `__main__`, and conftest.py for more of it."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Mapping
from random import Random

import pytest

from tests.soak.report import Diary, keep
from tests.soak.scene import Scene
from tests.soak.soak import Plan, Soak

pytestmark = pytest.mark.alone

_PLAN = Plan(plugs=150, people=5, daemon=50, server=75, quiet=40)


@pytest.mark.timeout(1800)
@pytest.mark.usefixtures("root", "udevd")
def test_all_is_right_at_each_quiet_point(
    seed: int, pytestconfig: pytest.Config, capsys: pytest.CaptureFixture[str]
) -> None:
    plugs, diary, begin = int(pytestconfig.getoption("--plugs")), Diary(), time.monotonic()
    plan = Plan(plugs, _PLAN.people, _PLAN.daemon, _PLAN.server, _PLAN.quiet)
    with Scene(4, 1) as scene:
        soak = Soak(scene, plan, Random(seed), diary.say)
        try:
            soak.run()
        except AssertionError as error:
            error.add_note(keep(scene, diary))
            raise
        finally:
            keep(scene, diary, f"seed-{seed}")
        done = soak.outcome
        assert (done.kills, done.servers) == (plugs // plan.daemon, plugs // plan.server)
        assert len(done.quiet) >= plugs // plan.daemon
        assert all(done.people.values()), done.people
        assert '"defect"' not in scene.daemon.log()
        forgotten, version = Counter(scene.forgotten), scene.server.version()
    with capsys.disabled():
        sys.stdout.write(
            f"\n{version}, seed {seed}: {done.plugs} plugs and {done.unplugs} unplugs in "
            f"{time.monotonic() - begin:.0f} s, {done.kills} kills, {done.servers} ends of the server, "
            f"{len(done.quiet)} rests, {_counts(done.people)} by people; forgotten: {_counts(forgotten)}\n"
        )


def _counts(found: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(found.items())) or "nothing"
