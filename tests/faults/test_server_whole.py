"""Faults of a whole server: hotplugd waits for it, goes on with what it knows, and catches up.

The script hears no events of the server's and lists nothing, so faults in those are none for it: what it does
not look at it does not lose, and it does not know of an instance that starts. It fails under all others.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

import pytest

from tests.faults.server_bed import Bed, there
from tests.support.lab.faults import Frames, Half, Hang, Refuse, Say, answer, document, frame
from tests.support.lab.proxy import Act, Fault
from tests.support.lab.server import Server
from tests.support.lab.wait import eventually, steadily

_LIST: Final = r"GET /1.0/instances\?recursion"
_EVENTS: Final = "GET /1.0/events"


@pytest.fixture(scope="module")
def shared(server: Server) -> Iterator[Bed]:
    with Bed(server, "all") as one:
        yield one


@pytest.fixture
def bed(shared: Bed) -> Iterator[Bed]:
    """With nothing plugged, and in the end nothing that is left over."""
    # Found for so long, a server that was lost often is forgiven.
    shared.pace(".*")
    yield shared
    shared.clean()


EVERYTHING: Final[dict[str, Act]] = {
    "503": Refuse(503, "LXD is starting"),
    "a-page": Say(answer(b"<html>", 502, "Bad Gateway")),
    "hangs": Hang(),
}


@pytest.mark.parametrize("act", EVERYTHING.values(), ids=EVERYTHING)
def test_all_that_is_asked_of_it(bed: Bed, act: Act) -> None:
    bed.two.plug()
    eventually(lambda: there(bed.well, bed.two))
    with bed.script() as script:
        with bed.proxy.fault(Fault(act)) as (fault,):
            bed.proxy.cut()
            bed.one.plug()
            bed.three.plug()
            eventually(lambda: fault.met > 2)
            bed.pace(".*")
            assert not there(bed.hurt, bed.one)
            assert there(bed.well, bed.two)
            assert not bed.connected
            if act == Hang():
                assert not there(bed.theirs, bed.three)
            else:
                eventually(lambda: not script.running)
        eventually(lambda: there(bed.hurt, bed.one))
        bed.settled()


def test_its_socket_is_gone_for_a_while(bed: Bed) -> None:
    bed.two.plug()
    eventually(lambda: there(bed.well, bed.two))
    with bed.script() as script:
        with bed.proxy.gone():
            bed.one.plug()
            bed.two.unplug()
            bed.three.plug()
            eventually(lambda: "is not running" in bed.told())
            bed.pace(".*")
            assert not bed.connected
            eventually(lambda: not script.running)
        eventually(lambda: there(bed.hurt, bed.one))
        bed.settled()


LISTS: Final[dict[str, Act]] = {
    "500": Refuse(500),
    "half": Half(),
    "an-object": Say(document({})),
}


@pytest.mark.parametrize("act", LISTS.values(), ids=LISTS)
def test_its_list_of_instances(bed: Bed, act: Act) -> None:
    with bed.proxy.fault(Fault(act, _LIST)) as (fault,):
        bed.proxy.cut()
        eventually(lambda: fault.met)
        bed.one.plug()
        # What is known is gone on with.
        eventually(lambda: there(bed.hurt, bed.one))
        bed.pace(".*")
        assert not bed.connected
    bed.two.plug()
    eventually(lambda: there(bed.well, bed.two))
    bed.settled()


def test_a_list_that_a_profile_asks_for_keeps_nobody_waiting(bed: Bed) -> None:
    bed.one.plug()
    eventually(lambda: there(bed.hurt, bed.one))
    bed.hurt.delete()
    bed.theirs.delete()
    eventually(lambda: "there is no instance" in bed.told())
    with bed.proxy.fault(Fault(Hang(), _LIST)) as (fault,):
        bed.server.api.request("PATCH", "/1.0/profiles/default", {"description": "edited"})
        eventually(lambda: fault.met)
        bed.launch_again()
        eventually(lambda: there(bed.hurt, bed.one), 10)
        bed.pace(".*")
        # Once for each project.
        assert fault.met <= len(bed.server.api.list("/1.0/projects"))
    bed.settled()


def test_a_list_without_any_instance_takes_nothing_out(bed: Bed) -> None:
    bed.one.plug()
    eventually(lambda: there(bed.hurt, bed.one))
    bed.settled()
    with bed.proxy.fault(Fault(Say(document([])), _LIST)) as (fault,):
        bed.proxy.cut()
        eventually(lambda: fault.met)
        eventually(lambda: "there is no instance" in bed.told())
        steadily(lambda: there(bed.hurt, bed.one), 0.5)
    bed.proxy.cut()
    bed.settled()
    assert there(bed.hurt, bed.one)


_NEWS: Final = (
    b'{"type": "lifecycle", "metadata": {"action": "instance-updated", "source": "/1.0/instances/%s"}}'
)
STREAMS: Final = {
    "ends": b"",
    "no-json": frame(b"{"),
    "huge": frame(b"x", length=1 << 40),
}


@pytest.mark.parametrize("raw", STREAMS.values(), ids=STREAMS)
def test_its_events_are_garbage_and_end(bed: Bed, raw: bytes) -> None:
    with bed.proxy.fault(Fault(Frames(raw, ends=True), _EVENTS)) as (fault,):
        bed.proxy.cut()
        eventually(lambda: fault.met)
        start = time.monotonic()
        bed.one.plug()
        eventually(lambda: there(bed.hurt, bed.one))
        bed.pace(".*")
        # It found the server each time, and was let down: that is no reason to hurry.
        passed = time.monotonic() - start
        assert bed.proxy.count(_EVENTS, since=start) <= 3 + passed
    bed.two.plug()
    eventually(lambda: there(bed.well, bed.two))
    bed.settled()


def test_its_events_are_many(bed: Bed) -> None:
    flood = frame(_NEWS % bed.hurt.name.encode()) * 20
    many = frame(_NEWS % b"all-nowhere") * 20
    with bed.proxy.fault(Fault(Frames(flood + many, times=10_000, pause=0.02), _EVENTS)) as (fault,):
        bed.proxy.cut()
        eventually(lambda: fault.met and bed.connected)
        bed.two.plug()
        eventually(lambda: there(bed.well, bed.two))
        bed.one.plug()
        eventually(lambda: there(bed.hurt, bed.one))
        bed.pace(f".*/instances/{bed.hurt}[? ]", cpu=0.6, seconds=1.5)
    bed.settled()


def test_it_does_not_say_which_process_is_an_instance_s_first(bed: Bed) -> None:
    bed.one.plug()
    eventually(lambda: there(bed.hurt, bed.one))
    bed.settled()
    with bed.proxy.fault(Fault(Refuse(500), f"GET /1.0/instances/{bed.hurt}/state")) as (fault,):
        bed.hurt.restart()
        eventually(lambda: fault.met)
        bed.two.plug()
        eventually(lambda: there(bed.well, bed.two))
        eventually(lambda: "cannot look inside" in bed.told())
        bed.pace(f".*/instances/{bed.hurt}")
        assert there(bed.hurt, bed.one)
    bed.settled()
