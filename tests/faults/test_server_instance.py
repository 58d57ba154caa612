"""Faults in what is asked of one instance: hotplugd serves the others meanwhile, and this one afterwards.

The script does the same at the same proxy, with instances of its own. It survives a slow write, which
all others wait for. Under each of the others it ends or stands still.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, cast

import pytest

from tests.faults.server_bed import Bed, ours, there
from tests.support.lab.api import Json
from tests.support.lab.faults import (
    Endless,
    Half,
    HalfRequest,
    Hang,
    Lost,
    Refuse,
    Say,
    Slow,
    Twist,
    answer,
    document,
)
from tests.support.lab.proxy import Act, Fault
from tests.support.lab.script import Script
from tests.support.lab.server import Server
from tests.support.lab.udevd import settle
from tests.support.lab.wait import eventually

_WRITE: Final = r"(PATCH|PUT) /1.0/instances/{}\b"
_READ: Final = r"GET /1.0/instances/{}[? ]"
_WAIT: Final = r"GET /1.0/operations/[^/]+/wait"


@pytest.fixture(scope="module")
def shared(server: Server) -> Iterator[Bed]:
    with Bed(server, "in") as one:
        yield one


@pytest.fixture
def bed(shared: Bed) -> Iterator[Bed]:
    """With nothing plugged, and in the end nothing that is left over."""
    yield shared
    shared.clean()


@dataclass(frozen=True, slots=True)
class Case:
    """A fault, and what is made of it.

    to       a pattern of the requests, with the instance's name to be filled in
    script   what becomes of the script
    served   hotplugd gets the device in nevertheless; None where that hangs on what it knew before
    within   seconds after the fault until all is as it should be
    cpu      how much of a processor it may take
    """

    act: Act
    to: str = _WRITE
    script: Literal["fails", "stands still", "goes on"] = "fails"
    served: bool | None = False
    within: float = 4.0
    cpu: float = 0.2

    def on(self, *names: str) -> list[Fault]:
        return [Fault(self.act, self.to.format(each)) for each in names]


def numbers(found: Json) -> object:
    """The same with an entry that has a number where text belongs."""
    devices = cast("Json", found["devices"])
    return {**found, "devices": {**devices, "x": {"type": "none", "user.x": 7}}}


_HTML: Final = answer(b"<html><body>Bad gateway</body></html>")
_HUGE: Final = answer(b'{"type": "sync", "metadata": "' + b"x" * 100_000_000 + b'"}')

PLUGS: Final = {
    "write-500": Case(Refuse(500)),
    "write-404": Case(Refuse(404)),
    "write-412": Case(Refuse(412)),
    "write-half-an-answer": Case(Half(), served=True),
    "write-half-a-request": Case(HalfRequest()),
    "write-no-answer": Case(Lost(), served=True),
    "write-no-http": Case(Say(b"\0garbage\r\n\r\n")),
    "write-a-page": Case(Say(_HTML)),
    "write-hangs": Case(Hang(), script="stands still"),
    "write-slow": Case(Slow(0.5), script="goes on", served=True),
    "write-endless-answer": Case(Endless(), script="stands still", cpu=0.8),
    "read-404": Case(Refuse(404), _READ, served=None),
    "read-hangs": Case(Hang(), _READ, script="stands still", served=None),
    "read-null": Case(Say(document(None)), _READ, served=None),
    "read-devices-a-list": Case(Twist(lambda found: {**found, "devices": ["x"]}), _READ, served=None),
    "read-numbers": Case(Twist(numbers), _READ, served=None),
    "read-another-instance": Case(Twist(lambda found: {**found, "name": "other"}), _READ, served=None),
    "read-huge": Case(Say(_HUGE), _READ, cpu=0.8, served=None),
}


PULLS: Final = {
    "write-500": Case(Refuse(500)),
    "write-no-answer": Case(Lost(), served=True),
    "operation-fails": Case(Twist(lambda found: {**found, "status_code": 400, "err": "no"}), _WAIT),
    "operation-never-ends": Case(Twist(lambda found: {**found, "status_code": 103, "err": ""}), _WAIT),
    "operation-is-forgotten": Case(Refuse(404), _WAIT),
    "operation-hangs": Case(Hang(), _WAIT, script="stands still"),
}


@pytest.mark.parametrize("case", PLUGS.values(), ids=PLUGS)
def test_a_device_is_plugged(bed: Bed, case: Case) -> None:
    with bed.script() as script:
        with bed.proxy.fault(*case.on(bed.hurt.name, bed.theirs.name)) as (fault, theirs):
            bed.three.plug()
            bed.one.plug()
            bed.two.plug()
            eventually(lambda: there(bed.well, bed.two))
            eventually(lambda: theirs.met)
            bed.four.plug()
            if case.served:
                eventually(lambda: there(bed.hurt, bed.one))
            bed.pace(f".*/instances/{bed.hurt}", case.cpu)
            assert fault.met
            assert case.served is not False or not there(bed.hurt, bed.one)
            assert case.served is not False or bed.hurt.name in bed.told()
            bed.two.unplug()
            eventually(lambda: bed.well.look(bed.two.node) is None)
            see(case, bed, script)
        eventually(lambda: there(bed.hurt, bed.one), case.within)
        bed.settled()
        if case.script == "fails":
            assert not there(bed.idle, bed.four), "it lives"


@pytest.mark.parametrize("case", PULLS.values(), ids=PULLS)
def test_a_device_is_pulled(bed: Bed, case: Case) -> None:
    with bed.script() as script:
        bed.one.plug()
        bed.three.plug()
        eventually(lambda: there(bed.hurt, bed.one) and there(bed.theirs, bed.three))
        bed.settled()
        with bed.proxy.fault(*case.on(bed.hurt.name, bed.theirs.name)) as faults:
            bed.three.unplug()
            bed.one.unplug()
            bed.two.plug()
            eventually(lambda: there(bed.well, bed.two))
            # What becomes of one that is pulled after another was plugged may be told before.
            settle()
            bed.four.plug()
            bed.pace(f".*/instances/{bed.hurt}", case.cpu)
            assert any(each.met for each in faults)
            see(case, bed, script)
        eventually(lambda: not ours(bed.hurt) and bed.hurt.look(bed.one.node) is None, case.within)
        bed.settled()
        if case.script == "fails":
            assert not there(bed.idle, bed.four), "it lives"


def test_somebody_edits_it_in_the_middle(bed: Bed) -> None:
    with bed.script():
        with bed.proxy.fault(*Case(Hang()).on(bed.hurt.name, bed.theirs.name)) as (fault, theirs):
            bed.one.plug()
            bed.three.plug()
            eventually(lambda: fault.met and theirs.met)
            bed.hurt.patch({"config": {"user.note": "kept"}})
            bed.theirs.patch({"config": {"user.note": "lost"}})
        eventually(lambda: there(bed.hurt, bed.one) and there(bed.theirs, bed.three))
        bed.settled()
        assert bed.hurt.own_config["user.note"] == "kept"
        # The script writes back all that it once read.
        eventually(lambda: "user.note" not in bed.theirs.own_config)


def test_somebody_deletes_it_in_the_middle(bed: Bed) -> None:
    with bed.script() as script:
        with bed.proxy.fault(*Case(Hang()).on(bed.hurt.name, bed.theirs.name)) as (fault, theirs):
            bed.one.plug()
            bed.three.plug()
            eventually(lambda: fault.met and theirs.met)
            bed.hurt.delete()
            bed.theirs.delete()
        eventually(lambda: not script.running)
        eventually(lambda: "there is no instance" in bed.told())
        bed.two.plug()
        eventually(lambda: there(bed.well, bed.two))
        bed.launch_again()
        eventually(lambda: there(bed.hurt, bed.one))
        bed.settled()


def see(case: Case, bed: Bed, script: Script) -> None:
    """What became of the script."""
    if case.script == "fails":
        eventually(lambda: not script.running)
    elif case.script == "stands still":
        assert script.running
        assert not there(bed.idle, bed.four), "it serves others meanwhile"
    else:
        eventually(lambda: there(bed.theirs, bed.three) and there(bed.idle, bed.four))
        assert script.running
