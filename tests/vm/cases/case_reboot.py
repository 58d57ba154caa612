"""The host is switched off with a phone attached, and another one is on that port when it starts again.

What was decided by hand about a third phone holds over that.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from hotplugd.host.sysfs import boot
from tests.support.lab.daemon import Daemon
from tests.support.lab.server import Server
from tests.support.lab.wait import eventually, steadily
from tests.support.phones import Hub, Phone
from tests.support.phones.containers import DEADLINE, PROGRAMS, arrives, node_of, usb_nodes

FOLDER = Path("/srv/lab")
NODE = FOLDER / "node"
STATE = FOLDER / "state.json"
PORT = 2
OTHER_PORT = 3
RULE = """
rules:
  - name: phone
    match: {serial: AAA1|CCC3}
    attach: {to: c1}
"""


@pytest.mark.first_boot
def test_a_phone_is_attached_when_the_power_goes(hub: Hub, udevd: None) -> None:
    FOLDER.mkdir(parents=True)
    server = Server(FOLDER)
    server.data.mkdir()
    server.start()
    server.initialise()
    home = server.launch("c1", config={"boot.autostart": "true"}, devices=PROGRAMS)
    with Daemon(server.socket, RULE) as running:
        NODE.write_text(arrives(home, hub.plug(Phone("AAA1"), PORT)))
        arrives(home, hub.plug(Phone("CCC3"), OTHER_PORT))
        done = running.ask("detach", "CCC3")
        assert done.returncode == 0, done.stderr
        STATE.write_bytes(running.state.read_bytes())
        # All at once: nobody puts anything in order.
        running.kill()
        server.kill()


@pytest.mark.second_boot
def test_the_other_phone_is_never_seen(hub: Hub, udevd: None) -> None:
    assert NODE.exists(), "the disk did not survive: this would prove nothing"
    other = Phone("BBB2")
    port = hub.plug(other, PORT)
    assert node_of(port) == NODE.read_text(), "the other phone has another number: this would prove nothing"
    server = Server(FOLDER)
    server.start()
    home = next(each for each in server.containers() if each.name == "c1")
    left = [entry for entry in home.devices.values() if "user.hotplugd" in entry]
    assert len(left) == 1, "the server's database did not survive: this would prove nothing"
    assert boot() not in left[0]["source"]
    eventually(lambda: home.config["status"] == "Running", DEADLINE, pause=0.05)
    steadily(lambda: usb_nodes(home) == set(), 3.0)
    made = Daemon(server.socket, RULE)
    made.state.parent.mkdir()
    made.state.write_bytes(STATE.read_bytes())
    with made as running:
        eventually(lambda: home.devices.keys() == PROGRAMS.keys(), DEADLINE, pause=0.05)
        assert usb_nodes(home) == set()
        hub.unplug(other)
        arrives(home, hub.plug(Phone("AAA1"), PORT))
        hub.plug(Phone("CCC3"), OTHER_PORT)
        eventually(lambda: " CCC3 " in running.ask("status", "--by-hand").stdout, DEADLINE, pause=0.5)
        steadily(lambda: len(usb_nodes(home)) == 1, 3.0)
        assert running.ask("undo", "CCC3").returncode == 0
        eventually(lambda: len(usb_nodes(home)) == 2, DEADLINE, pause=0.05)
        assert running.status()["problems"] == []
    server.close()
