"""What was not heard is found again by listing, and trying to hear costs next to nothing."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from hotplugd.host.udev import Udev
from tests.kernel.udev.bench import Heard, until, with_udev
from tests.support.lab.kernel import Console
from tests.support.lab.shortage import no_more_descriptors
from tests.support.lab.udevd import settle

pytestmark = pytest.mark.usefixtures("root", "udevd")

Consoles = Callable[[int], list[Console]]


def shrink(udev: Udev) -> None:
    """From now on there is room for a message or two."""
    for monitor in udev._monitors:
        with socket.socket(fileno=os.dup(monitor.fileno())) as same:
            same.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the loop had each source read."""
    count: Counter[str] = Counter()
    read = Udev._read

    def counted(udev: Udev, monitor: Any, source: str) -> None:
        count[source] += 1
        read(udev, monitor, source)

    monkeypatch.setattr(Udev, "_read", counted)
    return count


class TestOverflow:
    def test_what_came_and_went_while_there_was_no_room_is_known(self, consoles: Consoles) -> None:
        went, stays, *come = consoles(10)
        for each in (went, stays):
            each.plug()
        settle()

        async def script(udev: Udev, heard: Heard) -> None:
            udev.start()
            slot = heard.devices[stays.syspath].slot
            shrink(udev)
            went.unplug()
            for each in come:
                each.plug()
            settle()
            await until(lambda: heard.listings == 2)
            assert heard.lost
            assert went.syspath not in heard.devices
            assert {each.syspath for each in come} <= set(heard.devices)
            assert heard.devices[stays.syspath].slot == slot
            # And it hears again.
            for each in come:
                each.unplug()
            await until(lambda: not {each.syspath for each in come} & set(heard.devices))
            assert heard.listings == 2

        with_udev(script)

    def test_it_does_not_spin(self, consoles: Consoles, reads: Counter[str]) -> None:
        async def script(udev: Udev, heard: Heard) -> None:
            udev.start()
            shrink(udev)
            for each in consoles(10):
                each.plug()
            settle()
            await until(lambda: heard.listings == 2)
            await asyncio.sleep(0.3)
            assert heard.listings == 2
            # Somebody else may plug things in the meantime; spinning, it would be tens of thousands.
            assert reads.total() < 500

        with_udev(script)

    def test_one_after_another_is_listed_four_times_a_second_at_most(self, consoles: Consoles) -> None:
        async def script(udev: Udev, heard: Heard) -> None:
            flood = consoles(8)
            start = time.monotonic()
            udev.start()
            while heard.listings < 4:
                if udev._monitors:
                    shrink(udev)
                for each in flood:
                    each.plug()
                for each in flood:
                    each.unplug()
                await asyncio.sleep(0.01)
            assert time.monotonic() - start > 0.7

        with_udev(script)


class Broken:
    """A monitor that only fails."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def _receive_device(self) -> None:
        raise self._error


class TestBrokenSocket:
    @pytest.mark.parametrize(
        ("error", "told"),
        [
            (OSError(None, "cut"), "cut"),
            (OSError(), "OSError"),
            (ConnectionResetError(104, "reset"), "reset"),
        ],
    )
    def test_new_sockets_take_its_place(self, console: Console, error: Exception, told: str) -> None:
        async def script(udev: Udev, heard: Heard) -> None:
            udev.start()
            before = sorted(os.listdir("/proc/self/fd"))
            old = [id(monitor) for monitor in udev._monitors]
            udev._read(Broken(error), "udev")
            assert len(heard.lost) == 1
            assert told in heard.lost[0]
            console.plug()
            settle()
            await until(lambda: heard.listings == 2)
            assert [id(monitor) for monitor in udev._monitors] != old
            assert sorted(os.listdir("/proc/self/fd")) == before
            assert console.syspath in heard.devices
            console.unplug()
            await until(lambda: console.syspath not in heard.devices)

        with_udev(script)

    def test_what_is_no_message_costs_a_listing_and_no_socket(self, console: Console) -> None:
        async def script(udev: Udev, heard: Heard) -> None:
            udev.start()
            before = [id(monitor) for monitor in udev._monitors]
            for source in ("udev", "kernel") * 5:
                udev._read(Broken(ValueError("a message cut short")), source)
            assert heard.lost == ["a message cut short"]
            console.plug()
            await until(lambda: console.syspath in heard.devices)
            await until(lambda: heard.listings == 2)
            assert [id(monitor) for monitor in udev._monitors] == before

        with_udev(script)

    def test_it_tries_again_until_there_are_sockets_to_be_had(self, console: Console) -> None:
        async def script(udev: Udev, heard: Heard) -> None:
            udev.start()
            udev._read(Broken(OSError(None, "cut")), "kernel")
            with no_more_descriptors():
                await until(lambda: len(heard.lost) >= 3)
                assert heard.listings == 1
            console.plug()
            await until(lambda: heard.listings == 2)
            await until(lambda: console.syspath in heard.devices)
            assert len(heard.lost) < 10

        with_udev(script)

    def test_a_start_that_fails_leaves_nothing_behind_and_can_be_repeated(self, console: Console) -> None:
        async def script(udev: Udev, heard: Heard) -> None:
            before = sorted(os.listdir("/proc/self/fd"))
            with no_more_descriptors(), pytest.raises(OSError, match="monitor"):
                udev.start()
            assert sorted(os.listdir("/proc/self/fd")) == before
            assert heard.calls == []
            udev.start()
            console.plug()
            await until(lambda: console.syspath in heard.devices)

        with_udev(script)

    def test_having_stopped_it_does_not_start_again_by_itself(self) -> None:
        async def script(udev: Udev, heard: Heard) -> None:
            udev.start()
            udev._read(Broken(OSError("cut")), "udev")
            udev.stop()
            await asyncio.sleep(0.4)
            assert heard.listings == 1
            assert not udev._monitors

        with_udev(script)


class TestNoDescriptors:
    """libudev takes what it cannot open for what is not there, and says nothing."""

    def test_a_listing_waits_and_takes_nothing_away(self) -> None:
        async def script(udev: Udev, heard: Heard) -> None:
            udev.start()
            # Other tests plug and unplug what is virtual.
            before = {each for each in heard.devices if "/virtual/" not in each}
            with no_more_descriptors():
                udev.refresh()
                await asyncio.sleep(0.6)
                assert heard.listings == 1
                assert before <= heard.devices.keys()
                with pytest.raises(OSError, match="Too many open files"):
                    udev.list()
            assert len(heard.lost) == 1
            await until(lambda: heard.listings == 2)
            assert before <= heard.devices.keys()
            udev.refresh()
            assert heard.listings == 3

        with_udev(script)

    def test_what_comes_waits_and_what_goes_is_gone(self, consoles: Consoles) -> None:
        went, came = consoles(2)
        went.plug()
        settle()

        async def script(udev: Udev, heard: Heard) -> None:
            udev.start()
            went.unplug()
            came.plug()
            settle()
            with no_more_descriptors():
                await until(lambda: went.syspath not in heard.devices)
                await until(lambda: heard.lost)
                assert came.syspath not in heard.devices
            await until(lambda: came.syspath in heard.devices)
            assert heard.devices[came.syspath].properties["SUBSYSTEM"] == "vc"
            assert len(heard.lost) == 1

        with_udev(script)


class Unreadable:
    """A message that cannot be read."""

    action = "add"
    sequence_number = 1

    @property
    def sys_path(self) -> str:
        raise ValueError("embedded null byte")


def test_a_message_that_cannot_be_read_is_said_and_the_next_one_is_heard(console: Console) -> None:
    async def script(udev: Udev, heard: Heard) -> None:
        udev.start()
        udev._hear(Unreadable(), "udev")
        assert heard.lost == ["an event of a device that cannot be read: embedded null byte"]
        console.plug()
        await until(lambda: console.syspath in heard.devices)
        assert heard.listings == 1

    with_udev(script)
