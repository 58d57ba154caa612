"""Phones and cables on a made-up USB bus, into real containers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import cast

import pytest

from hotplugd.model.claim_texts import CLAIM
from tests.conftest import StartDaemon
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.usb import FASTBOOT, SERIAL, Phone, Plugged, Usb
from tests.support.lab.wait import eventually, steadily

pytestmark = pytest.mark.pools


def there(container: Container, phone: Plugged) -> bool:
    seen = container.look(phone.node)
    return seen is not None and seen.number == phone.number


def problems(running: Daemon) -> list[dict[str, str]]:
    return cast("list[dict[str, str]]", running.status()["problems"])


@pytest.fixture
def start(daemon: StartDaemon, usb: Usb) -> Callable[[str], Daemon]:
    """Starts a daemon that sees the made-up bus, with the rules given."""
    return lambda rules: daemon("rules:\n" + rules, usb.environment)


def test_two_phones_of_a_kind_go_where_their_serials_say(
    containers: tuple[Container, Container], usb: Usb, start: Callable[[str], Daemon]
) -> None:
    one, two = containers
    start(
        f"  - {{name: a, match: {{id: '18d1:4ee7', serial: AAA}}, attach: {{to: {one}}}}}\n"
        f"  - {{name: b, match: {{id: '18d1:4ee7', serial: BBB}}, attach: {{to: {two}}}}}\n"
    )
    a, b = usb.plug(Phone(serial="AAA"), "1"), usb.plug(Phone(serial="BBB"), "2")
    eventually(lambda: there(one, a) and there(two, b))
    assert not there(one, b)
    assert not there(two, a)
    usb.unplug(a)
    usb.unplug(b)
    eventually(lambda: one.look(a.node) is None and two.look(b.node) is None)


def test_a_phone_stays_with_its_container_through_the_bootloader(
    container: Container, usb: Usb, start: Callable[[str], Daemon]
) -> None:
    start(f"  - {{name: a, match: {{vendor_id: 18d1, serial: AAA}}, attach: {{to: {container}}}}}\n")
    adb = usb.plug(Phone(serial="AAA"), "1")
    eventually(lambda: there(container, adb))
    usb.unplug(adb)
    fastboot = usb.plug(Phone(product="4ee0", serial="AAA", interfaces=(FASTBOOT,)), "1")
    assert fastboot.node != adb.node
    eventually(lambda: there(container, fastboot) and container.look(adb.node) is None)


def test_without_a_serial_the_port_tells(
    containers: tuple[Container, Container], usb: Usb, start: Callable[[str], Daemon]
) -> None:
    one, two = containers
    start(
        f"  - {{name: a, match: {{id: '05c6:9008', port: '*-1'}}, attach: {{to: {one}}}}}\n"
        f"  - {{name: b, match: {{id: '05c6:9008', port: '*-2.*'}}, attach: {{to: {two}}}}}\n"
    )
    hub = usb.plug(Phone("1d6b", "0002", interfaces=("09:00:00",), device_class="09"), "2")
    a, b = usb.plug(Phone("05c6", "9008"), "1"), usb.plug(Phone("05c6", "9008"), "2.3")
    eventually(lambda: there(one, a) and there(two, b))
    usb.unplug(hub)
    eventually(lambda: two.look(b.node) is None)
    assert there(one, a)


def test_a_leased_phone_in_emergency_download_mode_is_known_by_its_socket(
    launch: Callable[..., Container], usb: Usb, daemon: StartDaemon
) -> None:
    # A serial number of one repeated character would identify no phone.
    job = launch(config={f"{CLAIM}phone": "farm serial=R5C001"})
    running = daemon(
        f"pools: {{farm: {{instances: '{job.name}', keep: 5m}}}}\n"
        "rules: [{name: a, match: {vendor_id: ['18d1', '05c6']}, attach: {pool: farm}}]\n",
        usb.environment,
    )
    adb = usb.plug(Phone(serial="R5C001"), "1")
    eventually(lambda: there(job, adb))
    usb.unplug(adb)
    emergency, other = usb.plug(Phone("05c6", "9008"), "1"), usb.plug(Phone("05c6", "9008"), "2")
    eventually(lambda: there(job, emergency))
    eventually(lambda: [each["device"] for each in problems(running)] == [other.node])
    running.kill()
    running.start()
    steadily(lambda: there(job, emergency) and not there(job, other), 1.0)
    (lease,) = json.loads(running.ask("lease", "list", "--json").stdout)["leases"]
    assert (lease["identity"], lease["device"]) == ("serial:R5C001", emergency.node)
    assert running.ask("cordon", "R5C001").returncode == 0
    usb.unplug(emergency)
    again = usb.plug(Phone(serial="R5C001"), "1")
    eventually(lambda: there(job, again) and job.look(emergency.node) is None)


def test_two_phones_with_one_serial_are_told_of_and_the_first_stays(
    container: Container, usb: Usb, start: Callable[[str], Daemon]
) -> None:
    running = start(f"  - {{name: a, match: {{serial: '0000'}}, attach: {{to: {container}}}}}\n")
    first = usb.plug(Phone(serial="0000"), "1")
    eventually(lambda: there(container, first))
    second = usb.plug(Phone(serial="0000"), "2")
    told = eventually(lambda: problems(running))
    assert told[0]["device"] == second.node
    assert first.node in told[0]["message"]
    steadily(lambda: there(container, first) and not there(container, second), 0.3)
    usb.unplug(first)
    eventually(lambda: there(container, second))
    eventually(lambda: not problems(running))


def test_a_serial_that_is_no_legal_name_never_reaches_the_server(
    container: Container, usb: Usb, start: Callable[[str], Daemon]
) -> None:
    running = start("  - {name: a, match: {vendor_id: 18d1}, attach: {to: 'ci-{serial}'}}\n")
    phone = usb.plug(Phone(serial="../../1.0\n\x1b[31m"), "1")
    told = eventually(lambda: problems(running))
    assert told[0]["device"] == phone.node
    assert "no legal instance name" in told[0]["message"]
    assert "\n" not in told[0]["message"]
    assert "\x1b" not in running.ask("status").stdout + running.log()


def test_a_template_sends_each_phone_to_a_container_of_its_own(
    launch: Callable[..., Container], usb: Usb, start: Callable[[str], Daemon]
) -> None:
    start("  - {name: a, match: {vendor_id: 18d1, interface: 'ff:42:*'}, attach: {to: 'ci-{serial}'}}\n")
    phones = [usb.plug(Phone(serial=f"S{number}"), str(number)) for number in (1, 2, 3)]
    homes = [launch(f"ci-S{number}") for number in (1, 2, 3)]
    eventually(lambda: all(there(home, phone) for home, phone in zip(homes, phones, strict=True)))
    for home in homes:
        own = [seen for seen in home.nodes().values() if seen.major == 189]
        assert len(own) == 1


def test_a_cable_has_a_name_and_a_group_inside(
    container: Container, usb: Usb, start: Callable[[str], Daemon]
) -> None:
    start(
        "  - name: cable\n"
        "    match: {subsystem: tty, id: '0403:6001', serial: A50285BI, parent: {driver: ftdi_sio}}\n"
        f"    attach: {{to: {container}, path: /dev/ttyConsole, group: dialout, mode: '0660'}}\n"
    )
    cable = usb.plug_serial(Phone("0403", "6001", "A50285BI", (SERIAL,)), "1", f"ttyUSB{usb.bus}")
    seen = eventually(lambda: container.look("/dev/ttyConsole"))
    assert seen is not None
    assert (seen.number, seen.gid, seen.mode) == (cable.below[0].number, 20, 0o660)
    assert container.look(cable.node) is None


def test_the_first_rule_wins_and_hubs_stay_on_the_host(
    container: Container, usb: Usb, start: Callable[[str], Daemon]
) -> None:
    running = start(
        "  - {name: never, match: {serial: NO}, ignore: true}\n"
        f"  - {{name: all, match: {{vendor_id: '*'}}, attach: {{to: {container}}}}}\n"
    )
    hub = usb.plug(Phone("05e3", "0610", interfaces=("09:00:00",), device_class="09"), "1")
    never, phone = usb.plug(Phone(serial="NO"), "1.1"), usb.plug(Phone(serial="YES"), "1.2")
    eventually(lambda: there(container, phone))
    assert not there(container, hub)
    assert not there(container, never)
    assert problems(running) == []
    assert "hub" in running.ask("explain", hub.node).stdout


def test_another_rule_takes_a_device_that_changed(
    containers: tuple[Container, Container], usb: Usb, start: Callable[[str], Daemon]
) -> None:
    one, two = containers
    start(
        f"  - {{name: marked, match: {{property: {{ID_LAB: 'yes'}}}}, attach: {{to: {one}}}}}\n"
        f"  - {{name: rest, match: {{vendor_id: 18d1}}, attach: {{to: {two}}}}}\n"
    )
    phone = usb.plug(Phone(serial="AAA"), "1")
    eventually(lambda: there(two, phone))
    usb.change(phone, ID_LAB="yes")
    eventually(lambda: there(one, phone) and two.look(phone.node) is None)


def test_forty_phones_at_once_are_all_where_they_should_be(
    containers: tuple[Container, Container], usb: Usb, start: Callable[[str], Daemon]
) -> None:
    one, two = containers
    running = start(
        f"  - {{name: odd, match: {{serial: '*[13579]'}}, attach: {{to: {one}}}}}\n"
        f"  - {{name: even, match: {{serial: '*[02468]'}}, attach: {{to: {two}}}}}\n"
    )
    phones = [usb.plug(Phone(serial=f"S{number:03}"), str(number)) for number in range(1, 41)]
    homes = [one if number % 2 else two for number in range(1, 41)]
    eventually(lambda: all(there(home, phone) for home, phone in zip(homes, phones, strict=True)))
    eventually(lambda: not running.status()["pending"])
    for phone in phones[:20]:
        usb.unplug(phone)
    eventually(
        lambda: not any(home.look(phone.node) for home, phone in zip(homes, phones[:20], strict=False))
    )
    assert all(there(home, phone) for home, phone in zip(homes[20:], phones[20:], strict=True))
    assert problems(running) == []
