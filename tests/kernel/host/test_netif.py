"""Network interfaces, asked of the real kernel."""

from __future__ import annotations

import socket
import subprocess
from contextlib import closing, suppress
from pathlib import Path

import pytest

from hotplugd.host import netif, netns, rtnetlink
from hotplugd.host.ethtool import Ethtool
from tests.support.lab.kernel import Veth
from tests.support.lab.wait import eventually

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
    return netif.in_use(veth.syspath)


def test_one_that_nobody_uses_is_free(plugged: Veth) -> None:
    assert used(plugged) == ""
    ip("address", "add", f"{ADDRESS}/32", "dev", plugged.name)
    assert rtnetlink.addresses(socket.if_nametoindex(plugged.name)) >= {ADDRESS}
    assert used(plugged) == ""


@pytest.mark.parametrize(
    "route",
    [
        ["route", "add", "default", "metric", "9999"],
        ["-6", "route", "add", "default", "metric", "9999"],
        ["route", "add", "default", "table", "7341"],
        ["-6", "route", "add", "default", "table", "7341"],
    ],
    ids=["IPv4", "IPv6", "IPv4 in another table", "IPv6 in another table"],
)
def test_one_with_a_default_route_is_in_use(plugged: Veth, route: list[str]) -> None:
    ip(*route, "dev", plugged.name)
    assert used(plugged) == "it has the default route"
    plugged.unplug()


@pytest.mark.parametrize("network", ["0.0.0.0/1", "128.0.0.0/1", "64.0.0.0/2", "2000::/3", "8000::/1"])
def test_the_way_to_a_part_of_everywhere_is_in_use(plugged: Veth, network: str) -> None:
    # What VPNs and providers have in place of a default route.
    ip("route", "add", network, "dev", plugged.name, "metric", "9999", "table", "7341")
    assert used(plugged) == f"it has the route to {network}"
    plugged.unplug()


@pytest.mark.parametrize("network", ["10.0.0.0/8", "224.0.0.0/4", "fd00::/8", "ff00::/8"])
def test_the_way_to_a_network_is_free(plugged: Veth, network: str) -> None:
    ip("route", "add", network, "dev", plugged.name, "metric", "9999", "table", "7341")
    assert used(plugged) == ""
    plugged.unplug()


def test_a_route_by_several_interfaces_or_a_nexthop_counts_for_each(plugged: Veth) -> None:
    ip("route", "add", "default", "table", "7341", "nexthop", "dev", plugged.name, "nexthop", "dev", "lo")
    assert used(plugged) == "it has the default route"
    ip("route", "del", "default", "table", "7341")
    assert used(plugged) == ""
    ip("nexthop", "add", "id", "7341", "dev", plugged.name)
    ip("route", "add", "default", "table", "7341", "nhid", "7341")
    assert used(plugged) == "it has the default route"
    plugged.unplug()


# As `ip link add` has it. IT: the interface below; where it is not named it becomes a part afterwards.
IT = "IT"
ABOVE = {
    "ipip": ["type", "ipip", "remote", "198.51.100.1", "local", "198.51.100.2", "dev", IT],
    "vxlan": ["type", "vxlan", "id", "7341", "dstport", "0", "dev", IT],
    "vlan": ["link", IT, "type", "vlan", "id", "7"],
    "macvlan": ["link", IT, "type", "macvlan"],
    "vrf": ["type", "vrf", "table", "7341"],
    "bond": ["type", "bond"],
}


def see_in_use_below(plugged: Veth, words: list[str]) -> None:
    """See that an interface is in use while another is made on it.

    Raises CalledProcessError where the kernel has no such interfaces.
    """
    name = "hpabove"
    ip("link", "add", name, *(plugged.name if each == IT else each for each in words))
    try:
        if IT not in words:
            ip("link", "set", plugged.name, "down")
            ip("link", "set", plugged.name, "master", name)
        assert used(plugged) in (f"it is part of {name}", f"{name} is made on it")
    finally:
        ip("link", "del", name)
    assert used(plugged) == ""


@pytest.mark.parametrize("kind", ABOVE)
def test_one_on_which_another_is_made_is_in_use(plugged: Veth, kind: str) -> None:
    try:
        see_in_use_below(plugged, ABOVE[kind])
    except subprocess.CalledProcessError as error:
        if "Unknown device type" not in error.stderr:
            raise
        # The machine of tests/vm has all of them: case_interfaces_above.py.
        pytest.skip(f"this kernel has no {kind}")


def test_one_at_whose_address_a_server_of_udp_listens_is_in_use(plugged: Veth) -> None:
    ip("address", "add", f"{ADDRESS}/32", "dev", plugged.name)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((ADDRESS, 0))
        assert used(plugged) == f"its address {ADDRESS} is in use by a connection or a server of the host"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind((ADDRESS, 68))  # that of DHCP
        assert used(plugged) == ""


def test_the_port_of_a_bridge_is_in_use(plugged: Veth) -> None:
    bridge = f"{plugged.name}br"
    ip("link", "add", bridge, "type", "bridge")
    try:
        ip("link", "set", plugged.name, "master", bridge)
        assert used(plugged) == f"it is part of {bridge}"
        assert "was made (bridge)" in netns.why_it_stays(f"/sys/devices/virtual/net/{bridge}")
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
    assert netif.in_use("/sys/devices/virtual/net/hpgone0") == ""


def test_a_virtual_one_has_no_permanent_address_and_the_loopback_stays(plugged: Veth) -> None:
    assert netif.permanent_address(plugged.name) == ""
    assert not netns.why_it_stays(plugged.syspath)
    assert "was made (loopback)" in netns.why_it_stays("/sys/devices/virtual/net/lo")


def test_the_kernel_says_which_interfaces_stay(plugged: Veth) -> None:
    """By a feature for ethtool up to Linux 6.11, by rtnetlink from 6.15 on."""

    def stays(name: str) -> bool:
        with Ethtool(name) as interface:
            said = interface.feature("netns-local")
        return said or rtnetlink.stays(int(Path("/sys/class/net", name, "ifindex").read_text()))

    bridge = f"{plugged.name}br"
    ip("link", "add", bridge, "type", "bridge")
    try:
        assert [stays(each) for each in ("lo", bridge, plugged.name)] == [True, True, False]
    finally:
        ip("link", "del", bridge)
    with pytest.raises(OSError, match="No such device"):
        rtnetlink.stays(1 << 30)


def test_a_feature_that_the_kernel_does_not_know_is_none(plugged: Veth) -> None:
    with Ethtool(plugged.name) as interface:
        assert interface.feature("highdma") is True
        assert interface.feature("no-such-feature") is None
    with Ethtool("hpgone0") as interface:
        assert interface.feature("highdma") is None


def test_hardware_has_a_permanent_address() -> None:
    real = [each.name for each in Path("/sys/class/net").iterdir() if (each / "device").exists()]
    assert real, "expected a network interface with hardware on this machine, and found none"
    for name in real:
        found = netif.permanent_address(name)
        assert found == "" or len(found) == len("00:e0:4c:68:01:02")
