"""`python -m tests.soak`: ten thousand plugs at full speed, with crashes and people in between.

A private LXD with four containers; consoles, compressed memory disks and ends of virtual cables, which come
and go: some as fast as the kernel makes them, some each waited for. hotplugd is killed every 200 plugs and
LXD killed or restarted every 1,000; instances are restarted, stopped, shut down by their init while devices
are pulled, renamed, deleted and made, and claim other numbers of a pool's devices; entries of hotplugd's and
of others are edited over its requests.
Then 3,000 plugs in one daemon's life. At each quiet point all must be right, inside too, with nothing left
over and nothing touched that is not hotplugd's; and what the daemon takes of the machine must not grow.

Exit code 0 if all of this holds within 20 minutes, else 1, with what was done last and the logs.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from random import Random
from signal import Signals
from typing import Final

from tests.soak.report import Diary, growth_of, keep, table, told
from tests.soak.scene import Scene
from tests.soak.soak import Plan, Soak
from tests.support.lab.api import ServerError
from tests.support.lab.stop import clean_up_when_told_to_end
from tests.support.lab.udevd import udevd

_CONSOLES: Final = 8
_CABLES: Final = 2
_CRASHES: Final = Plan(plugs=10_000, people=20, daemon=200, server=1_000, quiet=110)
_ONE_LIFE: Final = Plan(plugs=3_000, people=20, daemon=0, server=1_000, quiet=130)
_DEFECTS: Final = ("defect", "stopping")
# In seconds, for as many plugs as there are where nobody asks for more.
_LONGEST: Final = 1_200


def main() -> int:
    """Run both soaks. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="Soaks hotplugd.")
    parser.add_argument("--seed", type=int, default=1, help="other things in another order")
    parser.add_argument("--plugs", type=int, default=_CRASHES.plugs, help="of the first part")
    options = parser.parse_args()
    clean_up_when_told_to_end(Signals.SIGTERM, Signals.SIGHUP)
    begin = time.monotonic()
    crashes = Plan(options.plugs, _CRASHES.people, _CRASHES.daemon, _CRASHES.server, _CRASHES.quiet)
    with udevd():
        fine = _soak("hotplugd killed every 200 plugs, LXD every 1,000", crashes, options.seed, 1_000)
        fine = _soak("one life of hotplugd", _ONE_LIFE, options.seed, 1_000) and fine
    took = time.monotonic() - begin
    if took > _LONGEST and options.plugs <= _CRASHES.plugs:
        _print(f"WRONG: it took {took:.0f} s, expected at most {_LONGEST:,}")
        fine = False
    _print(f"{'all is well' if fine else 'SOMETHING IS WRONG'}, after {took:.0f} s")
    return 0 if fine else 1


def _soak(title: str, plan: Plan, seed: int, every: int) -> bool:
    diary, wrong = Diary(), ""
    _print(f"{title}: {plan.plugs:,} plugs, seed {seed}")
    with Scene(_CONSOLES, _CABLES) as scene:
        soak = Soak(scene, plan, Random(seed), diary.say)
        begin = time.monotonic()
        try:
            soak.run()
        except (AssertionError, ServerError, RuntimeError, OSError) as error:
            wrong = f"{type(error).__name__}: {error}"
        done, log = soak.outcome, told(scene.daemon.log())
        _print(table(done, every) if done.quiet else "no quiet point was reached")
        _print(
            f"{done.plugs:,} plugs and {done.unplugs:,} unplugs in {time.monotonic() - begin:.0f} s; "
            f"{done.kills} times hotplugd was killed, {done.servers} times LXD was killed or restarted, "
            f"people did {_counts(done.people)}\n"
            f"the server forgot: {_counts(scene.forgotten) or 'nothing'}\n"
            f"hotplugd told: {_counts(log)}"
        )
        all_wrong = [
            *([wrong] if wrong else []),
            *growth_of(done, every),
            *(f"the log has {each!r}" for each in _DEFECTS if log[each]),
            *(f"people never did {kind}" for kind, count in done.people.items() if not count),
        ]
        for each in all_wrong:
            _print(f"WRONG after {done.plugs} plugs with seed {seed}: {each}")
        if all_wrong:
            _print(keep(scene, diary, "crashes" if plan.daemon else "one-life"))
    return not all_wrong


def _counts(found: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(found.items()))


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
