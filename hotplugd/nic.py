"""What the kernel says of a network interface, beside sysfs."""

from __future__ import annotations

import fcntl
import socket
import struct
from pathlib import Path
from typing import Final

from hotplugd import sysfs

_SIOCETHTOOL: Final = 0x8946  # include/uapi/linux/sockios.h
_GPERMADDR: Final = 0x20  # include/uapi/linux/ethtool.h: ETHTOOL_GPERMADDR
_LONGEST: Final = 32  # MAX_ADDR_LEN
_NAME: Final = 16  # IFNAMSIZ
_LOOPBACK: Final = "772"  # include/uapi/linux/if_arp.h: ARPHRD_LOOPBACK


def permanent_address(name: str) -> str:
    """The address of the hardware of interface `name`, `00:e0:4c:68:01:02`; empty where it has none."""
    buffer = bytearray(struct.pack("II", _GPERMADDR, _LONGEST) + bytes(_LONGEST))
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as control:
            # struct ethtool_perm_addr is written through the pointer in struct ifreq (netdevice(7)).
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
