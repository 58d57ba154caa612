"""What may be called what: instances, paths inside them that belong to every container, devices. Pure."""

from __future__ import annotations

import re

_LEGAL_NAME = re.compile(r"[A-Za-z](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?", re.ASCII)


def is_instance_name(text: str) -> bool:
    """Whether LXD and Incus would take `text` as an instance's name.

    1 to 63 ASCII letters, digits and dashes, not starting with a digit or dash, not ending with a dash
    (LXD: shared/validate, `IsHostname` and instance `ValidName`).
    """
    return _LEGAL_NAME.fullmatch(text) is not None


def is_serial(text: str) -> bool:
    """Whether `text` can tell a device from others of its model.

    One repeated character ("0000000000") and a lone digit are placeholders: some makers write them on every
    device.
    """
    return len(set(text)) > 1 or (len(text) == 1 and not text.isdecimal())


# Every container has these; a mount over one of them breaks the container, not the device.
_RESERVED = re.compile(
    r"/dev/(null|zero|full|random|urandom|tty|console|ptmx|fuse|fd|std(in|out|err)|"
    r"(pts|shm|mqueue|lxd|incus|\.lxd-mounts|\.incus-mounts)(/.*)?)"
)


def is_reserved_path(path: str) -> bool:
    """Whether the path inside belongs to every container (lxc.container.conf(5), LXD's own mounts)."""
    return _RESERVED.fullmatch(path) is not None
