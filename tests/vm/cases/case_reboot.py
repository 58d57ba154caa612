"""The host is switched off with a phone attached, and another one is on that port when it starts again."""

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
PORT = 2
RULE = """
rules:
  - name: phone
    match: {serial: AAA1}
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
    with Daemon(server.socket, RULE) as running:
        eventually(lambda: home.devices.keys() == PROGRAMS.keys(), DEADLINE, pause=0.05)
        assert usb_nodes(home) == set()
        hub.unplug(other)
        arrives(home, hub.plug(Phone("AAA1"), PORT))
        assert running.status()["problems"] == []
    server.close()
