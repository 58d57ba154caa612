"""Entries that look like ours and are not: whoever may edit an instance may write anything into them."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from hotplugd.model.entry import MARK_INSTANCE, MARK_LINKS, MARK_SEEN, MARK_SLOT, MARK_VERSION
from tests.conftest import StartDaemon
from tests.support.lab.container import Container
from tests.support.lab.kernel import Console, Veth
from tests.support.lab.patience import patiently
from tests.support.lab.wait import eventually
from tests.support.phones.containers import once_it_is_free

NAME = "hp-00000000000000ff"
_NODE = {"type": "unix-char", "source": "/dev/null", "path": "/dev/forged", "required": "false"}
_DIGITS = "9" * 5000


def nic(parent: str, slot: str, syspath: str) -> dict[str, str]:
    """An entry for an interface that is there, which says that it was another."""
    seen = {"syspath": syspath, "kernel": "--flag", "devtype": "", "driver": "", "properties": {}}
    mark = json.dumps({**seen, "attrs": {"address": "00:e0:4c:68:01:02"}})
    config = {"type": "nic", "nictype": "physical", "parent": parent, "name": "forged"}
    return {**config, MARK_SLOT: slot, MARK_SEEN: mark}


# What is forged, of the name of an interface that is there.
FORGED: dict[str, Callable[[str], dict[str, str]]] = {
    "links that lead out": lambda _: {**_NODE, MARK_LINKS: "/dev/../etc/passwd /etc/passwd /dev/null"},
    "a link of a long name": lambda _: {**_NODE, MARK_LINKS: "/dev/" + "x" * 300},
    "a slot of digits": lambda _: {
        **_NODE,
        MARK_SLOT: f"n-1-{_DIGITS}",
        "source": f"/dev/hotplugd/c-1-3-{_DIGITS}",
    },
    "an interface that was a flag": lambda parent: nic(parent, "n-1-7", "/sys/devices/virtual/net/--flag"),
    "an interface of half a character": lambda parent: nic(parent, "n-1-7", "/sys/devices/\ud800/net/x"),
    "an interface of many digits": lambda parent: nic(parent, f"n-1-{_DIGITS}", "/sys/devices/virtual/net/x"),
}


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED)
def test_they_end_nothing_and_are_taken_out(
    container: Container,
    console: Console,
    veth: Veth,
    daemon: StartDaemon,
    forged: Callable[[str], dict[str, str]],
) -> None:
    kernel = f"vcsa{console.number}"
    running = daemon(
        "rules:\n"
        f"  - {{name: one, match: {{subsystem: vc, kernel: {kernel}}}, attach: {{to: {container}}}}}\n"
        f"  - {{name: net, match: {{mac: '00:e0:4c:*', subsystem: net}}, attach: {{to: {container}}}}}\n"
    )
    pid = running.pid
    console.plug()
    eventually(lambda: container.look(console.node))
    veth.plug()
    marks = {MARK_VERSION: "1", MARK_INSTANCE: f"default/{container}"}
    # The server refuses it while the daemon puts the interface in.
    patiently(lambda: container.patch({"devices": {NAME: {**forged(veth.name), **marks}}}))
    console.unplug()
    eventually(lambda: container.look(console.node) is None)
    once_it_is_free(container.stop)
    eventually(lambda: NAME not in container.devices)
    once_it_is_free(container.start)
    console.plug()
    eventually(lambda: container.look(console.node))
    assert running.pid == pid
    assert "defect" not in running.log()
    assert container.run("ls", "/dev/null", "/etc/passwd").code == 0
