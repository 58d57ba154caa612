r"""udev's own links to a device's node, chosen in rules by the folder that they are in: `link: by-id`.

udev makes them where its rules say SYMLINK: /dev/disk/by-id/usb-…, /dev/serial/by-path/pci-… (systemd:
rules.d/60-persistent-*.rules). Their names are made of what the device says, which may be anything, and its
database is where they are read. So one is taken only where it is in a folder of that name two below /dev,
and is made of what udev leaves in a link's name (udev_device_set_devlink: letters, digits, #+-.:=@_ and
\xNN for a byte).
"""

from __future__ import annotations

import re
from typing import Final

from hotplugd.model.names import is_reserved_path
from hotplugd.model.values import Device

FOLDERS: Final = ("by-id", "by-path", "by-uuid", "by-label", "by-partuuid", "by-partlabel")
"""The words that rules may write. What changes at each plug, such as by-diskseq, names nothing that stays."""

_LINK: Final = re.compile(r"/dev/[A-Za-z0-9_-]+/[a-z-]+/((?:[A-Za-z0-9_:+@,=.#-]|\\x[0-9a-f]{2})+)", re.ASCII)
_LONGEST: Final = 255
# Which part of /dev/disk/by-id/usb-x it is.
_FOLDER: Final = 3
# A device with more of them than any real one has gets the first.
_MOST: Final = 32


def udev_links(device: Device, folder: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The device's links in a folder of this name, and those that no link may be called like.

    Both are paths on the host, sorted.
    """
    there = [
        link
        for link in sorted(device.properties.get("DEVLINKS", "").split())
        if len(parts := link.split("/")) > _FOLDER and parts[_FOLDER] == folder
    ][:_MOST]
    fit = tuple(link for link in there if is_udev_link(link))
    return fit, tuple(link for link in there if link not in fit)


def is_udev_link(link: str) -> bool:
    """Whether udev may have a link at this path, two folders below /dev, and no container has its own."""
    found = _LINK.fullmatch(link)
    return (
        found is not None
        and len(found[1]) <= _LONGEST
        and found[1] not in (".", "..")
        and not is_reserved_path(link)
    )
