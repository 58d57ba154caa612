"""Finds the server where the configuration does not name it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from hotplugd.model.ports import Unreachable

_SOCKETS: Final = (
    "/var/lib/lxd/unix.socket",
    "/var/snap/lxd/common/lxd/unix.socket",
    "/run/incus/unix.socket",
    "/var/lib/incus/unix.socket",
)


def find_server(setting: str, environment: Mapping[str, str]) -> str:
    """The address behind the configuration's `server`: a socket's path or an https URL.

    `auto` takes LXD_DIR, INCUS_SOCKET and INCUS_DIR from the environment first, then the sockets of
    distribution LXD, snap LXD and Incus, the first that exists. Raises Unreachable where none does.
    """
    if setting != "auto":
        return setting
    named = [
        *(f"{environment[key]}/unix.socket" for key in ("LXD_DIR",) if environment.get(key)),
        *(environment[key] for key in ("INCUS_SOCKET",) if environment.get(key)),
        *(f"{environment[key]}/unix.socket" for key in ("INCUS_DIR",) if environment.get(key)),
    ]
    candidates = named or _SOCKETS
    for path in candidates:
        if Path(path).exists():
            return path
    raise Unreachable(
        f"no LXD or Incus found: looked for {', '.join(candidates)}; "
        f"install one, or name its socket in `server`"
    )
