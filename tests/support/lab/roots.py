"""A container's root, held as the inspector holds it, by somebody who may look into all processes."""

from __future__ import annotations

import os

from hotplugd.container.root import Lost, Root, process_folder


def root_of(pid: int) -> Root:
    """Raises Lost."""
    try:
        process = process_folder(pid)
    except OSError as error:
        raise Lost(f"cannot look inside by process {pid}: {error}") from error
    try:
        root = os.open("root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=process)
    except OSError as error:
        os.close(process)
        raise Lost(f"cannot look inside by process {pid}: {error}") from error
    return Root(pid, process, root)


def network_of(pid: int) -> int:
    """A descriptor of its network namespace."""
    return os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
