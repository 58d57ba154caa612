"""A server over https: its certificate is pinned, and ours may be restricted to a project."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final, cast

import pytest

from tests.support.lab.api import Json
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon, command
from tests.support.lab.handle import Handle
from tests.support.lab.kernel import Console, Zram
from tests.support.lab.server import Server
from tests.support.lab.uevents import socket_unit
from tests.support.lab.wait import eventually
from tests.support.phones.containers import once_it_is_free

_PORT: Final = 18445


@pytest.fixture
def address(own_server: Server) -> str:
    """Where the server answers over https: a loopback address of this process's own."""
    host = f"127.{64 + os.getpid() % 128}.78.1"
    own_server.api.request("PATCH", "/1.0", {"config": {"core.https_address": f"{host}:{_PORT}"}})
    return host


@pytest.fixture
def home(own_server: Server, address: str, tmp_path: Path) -> Path:
    """A home with our certificate and the server's, as `lxc remote add` leaves them."""
    folder = tmp_path / ".config" / "lxc"
    (folder / "servercerts").mkdir(parents=True)
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp384r1", "-nodes",
         "-keyout", folder / "client.key", "-out", folder / "client.crt", "-days", "2", "-subj", "/CN=x"],
        check=True, capture_output=True,
    )  # fmt: skip
    environment = cast("Json", own_server.api.get("/1.0")["environment"])
    (folder / "servercerts" / f"{address}.crt").write_text(str(environment["certificate"]))
    return tmp_path


def trust(server: Server, home: Path, **more: object) -> None:
    pem = (home / ".config/lxc/client.crt").read_text().strip().splitlines()
    body = {"type": "client", "name": "hotplugd", "certificate": "".join(pem[1:-1]), **more}
    server.api.request("POST", "/1.0/certificates", body)


@pytest.fixture
def lab(own_server: Server) -> Container:
    """A container in a restricted project, into which char devices may go and disks may not."""
    restricted = {"restricted": "true", "restricted.devices.unix-char": "allow", "features.images": "false"}
    api = own_server.api
    api.request("POST", "/1.0/projects", {"name": "lab", "config": restricted})
    disk = {"root": {"type": "disk", "path": "/", "pool": "default"}}
    api.request("PATCH", "/1.0/profiles/default?project=lab", {"devices": disk})
    return own_server.launch("c1", project="lab")


@pytest.fixture
def over_https(own_server: Server, address: str, home: Path, tmp_path: Path) -> Iterator[Daemon]:
    """A daemon that has not been started, for the server at its https address."""
    environment = {**os.environ, "HOME": str(home), "HTTPS_PROXY": "http://127.0.0.1:9"}
    environment |= {"REQUESTS_CA_BUNDLE": "/dev/null"}
    environment.pop("LXD_DIR", None)
    seal = tmp_path / "seal"
    # By its address it is not known where the server has its files, which here is in no usual place.
    with socket_unit(seal, *command(), "seal", str(own_server.data)):
        daemon = Daemon(Path(), "rules: []\n", environment, seal=seal)
        text = daemon.config.read_text().replace("server: .", f"server: https://{address}:{_PORT}")
        daemon.config.write_text(text)
        yield daemon
        daemon.close()


def rules(*nodes: str, project: str = "default", subsystem: str = "vc") -> str:
    return "rules:\n" + "".join(
        f"  - {{name: for-{Path(node).name}, match: {{subsystem: {subsystem}, kernel: {Path(node).name}}}, "
        f"attach: {{to: c1, project: {project}}}}}\n"
        for node in nodes
    )


def test_it_is_as_over_the_socket(
    own_server: Server, home: Path, over_https: Daemon, console: Console
) -> None:
    trust(own_server, home)
    container = own_server.launch("c1")
    over_https.write_rules(rules(console.node))
    over_https.start()
    console.plug()
    eventually(lambda: container.look(console.node))
    # Its events are heard, too.
    once_it_is_free(container.restart)
    eventually(lambda: container.look(console.node))
    with Handle(container, console.node) as handle:
        console.unplug()
        eventually(lambda: container.look(console.node) is None)
        assert handle.sealed
    assert over_https.status()["problems"] == []


def test_a_restricted_certificate_is_enough_for_its_project(
    own_server: Server, home: Path, over_https: Daemon, console: Console, zram: Zram, lab: Container
) -> None:
    trust(own_server, home, restricted=True, projects=["lab"])
    zram.plug()
    over_https.write_rules(
        rules(console.node, project="lab")
        + rules(zram.node, project="lab", subsystem="block").removeprefix("rules:\n")
    )
    over_https.start()
    console.plug()
    eventually(lambda: lab.look(console.node))
    once_it_is_free(lab.stop)
    eventually(lambda: " unknown" in over_https.ask("status").stdout)
    once_it_is_free(lab.start)
    eventually(lambda: lab.look(console.node))
    eventually(lambda: "forbidden" in str(over_https.status()["problems"]))
    console.unplug()
    eventually(lambda: lab.look(console.node) is None)


def test_another_certificate_of_the_servers_is_refused(
    own_server: Server, address: str, home: Path, over_https: Daemon, console: Console
) -> None:
    trust(own_server, home)
    ours = (home / ".config/lxc/client.crt").read_text()
    (home / ".config/lxc/servercerts" / f"{address}.crt").write_text(ours)
    over_https.write_rules(rules(console.node))
    over_https.start()
    assert "shows another certificate than the one in" in str(over_https.status()["problems"])


def test_a_certificate_that_is_not_trusted_is_said(
    over_https: Daemon, console: Console, own_server: Server
) -> None:
    over_https.write_rules(rules(console.node))
    over_https.start()
    assert "does not trust us" in str(over_https.status()["problems"])
