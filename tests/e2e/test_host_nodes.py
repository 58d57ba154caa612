"""Nodes of the host itself: whose path inside is another than the device's name, or every container's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conftest import StartDaemon
from tests.support.lab.container import Container
from tests.support.lab.wait import eventually, steadily

TUN = Path("/dev/net/tun")


def rules(container: Container, kernel: str) -> str:
    match = f"{{subsystem: misc, kernel: {kernel}}}"
    return f"rules:\n  - {{name: one, match: {match}, attach: {{to: {container}, mode: '0600'}}}}\n"


def number(container: Container, path: str) -> int | None:
    seen = container.look(path)
    return os.makedev(seen.major, seen.minor) if seen is not None else None


@pytest.mark.parametrize("node", ["/dev/loop-control", "/dev/vsock", "/dev/cpu_dma_latency"])
def test_one_goes_in_under_its_path(container: Container, daemon: StartDaemon, node: str) -> None:
    running = daemon(rules(container, node.removeprefix("/dev/")))
    eventually(lambda: number(container, node) == Path(node).stat().st_rdev)
    assert running.status()["problems"] == []
    running.write_rules("rules: []\n")
    running.reload()
    eventually(lambda: number(container, node) is None)


def test_the_servers_own_node_of_tunnels_stays_whatever_a_rule_does(
    container: Container, daemon: StartDaemon
) -> None:
    there = TUN.stat().st_rdev
    assert number(container, str(TUN)) == there
    running = daemon(rules(container, "tun"))
    eventually(lambda: running.status()["attachments"] or running.status()["problems"])
    steadily(lambda: number(container, str(TUN)) == there, 1)
    running.write_rules("rules: []\n")
    running.reload()
    eventually(lambda: not running.status()["attachments"])
    steadily(lambda: number(container, str(TUN)) == there, 1)


def test_what_is_every_containers_is_a_problem(container: Container, daemon: StartDaemon) -> None:
    running = daemon(rules(container, "fuse"))
    eventually(lambda: "path '/dev/fuse' belongs to every container" in str(running.status()["problems"]))
    assert not [each for each in container.devices if each.startswith("hp-")]
