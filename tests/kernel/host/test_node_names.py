"""What rule tests say of a made-up device's node is where the kernel puts the node of a real one."""

from __future__ import annotations

import os
from pathlib import Path

from hotplugd.rulefile.made_up_node import node_of

# udev, devtmpfs's user, gives no other names; `usb` has numbers that are not in the device's name.
_OTHERS = frozenset({"usb"})


def real() -> dict[tuple[str, str], str]:
    """The nodes of all devices that this machine has, by subsystem and name."""
    found = {}
    for kind in ("char", "block"):
        for link in Path("/sys/dev", kind).iterdir():
            said = dict(
                line.split("=", 1) for line in (link / "uevent").read_text().splitlines() if "=" in line
            )
            subsystem = os.path.basename(os.path.realpath(link / "subsystem"))
            if "DEVNAME" in said and subsystem not in _OTHERS:
                found[subsystem, link.resolve().name.replace("!", "/")] = f"/dev/{said['DEVNAME']}"
    return found


def test_each_node_of_this_machine_is_where_a_made_up_one_would_be() -> None:
    nodes = real()
    assert {key: node_of(*key) for key in nodes} == nodes
    assert nodes["misc", "tun"] == "/dev/net/tun"
