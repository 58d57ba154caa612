"""Network interfaces, asked of the real kernel."""

from __future__ import annotations

import socket
import subprocess
from contextlib import closing, suppress
from pathlib import Path

import pytest

from hotplugd import nic
from tests.lab.kernel import Veth
from tests.lab.wait import eventually

ADDRESS = "198.51.100.77"  # RFC 5737: for documentation


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@pytest.fixture
def plugged(veth: Veth) -> Veth:
    veth.plug()
    ip("link", "set", veth.name, "up")
    return veth


def connected(server: socket.socket) -> socket.socket:
    """A connection, as soon as the kernel has the way there: that is when the link is found to be up."""

    def attempt() -> socket.socket | None:
        with suppress(OSError):
            return socket.create_connection(server.getsockname()[:2], timeout=5)
        return None

    found = eventually(attempt)
    assert found is not None
    return found


def used(veth: Veth) -> str:
    return nic.in_use(veth.name, veth.syspath)


def test_one_that_nobody_uses_is_free(plugged: Veth) -> None:
    assert used(plugged) == ""
    ip("address", "add", f"{ADDRESS}/32", "dev", plugged.name)
    assert nic.addresses(plugged.name) >= {ADDRESS}
    assert used(plugged) == ""


@pytest.mark.parametrize(
    "route",
    [
        ["route", "add", "default", "metric", "9999"],
        ["-6", "route", "add", "default", "metric", "9999"],
    ],
    ids=["IPv4", "IPv6"],
)
def test_one_with_a_default_route_is_in_use(plugged: Veth, route: list[str]) -> None:
    ip(*route, "dev", plugged.name)
    assert used(plugged) == "it has the default route"
    plugged.unplug()


def test_the_port_of_a_bridge_is_in_use(plugged: Veth) -> None:
    bridge = f"{plugged.name}br"
    ip("link", "add", bridge, "type", "bridge")
    try:
        ip("link", "set", plugged.name, "master", bridge)
        assert used(plugged) == f"it is part of {bridge}"
        assert not nic.can_move(f"/sys/devices/virtual/net/{bridge}")
        ip("link", "set", plugged.name, "nomaster")
        assert used(plugged) == ""
    finally:
        ip("link", "del", bridge)


@pytest.mark.parametrize(
    ("family", "address"),
    [(socket.AF_INET, ADDRESS), (socket.AF_INET6, "2001:db8::77")],
    ids=["IPv4", "IPv6"],
)
def test_one_by_whose_address_somebody_speaks_is_in_use(
    plugged: Veth, family: socket.AddressFamily, address: str
) -> None:
    size = "32" if family is socket.AF_INET else "128"
    ip("address", "add", f"{address}/{size}", "dev", plugged.name, *(["nodad"] if size == "128" else []))
    why = f"its address {address} is in use by a connection or a server of the host"
    with socket.create_server((address, 0), family=family) as server:
        assert used(plugged) == why
        with closing(connected(server)) as client:
            accepted, _ = server.accept()
            server.close()
            assert used(plugged) == why
            accepted.close()
            client.close()
    eventually(lambda: used(plugged) == "")


def test_one_that_is_gone_is_not_in_use() -> None:
    assert nic.in_use("hpgone0", "/sys/devices/virtual/net/hpgone0") == ""


def test_a_virtual_one_has_no_permanent_address_and_the_loopback_stays(plugged: Veth) -> None:
    assert nic.permanent_address(plugged.name) == ""
    assert nic.can_move(plugged.syspath)
    assert not nic.can_move("/sys/devices/virtual/net/lo")


def test_hardware_has_a_permanent_address() -> None:
    real = [each.name for each in Path("/sys/class/net").iterdir() if (each / "device").exists()]
    assert real, "expected a network interface with hardware on this machine, and found none"
    for name in real:
        found = nic.permanent_address(name)
        assert found == "" or len(found) == len("00:e0:4c:68:01:02")
