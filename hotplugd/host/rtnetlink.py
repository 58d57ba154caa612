"""What the kernel has of links, addresses and routes: dumps by rtnetlink(7).

The kernel filters (Linux 4.20, NETLINK_GET_STRICT_CHK), so that a router's million routes are not read here.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

# include/uapi/linux/netlink.h
_SOL_NETLINK: Final = 270
_GET_STRICT_CHK: Final = 12
_ERROR, _DONE = 2, 3
_REQUEST: Final = 1  # NLM_F_REQUEST
_DUMP: Final = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_INTERRUPTED: Final = 0x10  # NLM_F_DUMP_INTR
_KIND: Final = 0x3FFF  # NLA_TYPE_MASK
_ATTRIBUTE: Final = struct.calcsize("=HH")  # struct rtattr itself
# include/uapi/linux/rtnetlink.h, if_link.h, if_addr.h
_GETLINK, _GETADDR, _GETROUTE = 18, 22, 26
_IFLA_LINK, _IFLA_NAME, _IFLA_NETNSID, _IFLA_NETNS_IMMUTABLE = 5, 3, 37, 67
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_RTA_DST, _RTA_OIF = 1, 4
_UNICAST: Final = 1
_HEAD: Final = 16
_TRIES: Final = 5
_DEADLINE: Final = 1.0
_MOST: Final = 1 << 18


@dataclass(frozen=True, slots=True)
class Message:
    """One answer: the fixed part that each has for its kind, and the attributes."""

    fixed: bytes
    attributes: Mapping[int, bytes]


def routes(index: int, family: int) -> Iterator[tuple[bytes, int]]:
    """The networks to which a route of any table leads by this interface: address, empty where it is zero,
    and the length of the prefix. Raises OSError and ValueError.
    """
    body = struct.pack("=BBBBBBBBI", family, 0, 0, 0, 0, 0, 0, _UNICAST, 0)
    body += struct.pack("=HHi", 8, _RTA_OIF, index)
    for each in _dump(_GETROUTE, body, 12):
        if each.fixed[0] == family and each.fixed[7] == _UNICAST:
            yield each.attributes.get(_RTA_DST, b""), each.fixed[1]


def addresses(index: int) -> set[str]:
    """The interface's IP addresses, as text. Raises OSError and ValueError."""
    found: set[str] = set()
    for each in _dump(_GETADDR, struct.pack("=BBBBI", 0, 0, 0, 0, 0), 8):
        family, _, _, _, of = struct.unpack("=BBBBI", each.fixed)
        if of == index and family in (socket.AF_INET, socket.AF_INET6):
            raw = (each.attributes.get(kind) for kind in (_IFA_ADDRESS, _IFA_LOCAL))
            found |= {socket.inet_ntop(family, text) for text in raw if text is not None}
    return found


def upon(index: int) -> list[str]:
    """The names of the interfaces that are made on this one: tunnels, which sysfs does not show, and others.

    Both ends of a veth say so of each other, and neither is made on the other. Raises OSError and ValueError.
    """
    links: dict[int, tuple[str, int]] = {}
    for each in _dump(_GETLINK, struct.pack("=BxHiII", 0, 0, 0, 0, 0), 16):
        (own,) = struct.unpack_from("=i", each.fixed, 4)
        name = each.attributes.get(_IFLA_NAME, b"").rstrip(b"\0").decode("utf-8", "surrogateescape")
        below = each.attributes.get(_IFLA_LINK)
        here = _IFLA_NETNSID not in each.attributes
        links[own] = name, struct.unpack("=i", below)[0] if below is not None and here else 0
    _, mine = links.get(index, ("", 0))
    return sorted(name for own, (name, below) in links.items() if below == index and own not in (index, mine))


def stays(index: int) -> bool:
    """Whether the interface cannot leave its network namespace, as far as the kernel says (Linux 6.15:
    IFLA_NETNS_IMMUTABLE). Raises OSError and ValueError.
    """
    body = struct.pack("=BxHiII", 0, 0, index, 0, 0)
    request = struct.pack("=IHHII", _HEAD + len(body), _GETLINK, _REQUEST, 1, 0) + body
    with _socket() as link:
        link.send(request)
        answer = link.recv(_MOST)
    if len(answer) < _HEAD + len(body):
        raise ValueError("the kernel's answer is cut off")
    size, what, _ = struct.unpack_from("=IHH", answer)
    if what == _ERROR:
        _see_success(answer, 0, size)
    return any(dict(_attributes(answer[_HEAD + len(body) : size])).get(_IFLA_NETNS_IMMUTABLE, b""))


def _socket() -> socket.socket:
    link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    link.settimeout(_DEADLINE)
    return link


def _dump(kind: int, body: bytes, fixed: int) -> list[Message]:
    """All answers to a dump, again where something changed meanwhile."""
    for _ in range(_TRIES):
        found, whole = _once(kind, body, fixed)
        if whole:
            return found
    raise OSError("the kernel's tables change all the time")


def _once(kind: int, body: bytes, fixed: int) -> tuple[list[Message], bool]:
    request = struct.pack("=IHHII", _HEAD + len(body), kind, _DUMP, 1, 0) + body
    found: list[Message] = []
    whole = True
    with _socket() as link:
        link.setsockopt(_SOL_NETLINK, _GET_STRICT_CHK, 1)
        link.send(request)
        while True:
            answer = link.recv(_MOST)
            at = 0
            while at + _HEAD <= len(answer):
                size, what, flags = struct.unpack_from("=IHH", answer, at)
                if size < _HEAD or at + size > len(answer):
                    raise ValueError("the kernel's answer is cut off")
                whole = whole and not flags & _INTERRUPTED
                if what == _DONE:
                    _see_success(answer, at, size)
                    return found, whole
                if what == _ERROR:
                    _see_success(answer, at, size)
                elif size >= _HEAD + fixed:
                    start = at + _HEAD
                    attributes = dict(_attributes(answer[start + fixed : at + size]))
                    found.append(Message(answer[start : start + fixed], attributes))
                at += (size + 3) & ~3


def _see_success(answer: bytes, at: int, size: int) -> None:
    if size >= _HEAD + 4:
        (error,) = struct.unpack_from("=i", answer, at + _HEAD)
        if error < 0:
            raise OSError(-error, os.strerror(-error))


def _attributes(raw: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _ATTRIBUTE <= len(raw):
        size, kind = struct.unpack_from("=HH", raw, at)
        if size < _ATTRIBUTE:
            return
        yield kind & _KIND, raw[at + _ATTRIBUTE : at + size]
        at += (size + 3) & ~3
