"""What a server does otherwise than others is what its row says: with the server that the tests run with."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from typing import cast

import pytest

from hotplugd.server.traits import GLOBAL_ADDRESS, traits_of, version_of
from tests.support.lab.api import ServerError
from tests.support.lab.container import Container
from tests.support.lab.kernel import Veth
from tests.support.lab.server import Server

ENTRY = {"type": "unix-char", "source": "/dev/null", "path": "/dev/nothing", "required": "false"}


@pytest.fixture(scope="module")
def said(server: Server) -> tuple[str, str, list[str]]:
    """What the server says of itself: its name, version and API extensions."""
    found = server.api.get("/1.0")
    environment = cast("dict[str, str]", found["environment"])
    return environment["server"], environment["server_version"], cast("list[str]", found["api_extensions"])


def change(container: Container, body: object) -> None:
    container.api.request("PATCH", f"/1.0/instances/{container.name}", body)


def test_a_description_that_is_left_out(container: Container, said: tuple[str, str, list[str]]) -> None:
    container.patch({"description": "mine"})
    change(container, {"devices": {"nothing": ENTRY}})
    kept = container.config["description"] == "mine"
    assert kept is traits_of(*said).keeps_description


def test_an_entry_that_is_given_as_null(container: Container, said: tuple[str, str, list[str]]) -> None:
    container.patch({"devices": {"nothing": ENTRY}})
    with suppress(ServerError):
        container.patch({"devices": {"nothing": None}})
    removed = "nothing" not in container.devices
    assert removed is traits_of(*said).removes_by_patch


def test_an_interface_with_a_global_address(
    container: Container, veth: Veth, said: tuple[str, str, list[str]]
) -> None:
    software, version, extensions = said
    veth.plug()
    # Of RFC 5737: nobody has it.
    subprocess.run(["ip", "address", "add", "192.0.2.7/32", "dev", veth.name], check=True)
    entry = {"type": "nic", "nictype": "physical", "parent": veth.name, "name": "hpx0"}
    refused = ""
    try:
        container.patch({"devices": {"port": entry}})
    except ServerError as error:
        refused = str(error)
    assert bool(refused) is GLOBAL_ADDRESS.holds(software, version_of(version), extensions), refused
