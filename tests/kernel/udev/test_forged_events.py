"""What udevd says of events where a device has written into them, as a camera does by its name.

udevd's `v4l_id` prints the name as it is, and udevd takes each line for a property of the event that it then
sends: its path, its action, its number. Here another program of udevd's prints the same of a console.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from hotplugd.host import present
from hotplugd.host.udev import Udev
from tests.kernel.udev.bench import Heard, until, with_udev
from tests.support.lab.kernel import Console
from tests.support.lab.udevd import another_rule, settle

pytestmark = [pytest.mark.usefixtures("root", "udevd"), pytest.mark.alone]

Says = Callable[[str], AbstractContextManager[None]]
Consoles = Callable[[int], list[Console]]


@pytest.fixture
def says(tmp_path: Path, console: Console) -> Says:
    """Has the console say this line of itself while the context lasts."""

    @contextmanager
    def saying(line: str) -> Iterator[None]:
        text = tmp_path / "text"
        text.write_text(f"ID_V4L_VERSION=2\nID_V4L_PRODUCT=P\n{line}\nID_V4L_CAPABILITIES=:capture:\n")
        rule = f'ACTION!="remove", KERNEL=="vcsa{console.number}", IMPORT{{program}}="/bin/cat {text}"\n'
        with another_rule("60-persistent-v4l-as-if.rules", rule):
            yield

    return saying


async def heard_so_far(heard: Heard, consoles: Consoles) -> None:
    """Everything that udevd has said was heard."""
    (fence,) = consoles(1)
    fence.plug()
    await until(lambda: fence.syspath in heard.devices)


def test_a_link_to_another_device_is_no_second_one(console: Console, consoles: Consoles, says: Says) -> None:
    (other,) = consoles(1)
    other.plug()
    settle()

    async def script(udev: Udev, heard: Heard) -> None:
        udev.start()
        with says(f"DEVPATH=/class/vc/vcsa{other.number}"):
            console.plug()
            settle()
            await heard_so_far(heard, consoles)
            assert all(each.startswith("/sys/devices/") for each in heard.devices)
            assert "is no device's own path" in heard.lost[0]
            console.unplug()
            settle()
        await heard_so_far(heard, consoles)
        assert other.syspath in heard.devices
        assert heard.of(other.syspath) == []

    with_udev(script)


def test_that_another_device_is_gone_is_the_kernels_word(
    console: Console, consoles: Consoles, says: Says
) -> None:
    (other,) = consoles(1)
    other.plug()
    settle()

    async def script(udev: Udev, heard: Heard) -> None:
        udev.start()
        with says(f"DEVPATH={other.syspath.removeprefix('/sys')}"):
            console.plug()
            settle()
            console.unplug()
            settle()
        await heard_so_far(heard, consoles)
        assert "no_device" not in heard.of(other.syspath)
        other.unplug()
        await until(lambda: other.syspath not in heard.devices)

    with_udev(script)


@pytest.mark.parametrize("number", [1 << 40, (1 << 64) - 1])
def test_a_number_from_the_future_delays_no_removal(
    console: Console, says: Says, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    # Else it is noticed a second later all the same, when all is compared with sysfs.
    monkeypatch.setattr(present, "_COMPARED", 600.0)

    async def script(udev: Udev, heard: Heard) -> None:
        udev.start()
        with says(f"SEQNUM={number}"):
            console.plug()
            await until(lambda: console.syspath in heard.devices)
            console.unplug()
            await until(lambda: console.syspath not in heard.devices)

    with_udev(script)


@pytest.mark.parametrize("line", ["SEQNUM=0", "ACTION=x"])
def test_an_event_that_is_none_costs_a_listing_and_holds_up_nobody(
    console: Console, consoles: Consoles, says: Says, line: str
) -> None:
    (other,) = consoles(1)
    other.plug()
    settle()

    async def script(udev: Udev, heard: Heard) -> None:
        udev.start()
        monitors = [id(each) for each in udev._monitors]
        with says(line):
            console.plug()
            settle()
            other.unplug()
            await until(lambda: other.syspath not in heard.devices)
            await until(lambda: console.syspath in heard.devices)
            assert (heard.listings, len(heard.lost)) == (2, 1)
            console.unplug()
            await until(lambda: console.syspath not in heard.devices)
        assert [id(each) for each in udev._monitors] == monitors

    with_udev(script)


def test_who_says_that_it_is_gone_is_found_by_the_next_listing(
    console: Console, consoles: Consoles, says: Says
) -> None:
    async def script(udev: Udev, heard: Heard) -> None:
        udev.start()
        with says("ACTION=remove"):
            console.plug()
            settle()
            await heard_so_far(heard, consoles)
            udev.refresh()
            assert console.syspath in heard.devices
            console.unplug()
            await until(lambda: console.syspath not in heard.devices)

    with_udev(script)
