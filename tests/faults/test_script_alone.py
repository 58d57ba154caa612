"""The script alone, under what the soak does to hotplugd: one thing at a time, to one device that is inside.

It survives that LXD is ended while it asks for nothing, and that an instance is restarted, or stopped for a
while: LXD keeps the entry, and the next request finds LXD again. By all else it ends, or it goes on and never
learns that a device is not as it should be. hotplugd mends each of these: see `tests/soak/`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import pytest

from tests.faults.host import there
from tests.support.lab.container import Container
from tests.support.lab.kernel import Console
from tests.support.lab.patience import patiently
from tests.support.lab.script import Script
from tests.support.lab.server import Server
from tests.support.lab.udevd import settle
from tests.support.lab.wait import eventually, steadily

_WHILE: Final = 0.5


@dataclass(frozen=True, slots=True)
class Bed:
    """One container, and consoles for it: `one` is inside before anything happens."""

    server: Server
    container: Container
    one: Console
    meanwhile: Console
    later: Console

    def script(self) -> Script:
        some = (self.one, self.meanwhile, self.later)
        return Script(self.server.socket, {name(each): self.container.name for each in some})

    def begin(self) -> None:
        """The script has handed over the first, and waits for nothing any more."""
        self.one.plug()
        eventually(lambda: there(self.container, self.one))
        eventually(lambda: "running" not in self.server.api.get("/1.0/operations"))

    def edit(self, key: str, value: str) -> None:
        entry = {**self.container.devices[name(self.one)], key: value}
        self.container.patch({"devices": {name(self.one): entry}})


def name(console: Console) -> str:
    """The kernel's, by which the script calls its entry too."""
    return f"vcsa{console.number}"


@pytest.fixture(scope="module")
def alone(root: None, udevd: None) -> Iterator[Server]:
    """A server of this file's own, to be killed."""
    with Server() as started:
        yield started


@pytest.fixture
def bed(alone: Server, consoles: Callable[[int], list[Console]]) -> Iterator[Bed]:
    yield Bed(alone, alone.launch(), *consoles(3))
    for each in alone.containers():
        each.delete()


def server_is_killed(bed: Bed) -> None:
    bed.server.kill()
    bed.server.start()


def server_is_restarted(bed: Bed) -> None:
    bed.server.restart()


def server_is_killed_over_a_plug(bed: Bed) -> None:
    bed.server.kill()
    bed.meanwhile.plug()
    settle()
    bed.server.start()


def instance_is_restarted(bed: Bed) -> None:
    bed.container.restart()


def instance_is_stopped_over_a_plug(bed: Bed) -> None:
    bed.container.stop()
    bed.meanwhile.plug()
    eventually(lambda: name(bed.meanwhile) in bed.container.devices)
    patiently(bed.container.start)
    eventually(lambda: there(bed.container, bed.meanwhile))


def instance_is_renamed(bed: Bed) -> None:
    bed.container.stop()
    bed.container.rename(f"{bed.container}-renamed")
    bed.container.start()


def instance_is_deleted(bed: Bed) -> None:
    bed.container.delete()


def instance_is_made_anew(bed: Bed) -> None:
    bed.container.delete()
    bed.server.launch(bed.container.name)


def entry_is_deleted(bed: Bed) -> None:
    bed.container.remove_device(name(bed.one))


def entry_gets_another_path(bed: Bed) -> None:
    bed.edit("path", "/dev/edited")


def entry_gets_another_mode(bed: Bed) -> None:
    bed.edit("mode", "0777")


def node_is_unmounted(bed: Bed) -> None:
    bed.container.run("umount", bed.one.node)


Act = Callable[[Bed], None]
SURVIVED: Final[tuple[Act, ...]] = (
    server_is_killed,
    server_is_restarted,
    instance_is_restarted,
    instance_is_stopped_over_a_plug,
)
FATAL: Final[tuple[Act, ...]] = (server_is_killed_over_a_plug, instance_is_renamed, instance_is_deleted)
UNNOTICED: Final[tuple[Act, ...]] = (
    instance_is_made_anew,
    entry_is_deleted,
    entry_gets_another_path,
    entry_gets_another_mode,
    node_is_unmounted,
)


@pytest.mark.parametrize("act", SURVIVED)
def test_this_it_survives(bed: Bed, act: Act) -> None:
    with bed.script() as script:
        bed.begin()
        act(bed)
        bed.later.plug()
        eventually(lambda: all(there(bed.container, each) for each in (bed.one, bed.later)))
        assert script.running


@pytest.mark.parametrize("act", FATAL)
def test_by_this_it_ends(bed: Bed, act: Act) -> None:
    with bed.script() as script:
        bed.begin()
        act(bed)
        bed.later.plug()
        eventually(lambda: not script.running)
        devices = [each.devices for each in bed.server.containers()]
        assert not any(name(each) in entries for each in (bed.meanwhile, bed.later) for entries in devices)


@pytest.mark.parametrize("act", UNNOTICED)
def test_this_it_never_learns_of(bed: Bed, act: Act) -> None:
    with bed.script() as script:
        bed.begin()
        before = bed.container.look(bed.one.node)
        act(bed)
        bed.container.forget_pid()
        bed.later.plug()
        eventually(lambda: there(bed.container, bed.later))
        steadily(lambda: bed.container.look(bed.one.node) != before, _WHILE)
        assert script.running


def test_killed_and_started_again_it_has_lost_what_happened_meanwhile(bed: Bed) -> None:
    with bed.script():
        bed.begin()
    bed.one.unplug()
    bed.meanwhile.plug()
    settle()
    with bed.script() as script:
        bed.later.plug()
        eventually(lambda: there(bed.container, bed.later))
        eventually(lambda: bed.container.devices.keys() == {name(bed.one), name(bed.later)})
        assert not there(bed.container, bed.meanwhile)
        assert script.running
