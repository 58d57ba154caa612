"""Where servers have their own files. Known to our programs, too: imports the standard library alone."""

from __future__ import annotations

from typing import Final

ALL: Final = ("/var/snap/lxd/common/lxd", "/var/lib/lxd", "/var/lib/incus")
# Newer servers listen elsewhere than in their folder.
_SOCKETS: Final = {"/var/lib/incus": ("/run/incus/unix.socket",)}


def nodes_in(folder: str) -> str:
    """Where the server that has this folder keeps the nodes of its instances."""
    return f"{folder}/devices"


def sockets_of(folder: str) -> tuple[str, ...]:
    """Where the server that has this folder may listen."""
    return (f"{folder}/unix.socket", *_SOCKETS.get(folder, ()))
