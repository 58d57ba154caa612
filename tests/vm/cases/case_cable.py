"""A serial cable whose tty goes in under a name that stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.conftest import StartDaemon
from tests.support.lab.container import Container
from tests.support.lab.wait import eventually
from tests.support.phones import Cable, Hub
from tests.support.phones.containers import DEADLINE, tty_number

Launch = Callable[..., Container]

CONSOLE = "/dev/ttyConsole"
RULE = f"""
rules:
  - name: console
    match: {{subsystem: tty, id: "0403:6001", serial: A50285BI}}
    attach: {{to: c1, path: {CONSOLE}, group: dialout, mode: "0660"}}
"""


def is_there(container: Container, number: str) -> bool:
    seen = container.look(CONSOLE)
    return seen is not None and (seen.number, seen.mode, seen.gid) == (number, 0o660, 20)


def test_its_tty_has_a_fixed_name_wherever_it_is_plugged(
    hub: Hub, launch: Launch, daemon: StartDaemon
) -> None:
    home = launch("c1")
    running = daemon(RULE)
    cable, other = Cable(), Cable("SOMEBODYS")
    hub.plug(cable, 3)
    eventually(lambda: is_there(home, tty_number("1-4")), DEADLINE, pause=0.05)
    assert home.run("sh", "-c", f"printf hello > {CONSOLE}").code == 0
    hub.unplug(cable)
    eventually(lambda: home.look(CONSOLE) is None, DEADLINE, pause=0.05)
    # Another cable takes the number that the first one had, and the first one comes back elsewhere.
    assert tty_number(hub.plug(other)) == "c 188:0"
    assert hub.plug(cable, 7) == "1-8"
    eventually(lambda: is_there(home, "c 188:1"), DEADLINE, pause=0.05)
    assert running.status()["problems"] == []


def test_a_tty_number_that_is_reused_while_the_daemon_is_away(
    hub: Hub, launch: Launch, daemon: StartDaemon
) -> None:
    home = launch("c1")
    running = daemon(RULE)
    cable, other = Cable(), Cable("SOMEBODYS")
    port = hub.plug(cable)
    number = tty_number(port)
    eventually(lambda: is_there(home, number), DEADLINE, pause=0.05)
    # The server writes an entry down after it has made the node.
    entry = eventually(lambda: [each for name, each in home.devices.items() if name.startswith("hp-")])
    source = Path(entry[0]["source"])
    assert source.exists()
    running.kill()
    hub.unplug(cable)
    assert tty_number(hub.plug(other)) == number
    # So the entry leads nowhere. The server takes the node out by its watch, which may lose such an event.
    eventually(lambda: not source.is_symlink(), DEADLINE, pause=0.05)
    running.start()
    assert home.look(CONSOLE) is None
    assert home.devices.keys() == {"usr"}


def test_the_host_s_driver_is_named_where_the_usb_device_goes_in_without_its_tty(
    hub: Hub, launch: Launch, daemon: StartDaemon
) -> None:
    launch("c1")
    rule = "rules:\n  - {name: cable, match: {serial: A50285BI}, attach: {to: c1}}\n"
    running = daemon(rule)
    port = hub.plug(Cable())
    tty_number(port)
    told = f"its interface {port}:1.0 is the host's driver's, ftdi_sio: "
    eventually(lambda: told in running.ask("explain", port).stdout, DEADLINE, pause=0.5)
    assert "write `blacklist ftdi_sio` into" in running.ask("explain", port).stdout
    running.write_rules(rule.replace("{to: c1}", "{to: c1, with: tty}"))
    assert told not in running.ask("explain", port).stdout
