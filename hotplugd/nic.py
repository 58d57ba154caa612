"""What the kernel says of a network interface, beside sysfs."""

from __future__ import annotations

import fcntl
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from hotplugd import sysfs

_SIOCETHTOOL: Final = 0x8946  # include/uapi/linux/sockios.h
_GPERMADDR: Final = 0x20  # include/uapi/linux/ethtool.h: ETHTOOL_GPERMADDR
_LONGEST: Final = 32  # MAX_ADDR_LEN
_NAME: Final = 16  # IFNAMSIZ
# include/uapi/linux/rtnetlink.h, netlink.h, if_addr.h
_NEWADDR: Final = 20
_GETADDR: Final = 22
_DUMP: Final = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_NEWADDR_LEAST: Final = 24
_ADDRESS, _LOCAL = 1, 2
_ESTABLISHED, _LISTENING = "01", "0A"  # include/net/tcp_states.h
_LOOPBACK: Final = "772"  # include/uapi/linux/if_arp.h: ARPHRD_LOOPBACK


def permanent_address(name: str) -> str:
    """The address of the hardware of interface `name`, `00:e0:4c:68:01:02`; empty where it has none."""
    buffer = bytearray(struct.pack("II", _GPERMADDR, _LONGEST) + bytes(_LONGEST))
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as control:
            # Any socket will do. struct ethtool_perm_addr is written through the pointer in struct ifreq
            # (netdevice(7)).
            address = _address_of(buffer)
            request = struct.pack(f"{_NAME}sP", name.encode("utf-8", "surrogateescape")[: _NAME - 1], address)
            fcntl.ioctl(control, _SIOCETHTOOL, request.ljust(40, b"\0"))
    except (OSError, ValueError):
        return ""
    (size,) = struct.unpack_from("I", buffer, 4)
    found = bytes(buffer[8 : 8 + min(size, _LONGEST)])
    return found.hex(":") if any(found) else ""


def can_move(syspath: str) -> bool:
    """Whether the kernel lets the interface leave the host's network namespace (Linux: NETNS_LOCAL).

    A wireless one would have to go with its radio, which no server does.
    """
    if sysfs.attribute(syspath, "type") == _LOOPBACK:
        return False
    return not any(Path(syspath, each).is_dir() for each in ("bridge", "bonding", "phy80211"))


def _address_of(buffer: bytearray) -> int:
    import ctypes  # noqa: PLC0415  # where there is an interface to ask for, and not before

    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))


def in_use(name: str, syspath: str) -> str:
    """Why the host needs the interface itself: empty where it does not.

    It is the way to everywhere, part of another interface, or somebody speaks by its address: an operator's
    session, a server's clients, a server that listens on just that address. (proc(5): /proc/net/route,
    ipv6_route, tcp and tcp6; sysfs: upper_*.)
    """
    try:
        if name in _default_routes():
            return "it has the default route"
        uppers = sorted(each.name.removeprefix("upper_") for each in Path(syspath).glob("upper_*"))
        if uppers:
            return f"it is part of {uppers[0]}"
        if found := addresses(name) & _spoken_by():
            return f"its address {min(found)} is in use by a connection or a server of the host"
    except (OSError, ValueError, struct.error):
        return ""
    return ""


def addresses(name: str) -> set[str]:
    """The interface's IP addresses, as text. Raises OSError (rtnetlink(7): RTM_GETADDR)."""
    index = socket.if_nametoindex(name)
    request = struct.pack("=IHHII", 24, _GETADDR, _DUMP, 1, 0) + struct.pack("=BBBBI", 0, 0, 0, 0, 0)
    found: set[str] = set()
    with socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
    ) as link:
        link.settimeout(1.0)
        link.send(request)
        while True:
            answer = link.recv(1 << 18)
            at = 0
            while at + 16 <= len(answer):
                size, message = struct.unpack_from("=IH", answer, at)
                if message != _NEWADDR or size < _NEWADDR_LEAST:
                    return found
                family, _, _, _, of = struct.unpack_from("=BBBBI", answer, at + 16)
                if of == index:
                    found |= set(_attributes(family, answer[at + 24 : at + size]))
                at += (size + 3) & ~3


def _attributes(family: int, raw: bytes) -> Iterator[str]:
    at = 0
    while at + 4 <= len(raw):
        size, kind = struct.unpack_from("=HH", raw, at)
        if size < 4:  # noqa: PLR2004  # struct rtattr itself
            return
        if kind in (_ADDRESS, _LOCAL):
            yield socket.inet_ntop(family, raw[at + 4 : at + size])
        at += (size + 3) & ~3


def _default_routes() -> set[str]:
    """The interfaces with a default route."""
    found = set()
    for line in _lines("/proc/net/route"):
        fields = line.split()
        if fields[1] == "00000000" and fields[7] == "00000000":
            found.add(fields[0])
    for line in _lines("/proc/net/ipv6_route", head=0):
        fields = line.split()
        if fields[0] == "0" * 32 and fields[1] == "00":
            found.add(fields[9])
    return found - {"lo"}


def _spoken_by() -> set[str]:
    """The host's own addresses of TCP connections, and those that servers listen on alone."""
    found = set()
    for path, family in (("/proc/net/tcp", socket.AF_INET), ("/proc/net/tcp6", socket.AF_INET6)):
        for line in _lines(path):
            fields = line.split()
            if fields[3] in (_ESTABLISHED, _LISTENING):
                words = bytes.fromhex(fields[1].partition(":")[0])
                raw = b"".join(words[at : at + 4][::-1] for at in range(0, len(words), 4))
                text = socket.inet_ntop(family, raw)
                found.add(text.removeprefix("::ffff:"))
    return found


def _lines(path: str, head: int = 1) -> list[str]:
    try:
        return Path(path).read_text("ascii").splitlines()[head:]
    except FileNotFoundError:  # no IPv6
        return []
