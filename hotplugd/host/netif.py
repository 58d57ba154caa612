"""What the kernel says of a network interface, beside sysfs."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from hotplugd.host import ethtool, netns, rtnetlink, sysfs

_GPERMADDR: Final = 0x20  # include/uapi/linux/ethtool.h: ETHTOOL_GPERMADDR
_LONGEST: Final = 32  # MAX_ADDR_LEN
_ESTABLISHED, _LISTENING = "01", "0A"  # include/net/tcp_states.h
_STATE: Final = 3
_NO_SUCH: Final = (errno.ENODEV, errno.ENXIO)
# The longest prefix that is taken for a part of everywhere, and where the addresses of groups begin.
_PARTS: Final = {socket.AF_INET: 7, socket.AF_INET6: 3}
_MULTICAST: Final = {socket.AF_INET: b"\xe0", socket.AF_INET6: b"\xff"}
# Clients of DHCP and servers of the time listen at each address that there is, and lose nothing with one.
_EVERYWHERE: Final = frozenset({68, 546, 123})


def permanent_address(name: str) -> str:
    """The address of the hardware of interface `name`, `00:e0:4c:68:01:02`; empty where it has none.

    Raises OSError where no socket can be had.
    """
    buffer = bytearray(struct.pack("II", _GPERMADDR, _LONGEST) + bytes(_LONGEST))
    with ethtool.Ethtool(name) as interface:
        if not interface.ask(buffer):
            return ""
    (size,) = struct.unpack_from("I", buffer, 4)
    found = bytes(buffer[8 : 8 + min(size, _LONGEST)])
    return found.hex(":") if any(found) else ""


def in_use(syspath: str) -> str:
    """Why the host needs the interface itself: empty where it does not, and where it is gone.

    It is the way to everywhere, part of another interface, one of several of its radio, or somebody speaks by
    its address: an operator's session, a server's clients, a server that listens on just that address.
    (rtnetlink(7); proc(5): tcp, udp; sysfs: upper_*.) Raises OSError and ValueError where it cannot be told.
    """
    number = sysfs.read(f"{syspath}/ifindex")
    if number is None:
        return ""
    index = int(number)
    try:
        return _default_route(index) or _upper(syspath, index) or _shared(syspath) or _spoken(index)
    except OSError as error:
        if error.errno in _NO_SUCH:  # it went meanwhile
            return ""
        raise


def _default_route(index: int) -> str:
    """Whether it has a default route, in any table: of all addresses, or of a part that is as large as those
    used in its place (0.0.0.0/1 and 128.0.0.0/1, 2000::/3).
    """
    families = [socket.AF_INET, *([socket.AF_INET6] if Path("/proc/net/if_inet6").exists() else [])]
    for family in families:
        for network, length in rtnetlink.routes(index, family):
            if length <= _PARTS[family] and network[:1] < _MULTICAST[family]:
                if length == 0:
                    return "it has the default route"
                return f"it has the route to {_text(family, network)}/{length}"
    return ""


def _upper(syspath: str, index: int) -> str:
    uppers = [each for each in sysfs.names(syspath) if each.startswith("upper_")]
    if uppers:
        return f"it is part of {uppers[0].removeprefix('upper_')}"
    upon = rtnetlink.upon(index)
    return f"{upon[0]} is made on it" if upon else ""


def _shared(syspath: str) -> str:
    """Whether other interfaces of the same radio would leave with it."""
    if others := netns.of_one_radio(syspath):
        return f"its radio has {', '.join(others)} too, and leaves with all its interfaces"
    return ""


def _spoken(index: int) -> str:
    if found := rtnetlink.addresses(index) & _spoken_by():
        return f"its address {min(found)} is in use by a connection or a server of the host"
    return ""


def _text(family: int, network: bytes) -> str:
    return socket.inet_ntop(family, network.ljust(4 if family == socket.AF_INET else 16, b"\0"))


def _spoken_by() -> set[str]:
    """The host's own addresses of TCP connections, and those at which servers of TCP and UDP listen alone."""
    found = set()
    for path, family in (("/proc/net/tcp", socket.AF_INET), ("/proc/net/tcp6", socket.AF_INET6)):
        for fields in _sockets(path):
            if fields[3] in (_ESTABLISHED, _LISTENING):
                found.add(_local(fields, family))
    for path, family in (("/proc/net/udp", socket.AF_INET), ("/proc/net/udp6", socket.AF_INET6)):
        for fields in _sockets(path):
            if int(fields[1].partition(":")[2], 16) not in _EVERYWHERE:
                found.add(_local(fields, family))
    return found


def _local(fields: Sequence[str], family: int) -> str:
    words = bytes.fromhex(fields[1].partition(":")[0])
    raw = b"".join(words[at : at + 4][::-1] for at in range(0, len(words), 4))
    return socket.inet_ntop(family, raw).removeprefix("::ffff:")


def _sockets(path: str) -> list[list[str]]:
    try:
        text = Path(path).read_text("ascii")
    except FileNotFoundError:  # no IPv6
        return []
    found = [line.split() for line in text.splitlines()[1:]]
    if any(len(fields) <= _STATE for fields in found):
        raise ValueError(f"{path} is not as proc(5) has it")
    return found
