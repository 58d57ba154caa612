"""The servers' faults that docs/upstream reports, shown by its scripts, without hotplugd."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.lab.server import Server, software

SCRIPTS = Path(__file__).parents[2] / "docs" / "upstream"


@pytest.fixture
def server(own_server: Server) -> Iterator[Server]:
    """A server of the test's own: a server that hangs has to be killed."""
    yield own_server
    own_server.kill()
    own_server.start()


def run(server: Server, script: str, *arguments: str) -> int:
    client = "lxc" if software() == "lxd" else "incus"
    home = {"CLIENT": client, "HOME": str(server.folder)}
    done = subprocess.run(
        [SCRIPTS / script, *arguments], env={**server.environment, **home}, timeout=120, check=False
    )
    return done.returncode


def test_the_server_hangs_when_a_source_goes_during_a_stop(server: Server) -> None:
    assert run(server, "unplug_during_stop.sh", server.launch().name) == 0


def test_only_debian_12s_lxd_loses_the_first_of_two_overlapping_updates(server: Server) -> None:
    """Debian 13 calls its LXD 5.0.2, too; it has the lock of 5.0.3."""
    loses = software() == "lxd" and "VERSION_CODENAME=bookworm" in Path("/etc/os-release").read_text()
    code = run(server, "overlapping_updates.py", str(server.socket), server.launch(start=False).name)
    assert code == (0 if loses else 1)
