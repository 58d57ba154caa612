"""Files inside instances, by the server's files API.

The server resolves paths within the instance, so that a link there leads nowhere else (LXD: forkfile, in the
instance's root). It writes through a link that is there, and leaves an old file its owner and mode: so what
is there goes first. What is in the way of that, such as a folder, is refused.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from pylxd.exceptions import LXDAPIException, NotFound

from hotplugd.model.pool_file import PoolFile
from hotplugd.model.values import InstanceName


def put_file(tree: Any, name: InstanceName, file: PoolFile, content: bytes) -> None:
    """Have this file inside, in place of one that is there, and the folders above it. Blocks."""
    files, where = tree.instances[name.name].files, {"project": name.project}
    at = {**where, "path": file.path}
    with suppress(NotFound):
        files.delete(params=at)
    try:
        files.post(params=at, headers=_headers(file, "file"), data=content)
    except LXDAPIException:
        # As a rule there is no folder yet: the servers say that in different words.
        _make_folders(files, where, file)
        files.post(params=at, headers=_headers(file, "file"), data=content)


def _make_folders(files: Any, where: dict[str, str], file: PoolFile) -> None:
    """Make the folders above it that are not there; those that are stay as they are."""
    above = file.path.split("/")[1:-1]
    for depth in range(len(above)):
        folder = "/" + "/".join(above[: depth + 1])
        try:
            files.get(params={**where, "path": folder})
        except NotFound:
            files.post(params={**where, "path": folder}, headers=_headers(file, "directory"))


def _headers(file: PoolFile, kind: str) -> dict[str, str]:
    """What a file or a folder is in a request (LXD and Incus: doc/rest-api)."""
    mode = file.mode if kind == "file" else "0700" if file.mode.endswith("00") else "0755"
    own = {"type": kind, "uid": str(file.uid), "gid": str(file.gid), "mode": mode, "write": "overwrite"}
    return {f"X-{server}-{key}": text for server in ("LXD", "Incus") for key, text in own.items()}
