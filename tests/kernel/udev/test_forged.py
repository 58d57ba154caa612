"""A keyboard whose name has lines in it, which the kernel writes into its `uevent` files as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from hotplugd.model.values import Device, Devnum
from tests.kernel.udev.listen import Listening
from tests.support.devices import rule, ruleset
from tests.support.lab.usb import Phone, Usb

NUMBER = 900
KEYBOARD = Phone("1209", "0001", "K1", ("03:00:00",))
FORGED = (
    "P\nDEVNAME=/dev/mem\nMAJOR=1\nMINOR=1\nDEVTYPE=usb_device\nDRIVER=victim\nSUBSYSTEM=usb\n"
    "ID_PATH=victim\nID_SERIAL_SHORT=VICTIM\nHID_UNIQ=VICTIM\nX="
)
FORGED_MATCHES = (
    "driver: victim",
    "path: victim",
    "property: {ID_SERIAL_SHORT: VICTIM}",
    "devtype: usb_device",
    "property: {HID_UNIQ: VICTIM}",
    "property: {SUBSYSTEM: usb}",
)


@pytest.fixture
def usb(udevd: None) -> Iterator[Usb]:
    with Usb() as one:
        yield one


@pytest.fixture
def listen(usb: Usb) -> Iterator[Callable[[], Listening]]:
    with ExitStack() as undo:
        yield lambda: undo.enter_context(Listening(usb))


def below(listening: Listening, usb: Usb) -> dict[str, Device]:
    """All on the bus that a rule could attach."""
    return {key: each for key, each in listening.heard.devices.items() if f"/usb{usb.bus}/" in f"{key}/"}


def test_a_name_adds_no_device_and_changes_none(usb: Usb, listen: Callable[[], Listening]) -> None:
    early = listen()
    keyboard = usb.plug_keyboard(KEYBOARD, "1", FORGED, NUMBER)
    early.until(lambda: keyboard.syspath in early.heard.devices)
    assert b"\nDEVNAME=/dev/mem\n" in Path(f"{usb.root}{keyboard.syspath}/../uevent").read_bytes()
    late = listen()
    early.list()
    for listening in (early, late):
        found = below(listening, usb)
        assert {each.node for each in found.values()} == {
            f"/dev/bus/usb/{usb.bus:03}/001", f"/dev/bus/usb/{usb.bus:03}/002", keyboard.node,
        }  # fmt: skip
        device = found[keyboard.syspath]
        assert device.devnum == Devnum("char", 13, 64 + NUMBER)
        for match in FORGED_MATCHES:
            for subsystem in ("hid", "input"):
                above = f"{{subsystem: {subsystem}, {match}}}"
                wanted = ruleset(rule(f"{{subsystem: input, parent: {above}}}", "{to: box}", "it"))
                assert wanted.decide(device) is None


def test_a_device_is_the_same_when_it_is_heard_of_and_when_all_are_listed(
    usb: Usb, listen: Callable[[], Listening]
) -> None:
    early = listen()
    names = ("Keys", FORGED)
    plugged = [usb.plug_keyboard(KEYBOARD, str(at), name, NUMBER + at) for at, name in enumerate(names, 1)]
    early.until(lambda: {each.syspath for each in plugged} <= early.heard.devices.keys())
    heard = [early.heard.devices[each.syspath] for each in plugged]
    early.list()
    assert [early.heard.devices[each.syspath] for each in plugged] == heard
    late = listen()
    assert [late.heard.devices[each.syspath] for each in plugged] == heard
