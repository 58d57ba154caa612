"""Where the kernel puts a device's node, by its subsystem and name: for devices that are made up. Pure.

Most nodes are called as the device is. The others are by drivers' own rules, which are written down here: in
Linux, `devnode` of struct class and `nodename` of struct miscdevice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

# Below a folder of their own, whatever they are called.
_FOLDERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "accel": "accel", "aoe": "etherd", "bsg": "bsg", "dma_heap": "dma_heap", "drm": "dri",
        "infiniband_mad": "infiniband", "infiniband_verbs": "infiniband", "input": "input", "vduse": "vduse",
        "vfio": "vfio", "vfio-dev": "vfio/devices",
    }
)  # fmt: skip
# Those of `misc` that are called otherwise.
_MISC: Final[Mapping[str, str]] = MappingProxyType(
    {
        "device-mapper": "mapper/control",
        "hw_random": "hwrng",
        "microcode": "cpu/microcode",
        "rdma_cm": "infiniband/rdma_cm",
        "tun": "net/tun",
        "vfio": "vfio/vfio",
    }
)
# A subsystem, what a name is like, and the node's path.
_PATTERNS: Final = tuple(
    (subsystem, re.compile(name, re.ASCII), path)
    for subsystem, name, path in (
        ("sound", "(?:control|pcm|midi|hw|compr|ump)C[0-9].*|seq|timer", r"snd/\g<0>"),
        ("usbmisc", "(?:lp|hiddev|iowarrior|legousbtower)[0-9]+", r"usb/\g<0>"),
        ("dvb", r"dvb([0-9]+)\.([a-z]+[0-9]+)", r"dvb/adapter\1/\2"),
        ("cpuid", "cpu([0-9]+)", r"cpu/\1/cpuid"),
        ("msr", "msr([0-9]+)", r"cpu/\1/msr"),
    )
)


def node_of(subsystem: str, kernel: str) -> str:
    """The path of the node of a device that has one."""
    for of, name, path in _PATTERNS:
        if subsystem == of and (found := name.fullmatch(kernel)):
            return f"/dev/{found.expand(path)}"
    if subsystem == "misc":
        return f"/dev/{_MISC.get(kernel, kernel)}"
    folder = _FOLDERS.get(subsystem)
    return f"/dev/{folder}/{kernel}" if folder else f"/dev/{kernel}"
