"""The kernel's messages and udevd's are not in step: which one counts."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator

import pytest

from hotplugd.host.sysfs import boot
from hotplugd.host.udev import Udev
from tests.kernel.udev.bench import Heard, until, with_udev
from tests.kernel.udev.slow import SlowUdevd, properties, record
from tests.support.lab.kernel import Console
from tests.support.lab.udevd import settle, slot_said

pytestmark = pytest.mark.usefixtures("root", "udevd")


@pytest.fixture
def slow() -> Iterator[SlowUdevd]:
    with SlowUdevd() as udevd:
        yield udevd


class Fences:
    """Consoles that show that everything sent so far was heard, of udevd's or of the kernel's."""

    def __init__(self, slow: SlowUdevd, heard: Heard, consoles: Callable[[int], list[Console]]) -> None:
        self._slow = slow
        self._heard = heard
        self._consoles = consoles
        self._passed: Console | None = None

    async def udevd(self) -> None:
        """Everything that was passed on was heard."""
        (console,) = self._consoles(1)
        console.plug()
        self._slow.pass_on(self._slow.message("add", console.syspath))
        await until(lambda: console.syspath in self._heard.devices)
        self._passed = console

    async def kernel(self) -> None:
        """Everything that the kernel has said was heard."""
        if self._passed is None:
            await self.udevd()
        passed = self._passed
        assert passed is not None
        passed.unplug()
        await until(lambda: passed.syspath not in self._heard.devices)
        self._passed = None


Script = Callable[[Udev, Heard, Fences], Awaitable[None]]


@pytest.fixture
def run(slow: SlowUdevd, consoles: Callable[[int], list[Console]]) -> Callable[[Script], None]:
    """Runs a script with an adapter that has started and hears the slow udevd."""

    def run(body: Script) -> None:
        async def script(udev: Udev, heard: Heard) -> None:
            with slow.heard():
                udev.start()
            await body(udev, heard, Fences(slow, heard, consoles))

        with_udev(script)

    return run


Run = Callable[[Script], None]


async def again(heard: Heard, syspath: str) -> None:
    """The device is told once more."""
    before = heard.of(syspath)
    await until(lambda: heard.of(syspath) != before)


def test_a_device_counts_once_udevd_has_processed_it(run: Run, slow: SlowUdevd, console: Console) -> None:
    async def script(_: Udev, heard: Heard, fences: Fences) -> None:
        console.plug()
        message = slow.message("add", console.syspath)
        await fences.kernel()
        assert heard.of(console.syspath) == []
        slow.pass_on(message)
        await until(lambda: console.syspath in heard.devices)
        assert heard.devices[console.syspath].properties["HOTPLUGD_SLOT"]

    run(script)


def test_a_removal_is_heard_while_udevd_says_nothing(run: Run, slow: SlowUdevd, console: Console) -> None:
    async def script(_: Udev, heard: Heard, fences: Fences) -> None:
        console.plug()
        slow.pass_on(slow.message("add", console.syspath))
        await until(lambda: console.syspath in heard.devices)
        console.unplug()
        await until(lambda: console.syspath not in heard.devices)
        slow.pass_on(slow.message("remove", console.syspath))
        await fences.udevd()
        assert heard.of(console.syspath) == ["device", "no_device"]

    run(script)


def test_what_was_there_before_is_removed_likewise(slow: SlowUdevd, console: Console) -> None:
    console.plug()
    settle()

    async def script(udev: Udev, heard: Heard) -> None:
        with slow.heard():
            udev.start()
        assert console.syspath in heard.devices
        console.unplug()
        await until(lambda: console.syspath not in heard.devices)

    with_udev(script)


def test_a_late_message_about_a_device_that_is_gone_is_ignored(
    run: Run, slow: SlowUdevd, console: Console
) -> None:
    async def script(_: Udev, heard: Heard, fences: Fences) -> None:
        console.plug()
        late = slow.message("add", console.syspath)
        console.unplug()
        await fences.kernel()
        slow.pass_on(late)
        slow.pass_on(slow.message("remove", console.syspath))
        await fences.udevd()
        assert heard.of(console.syspath) == []

    run(script)


def test_a_late_message_stays_late_when_all_is_listed_meanwhile(
    run: Run, slow: SlowUdevd, console: Console
) -> None:
    async def script(udev: Udev, heard: Heard, fences: Fences) -> None:
        console.plug()
        late = slow.message("add", console.syspath)
        console.unplug()
        await fences.kernel()
        udev.list()
        assert console.syspath not in heard.devices
        slow.pass_on(late)
        await fences.udevd()
        assert heard.of(console.syspath) == []

    run(script)


def test_a_successor_is_told_after_the_late_messages_about_the_one_before(
    run: Run, slow: SlowUdevd, console: Console
) -> None:
    async def script(_: Udev, heard: Heard, fences: Fences) -> None:
        messages = []
        for _replug in range(3):
            console.plug()
            messages.append(slow.message("add", console.syspath))
            console.unplug()
            messages.append(slow.message("remove", console.syspath))
        console.plug()
        messages.append(slow.message("add", console.syspath))
        await fences.kernel()
        for each in messages:
            slow.pass_on(each)
        await fences.udevd()
        assert heard.of(console.syspath) == ["device"]
        assert heard.devices[console.syspath].slot == slot_said(properties(messages[-1]))

    run(script)


def test_a_late_removal_does_not_take_the_successor(run: Run, slow: SlowUdevd, console: Console) -> None:
    async def script(_: Udev, heard: Heard, fences: Fences) -> None:
        console.plug()
        slow.pass_on(slow.message("add", console.syspath))
        await until(lambda: console.syspath in heard.devices)
        console.unplug()
        late = slow.message("remove", console.syspath)
        await until(lambda: console.syspath not in heard.devices)
        console.plug()
        second = slow.message("add", console.syspath)
        slow.pass_on(second)
        await until(lambda: console.syspath in heard.devices)
        slow.pass_on(late)
        await fences.udevd()
        assert heard.of(console.syspath) == ["device", "no_device", "device"]
        assert heard.devices[console.syspath].slot == slot_said(properties(second))
        console.unplug()
        await until(lambda: console.syspath not in heard.devices)

    run(script)


def test_the_kernel_may_be_the_one_that_is_behind(run: Run, slow: SlowUdevd, console: Console) -> None:
    async def script(udev: Udev, heard: Heard, fences: Fences) -> None:
        udevd, kernel = udev._monitors
        console.plug()
        slow.pass_on(slow.message("add", console.syspath))
        udev._read(udevd, "udev")
        first = heard.devices[console.syspath]
        console.unplug()
        slow.message("remove", console.syspath)
        console.plug()
        slow.pass_on(slow.message("add", console.syspath))
        udev._read(udevd, "udev")
        second = heard.devices[console.syspath]
        assert second.slot != first.slot
        udev._read(kernel, "kernel")
        assert heard.devices[console.syspath] is second
        await fences.kernel()
        assert heard.devices[console.syspath] is second

    run(script)


def test_a_removal_from_before_a_listing_does_not_take_what_is_listed(
    run: Run, slow: SlowUdevd, console: Console
) -> None:
    async def script(udev: Udev, heard: Heard, fences: Fences) -> None:
        console.plug()
        console.unplug()
        late = slow.message("remove", console.syspath)
        console.plug()
        settle()
        udev.list()
        assert console.syspath in heard.devices
        slow.pass_on(late)
        await fences.udevd()
        await fences.kernel()
        assert heard.of(console.syspath) == []
        assert console.syspath in heard.devices

    run(script)


def test_bytes_that_are_no_text_come_through_as_they_are(run: Run, slow: SlowUdevd, console: Console) -> None:
    async def script(_: Udev, heard: Heard, __: Fences) -> None:
        console.plug()
        message = slow.message("add", console.syspath)
        record(message, ID_MODEL=b"caf\xc3\xff", ID_EMPTY=b"", ID_SERIAL="é=\x1b[31m".encode())
        slow.pass_on(message)
        device = await until(lambda: heard.devices.get(console.syspath))
        assert device
        assert device.properties["ID_MODEL"] == "caf\udcc3\udcff"
        assert device.properties.get("ID_EMPTY", "") == ""  # which newer versions of libudev leave out
        assert device.properties["ID_SERIAL"] == "é=\x1b[31m"

    run(script)


@pytest.mark.parametrize(
    "slot",
    [
        b"../../etc/passwd",
        b"c-7-1-",
        b"c-7-999-5",
        b"c-7-1-5/../x",
        b"",
        b"c-7-1-boot-5",
        b"c-7-1-00000000-5",
    ],
)
def test_a_slot_that_does_not_fit_the_device_is_not_taken(
    run: Run, slow: SlowUdevd, console: Console, slot: bytes
) -> None:
    async def script(_: Udev, heard: Heard, __: Fences) -> None:
        console.plug()
        message = slow.message("add", console.syspath)
        record(message, HOTPLUGD_SLOT=slot)
        slow.pass_on(message)
        device = await until(lambda: heard.devices.get(console.syspath))
        said = properties(message)
        assert device
        inode = os.stat(console.syspath).st_ino
        assert device.slot == f"c-{said['MAJOR']}-{said['MINOR']}-{boot()}-i{inode}"

    run(script)


def test_a_slot_stays_when_udevd_forgets_it_and_changes_when_udevd_names_another(
    run: Run, slow: SlowUdevd, console: Console
) -> None:
    async def script(_: Udev, heard: Heard, __: Fences) -> None:
        console.plug()
        message = slow.message("add", console.syspath)
        said = properties(message)
        named = slot_said(said)
        other, renamed = named + "7", said["HOTPLUGD_SLOT"] + "7"
        forgotten = {"HOTPLUGD_SLOT": None, "USEC_INITIALIZED": b"1"}
        for changes, slot in (
            ({}, named),
            (forgotten, named),
            ({"HOTPLUGD_SLOT": renamed.encode()}, other),
            (forgotten, other),
        ):
            record(message, **changes)
            slow.pass_on(message)
            await again(heard, console.syspath)
            assert heard.devices[console.syspath].slot == slot

    run(script)


def test_the_loop_gets_its_turn_while_much_is_waiting(
    run: Run, slow: SlowUdevd, consoles: Callable[[int], list[Console]]
) -> None:
    first, last = consoles(2)

    async def script(_: Udev, heard: Heard, __: Fences) -> None:
        first.plug()
        message = slow.message("add", first.syspath)
        last.plug()
        end = slow.message("add", last.syspath)
        for _again in range(1000):
            slow.pass_on(message)
        slow.pass_on(end)
        turns = 0
        while last.syspath not in heard.devices:
            turns += 1
            await asyncio.sleep(0)
        assert turns > 5
        assert heard.lost == []

    run(script)
