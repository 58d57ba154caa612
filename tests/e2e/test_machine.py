"""Anything in any order: at rest what is attached is what should be, inside too, and nothing else changed.

A state machine plugs, pulls, starts, stops, copies, renames, restores, edits, unmounts, kills and reloads, on
a real server with the kernel's own consoles. `HOTPLUGD_SOAK=200` runs so many random examples instead of the
fixed few.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import cast

import pytest
from hypothesis import HealthCheck, Phase, Verbosity, settings, strategies
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.e2e.model import BROKEN, CONSOLES, RULES, SCREEN, Instance, see, wanted
from tests.support.lab.api import ServerError
from tests.support.lab.commands import Commands
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.kernel import Console
from tests.support.lab.patience import patiently
from tests.support.lab.server import Server
from tests.support.lab.udevd import settle
from tests.support.lab.wait import NotInTime, eventually

_NAMES = ("ma", "mb", "mc")
_DEADLINE = 40.0
_HANDLED = 1.0

consoles_of = strategies.integers(0, 3)
names = strategies.sampled_from(_NAMES)
picks = strategies.integers(0, 99)


class Machine(RuleBasedStateMachine):
    """One daemon, up to three containers, four consoles."""

    def __init__(self, server: Server, consoles: list[Console], commands: Commands) -> None:
        super().__init__()
        self.server = server
        self.consoles = consoles
        self.numbers = [each.number for each in consoles]
        self.ruleset = "one"
        self.containers: dict[str, Container] = {}
        self.model: dict[str, Instance] = {}
        self.daemon = Daemon(server.socket, self.text("one"), commands=commands)
        self.alive = False
        self.ways: list[tuple[str, str]] = []

    def text(self, name: str) -> str:
        return RULES[name].format(*self.numbers)

    @initialize()
    def begin(self) -> None:
        self.create("ma")
        self.create("mb")
        self.daemon.start()
        self.alive = True

    # --- devices ----------------------------------------------------------------------------------------

    @rule(number=consoles_of)
    def plug(self, number: int) -> None:
        self.consoles[number].plug()

    @rule(number=consoles_of)
    def unplug(self, number: int) -> None:
        self.consoles[number].unplug()
        self.calm()

    @rule(number=consoles_of)
    def replug(self, number: int) -> None:
        self.consoles[number].unplug()
        self.calm()
        self.consoles[number].plug()

    # --- instances --------------------------------------------------------------------------------------

    @rule(name=names)
    def create(self, name: str) -> None:
        if name not in self.containers:
            self.containers[name] = self.server.launch(name)
            self.model[name] = Instance(running=True)

    @precondition(lambda self: len(self.containers) > 1)
    @rule(name=names)
    def delete(self, name: str) -> None:
        if name in self.containers:
            self.wake(name)
            container = self.containers.pop(name)
            patiently(container.delete)
            del self.model[name]

    @rule(name=names)
    def freeze_or_unfreeze(self, name: str) -> None:
        if name in self.containers and self.model[name].running:
            frozen = self.model[name].frozen
            patiently(self.containers[name].unfreeze if frozen else self.containers[name].freeze)
            self.model[name].frozen = not frozen

    @rule(name=names)
    def start_or_stop(self, name: str) -> None:
        if name not in self.containers:
            return
        self.wake(name)
        if self.model[name].running:
            patiently(self.containers[name].stop)
        else:
            patiently(self.containers[name].start)
        self.model[name].running = not self.model[name].running

    @rule(old=names, new=names)
    def rename(self, old: str, new: str) -> None:
        if old not in self.containers or new in self.containers:
            return
        self.wake(old)
        was_running = self.model[old].running
        if was_running:
            patiently(self.containers[old].stop)
        patiently(lambda: self.containers[old].rename(new))
        self.containers[new] = self.containers.pop(old)
        self.model[new] = self.model.pop(old)
        if was_running:
            patiently(self.containers[new].start)

    @rule(old=names, new=names)
    def copy(self, old: str, new: str) -> None:
        if old not in self.containers or new in self.containers:
            return
        self.wake(old)
        self.containers[new] = self.containers[old].copy(new)
        self.model[new] = self.model[old].copy()
        patiently(self.containers[new].start)
        self.model[new].running = True

    @rule(name=names)
    def snapshot_or_restore(self, name: str) -> None:
        if name not in self.containers:
            return
        self.wake(name)
        model = self.model[name]
        if model.snapshot is None:
            patiently(lambda: self.containers[name].snapshot("before"))
            model.snapshot = model.copy()
            model.snapshot.description = self.containers[name].description_of("before")
        else:
            patiently(lambda: self.containers[name].restore("before"))
            # A restore that the server breaks off half-way leaves it stopped, and the next one leaves it so.
            if model.running and self.containers[name].config["status"] != "Running":
                patiently(self.containers[name].start)
            back = model.snapshot.copy()
            back.running, back.snapshot = model.running, model.snapshot
            self.model[name] = back

    # --- other people -----------------------------------------------------------------------------------

    @rule(name=names, word=strategies.sampled_from(("desk", "lab")))
    def note(self, name: str, word: str) -> None:
        if name in self.containers:
            note = {"user.note": word}
            patiently(lambda: self.containers[name].patch({"config": note}))
            self.model[name].config = note

    @rule(name=names, word=strategies.sampled_from(("desk", "lab", "")))
    def describe(self, name: str, word: str) -> None:
        # At rest alone: no ETag covers descriptions, and one of just before a request may be put back.
        if name in self.containers:
            self.rest()
            patiently(lambda: self.containers[name].patch({"description": word}))
            self.model[name].description = word

    @rule(name=names)
    def foreign_entry(self, name: str) -> None:
        if name not in self.containers:
            return
        foreign = self.model[name].foreign
        if "cam" in foreign:
            patiently(lambda: self.containers[name].remove_device("cam"))
            del foreign["cam"]
        else:
            entry = {"type": "unix-char", "source": "/dev/zero", "path": "/dev/cam"}
            patiently(lambda: self.containers[name].patch({"devices": {"cam": entry}}))
            foreign["cam"] = entry

    @rule(name=names, pick=picks)
    def delete_entry(self, name: str, pick: int) -> None:
        if entry := self.one_of_ours(name, pick):
            patiently(lambda: self.containers[name].remove_device(entry))

    @rule(name=names, pick=picks, key=strategies.sampled_from(("mode", "path", "user.hotplugd.device")))
    def edit_entry(self, name: str, pick: int, key: str) -> None:
        if entry := self.one_of_ours(name, pick):
            value = {"mode": "0777", "path": "/dev/edited", "user.hotplugd.device": "something else"}[key]
            config = {**self.containers[name].devices.get(entry, {}), key: value}
            if "type" in config:
                try:
                    patiently(lambda: self.containers[name].patch({"devices": {entry: config}}))
                except ServerError as error:
                    # Incus, from 6.15 on, changes nothing of some entries that are in use.
                    assert "does not support updates" in str(error)  # noqa: PT017

    @rule(name=names, pick=picks, also_remove=strategies.booleans())
    def unmount(self, name: str, pick: int, *, also_remove: bool) -> None:
        if name not in self.containers or not self.model[name].running:
            return
        self.wake(name)
        inside = [path for path, seen in self.containers[name].nodes().items() if seen.major == CONSOLES]
        if inside:
            path = sorted(inside)[pick % len(inside)]
            self.containers[name].run("umount", path)
            if also_remove:
                self.containers[name].run("rm", "-f", path)

    @rule(name=names, number=consoles_of)
    def put_in_the_way(self, name: str, number: int) -> None:
        """A folder where the node should go: the server cannot make it, until somebody clears the way."""
        if name not in self.containers or not self.model[name].running:
            return
        self.wake(name)
        path = self.consoles[number].node
        done = self.containers[name].run("sh", "-c", f"mkdir {path} && touch {path}/file")
        if done.code == 0:
            self.ways.append((name, path))

    # --- hotplugd and the server ------------------------------------------------------------------------

    @rule()
    def kill_or_start_hotplugd(self) -> None:
        if self.alive:
            self.daemon.kill()
        else:
            self.daemon.start()
        self.alive = not self.alive
        self.calm()

    @precondition(lambda self: self.alive)
    @rule()
    def stop_and_start_hotplugd(self) -> None:
        assert self.daemon.stop(5.0) == 0
        self.daemon.start()

    @rule(rules=strategies.sampled_from(tuple(RULES)))
    def other_rules(self, rules: str) -> None:
        self.ruleset = rules
        self.daemon.write_rules(self.text(rules))
        if self.alive:
            self.daemon.reload()

    @precondition(lambda self: self.alive)
    @rule()
    def broken_rules(self) -> None:
        self.daemon.write_rules(BROKEN)
        self.daemon.reload()
        self.daemon.write_rules(self.text(self.ruleset))

    @rule(how=strategies.sampled_from(("restart", "crash")))
    def server_goes_and_comes(self, how: str) -> None:
        if how == "crash":
            self.server.kill()
        else:
            self.server.stop()
        self.server.start()

    # --- what must hold ---------------------------------------------------------------------------------

    @rule()
    def rest(self) -> None:
        for name in self.containers:
            self.wake(name)
        for name, path in self.ways:
            if name in self.containers and self.model[name].running:
                self.containers[name].run("sh", "-c", f"test -d {path} && rm -r {path}")
        self.ways.clear()
        if not self.alive:
            self.daemon.start()
            self.alive = True
        eventually(self.converged, _DEADLINE)
        answer = self.daemon.ask("plan", "--json")
        assert answer.returncode == 0, answer.stderr
        assert json.loads(answer.stdout)["changes"] == []
        assert self.converged()

    def converged(self) -> bool:
        for name, container in self.containers.items():
            self.see(name, container)
        verified = [
            (each["instance"], each["path"], each["verified"])
            for each in cast("list[dict[str, object]]", self.daemon.status()["attachments"])
        ]
        for instance, path, seen in verified:
            assert seen is (True if self.model[str(instance)].running else None), (instance, path, seen)
        return True

    def see(self, name: str, container: Container) -> None:
        model = self.model[name]
        plugged = [number for number, console in enumerate(self.consoles) if console.plugged]
        expected = wanted(self.ruleset, name, plugged, self.numbers)
        for path, seen in see(container, model, expected).items():
            if path == SCREEN and self.ruleset == "two":
                assert (seen.mode, seen.gid) == (0o620, 5)

    def teardown(self) -> None:
        try:
            if self.containers:
                self.rest()
        except AssertionError:
            sys.stderr.write(f"--- hotplugd's log\n{self.daemon.log()}---\n{self.server.tail()}\n")
            raise
        finally:
            self.daemon.close()
            for container in self.server.containers():
                container.delete()
            for console in self.consoles:
                console.unplug()

    # --- helpers ----------------------------------------------------------------------------------------

    def calm(self) -> None:
        """No server has to see a source go any more, which it may hang by in the middle of a stop (README).

        While no hotplugd runs it is udevd that takes the sources away.
        """
        if self.alive:
            return
        settle()
        pulled = [each for each in self.consoles if not each.plugged]
        running = [each for name, each in self.containers.items() if self.model[name].running]
        numbers = {f"c {CONSOLES}:{128 + each.number}" for each in pulled}
        # LXD loses some of what goes at once.
        with suppress(NotInTime):
            eventually(
                lambda: not any(seen.number in numbers for each in running for seen in each.nodes().values()),
                _HANDLED,
            )

    def wake(self, name: str) -> None:
        if self.model[name].frozen:
            patiently(self.containers[name].unfreeze)
            self.model[name].frozen = False

    def one_of_ours(self, name: str, pick: int) -> str:
        if name not in self.containers:
            return ""
        ours = sorted(key for key in self.containers[name].devices if key.startswith("hp-"))
        return ours[pick % len(ours)] if ours else ""


@pytest.mark.timeout(0)
def test_anything_in_any_order(
    own_server: Server, consoles: Callable[[int], list[Console]], commands: Commands
) -> None:
    soak = int(os.environ.get("HOTPLUGD_SOAK", "0"))
    four = consoles(4)
    run_state_machine_as_test(
        cast("type[RuleBasedStateMachine]", lambda: Machine(own_server, four, commands)),
        settings=settings(
            max_examples=soak or 8,
            stateful_step_count=30,
            deadline=None,
            derandomize=not soak,
            database=None,
            phases=(Phase.generate,),
            # Of what fails once and not again the traceback is told nowhere else.
            verbosity=Verbosity.verbose,
            suppress_health_check=list(HealthCheck),
        ),
    )
