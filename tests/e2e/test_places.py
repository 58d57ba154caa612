"""Devices that pretend: to be another, or to be of another kind than they were."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest

from tests.conftest import StartDaemon
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.usb import ADB, Phone, Plugged, Usb
from tests.support.lab.wait import eventually, steadily

KEYBOARD = "03:01:01"


def there(container: Container, phone: Plugged) -> bool:
    seen = container.look(phone.node)
    return seen is not None and seen.number == phone.number


def ours(container: Container) -> list[str]:
    return [name for name in container.devices if name.startswith("hp-")]


def gone(container: Container, phone: Plugged) -> bool:
    return container.look(phone.node) is None and not ours(container)


def problems(running: Daemon) -> list[dict[str, str]]:
    return cast("list[dict[str, str]]", running.status()["problems"])


@pytest.fixture
def start(daemon: StartDaemon, usb: Usb) -> Callable[[str], Daemon]:
    """Starts a daemon that sees the made-up bus, with one rule that has this match."""
    return lambda rule: daemon(f"rules:\n  - {{name: a, {rule}}}\n", usb.environment)


class TestAnothersSerial:
    @pytest.mark.parametrize("key", ["port", "path"])
    def test_it_gets_nothing_where_the_rule_names_the_place(
        self, container: Container, usb: Usb, start: Callable[[str], Daemon], key: str
    ) -> None:
        before = {"port": f"{usb.bus}-", "path": "pci-0000:00:14.0-usb-0:"}[key]
        running = start(f"match: {{serial: AAA, {key}: '{before}1'}}, attach: {{to: {container}}}")
        own = usb.plug(Phone(serial="AAA"), "1")
        eventually(lambda: there(container, own))
        other = usb.plug(Phone(serial="AAA"), "2")
        steadily(lambda: there(container, own) and container.look(other.node) is None, 0.3)
        said = running.ask("explain", other.node).stdout
        assert f"{key}: wants '{before}1', has '{before}2'" in said
        usb.unplug(own)
        eventually(lambda: gone(container, own))
        steadily(lambda: gone(container, other), 0.3)
        assert problems(running) == []

    def test_a_name_that_looks_like_the_port_is_none(
        self, container: Container, usb: Usb, start: Callable[[str], Daemon]
    ) -> None:
        start(f"match: {{serial: AAA, port: '{usb.bus}-1'}}, attach: {{to: {container}}}")
        claims = {"ID_PATH": "pci-0000:00:14.0-usb-0:1", "KERNEL": f"{usb.bus}-1", "PORT": f"{usb.bus}-1"}
        liar = usb.plug(Phone(serial="AAA", properties=claims), "2")
        own = usb.plug(Phone(serial="AAA"), "1")
        eventually(lambda: there(container, own))
        assert container.look(liar.node) is None

    def test_without_a_port_the_one_that_is_there_stays_and_both_are_named(
        self, container: Container, usb: Usb, start: Callable[[str], Daemon]
    ) -> None:
        running = start(f"match: {{serial: AAA}}, attach: {{to: {container}}}")
        own = usb.plug(Phone(serial="AAA"), "2")
        eventually(lambda: there(container, own))
        other = usb.plug(Phone(serial="AAA"), "1")
        (told,) = eventually(lambda: problems(running))
        assert told["device"] == other.node
        assert f"two devices have the serial 'AAA': {own.node} at path " in told["message"]
        running.reload()
        usb.change(other)
        steadily(lambda: there(container, own) and container.look(other.node) is None, 0.3)


class TestAnotherKind:
    """A phone that becomes a keyboard, which would type into whatever reads it."""

    MATCH = "vendor_id: 18d1, serial: AAA"

    @pytest.fixture
    def phone(self, container: Container, usb: Usb, start: Callable[[str], Daemon]) -> Plugged:
        """One that is inside by a rule for adb, as long as it is no keyboard."""
        start(
            f"match: {{{self.MATCH}, interface: 'ff:42:*', not: {{interface: '03:*'}}}}, "
            f"attach: {{to: {container}}}"
        )
        phone = usb.plug(Phone(serial="AAA"), "1")
        eventually(lambda: there(container, phone))
        return phone

    @pytest.mark.parametrize("interfaces", [(KEYBOARD,), (ADB, KEYBOARD)], ids=["alone", "besides adb"])
    def test_it_leaves_when_it_is_enumerated_anew(
        self, container: Container, usb: Usb, phone: Plugged, interfaces: tuple[str, ...]
    ) -> None:
        usb.unplug(phone)
        keyboard = usb.plug(Phone(serial="AAA", interfaces=interfaces), "1")
        eventually(lambda: gone(container, phone))
        steadily(lambda: gone(container, keyboard), 0.3)
        usb.unplug(keyboard)
        again = usb.plug(Phone(serial="AAA"), "1")
        eventually(lambda: there(container, again))

    @pytest.mark.parametrize("action", ["change", "bind"])
    @pytest.mark.parametrize("interfaces", [":030101:", ":ff4201:030101:"], ids=["alone", "besides adb"])
    def test_it_leaves_where_it_is(
        self, container: Container, usb: Usb, phone: Plugged, action: str, interfaces: str
    ) -> None:
        usb.change(phone, action, ID_USB_INTERFACES=interfaces)
        eventually(lambda: gone(container, phone))
        usb.change(phone, action, ID_USB_INTERFACES=":ff4201:")
        eventually(lambda: there(container, phone))

    def test_it_stays_where_the_rule_does_not_care(
        self, container: Container, usb: Usb, start: Callable[[str], Daemon]
    ) -> None:
        start(f"match: {{{self.MATCH}}}, attach: {{to: {container}}}")
        phone = usb.plug(Phone(serial="AAA"), "1")
        eventually(lambda: there(container, phone))
        usb.unplug(phone)
        keyboard = usb.plug(Phone(serial="AAA", interfaces=(KEYBOARD,)), "1")
        eventually(lambda: there(container, keyboard))
