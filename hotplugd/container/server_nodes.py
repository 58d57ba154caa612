"""The files that the server keeps of the nodes that it has put into instances.

LXD and Incus make each node in `devices/<instance>/` of their own folder and mount it from there, so the file
has the same inode as the node inside, whatever somebody inside does to that one's path (LXD:
device/device_utils_unix.go, `unixDeviceCreate`). It is called `unix.<entry>.<path>`, each with the server's
own way to write slashes and dashes.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from hotplugd.aio.shortage import is_short
from hotplugd.container.opener import Nodes, Opener, OwnNodes
from hotplugd.container.server_folders import nodes_in
from hotplugd.model.ports import ServerInfo
from hotplugd.model.values import InstanceName

Files = Mapping[str, Mapping[int, str]]
"""By the names of entries: the inodes of their nodes, and what the files are called."""


class NodeFiles:
    """The files of one server.

    beside  the address with which they were looked for
    """

    def __init__(self, opener: Opener) -> None:
        self._opener = opener
        self.beside = ""
        self._nodes: Nodes | None = None

    @property
    def known(self) -> bool:
        """Whether it is known where they are."""
        return self._nodes is not None

    async def find(self, server: ServerInfo) -> None:
        """Find where this server keeps its files: after each connection, since it may have been restarted.

        Raises OSError where no file can be opened.
        """
        self.close()
        self.beside = server.address
        for folder in _candidates(server):
            try:
                # In its own mount namespace: a snap's is another, and the host's may be read-only in ours.
                self._nodes = await self._opener.nodes(server.pid, folder)
            except OSError as error:
                if is_short(error):
                    raise
            else:
                return
        for folder in _candidates(server):
            try:
                opened = os.open(nodes_in(folder), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            except OSError as error:
                if is_short(error):
                    raise
            else:
                self._nodes = OwnNodes(opened)
                return

    async def of(self, name: InstanceName, entries: Iterable[str]) -> Files | None:
        """The files of an instance's entries of these names; None without the folder. Raises OSError."""
        if self._nodes is None:
            return None
        prefixes = {prefix: entry for entry in entries for prefix in _prefixes(entry)}
        files: dict[str, dict[int, str]] = {}
        for inode, file in await self._nodes.list(_folder_of(name)):
            entry = prefixes.get(".".join(file.split(".", 2)[:2]))
            if entry is not None:
                files.setdefault(entry, {})[inode] = file
        return files

    async def everywhere(self, entry: str) -> list[int]:
        """Descriptors (O_PATH) of all nodes that entries of this name have anywhere, as far as they open.

        Raises OSError where no file can be opened.
        """
        descriptors: list[int] = []
        prefixes = _prefixes(entry)
        if (nodes := self._nodes) is None:
            return descriptors
        try:
            for _, folder in await nodes.list(""):
                for _, file in await nodes.list(folder):
                    if ".".join(file.split(".", 2)[:2]) in prefixes:
                        descriptors.append(await nodes.open(folder, file))
        except (OSError, asyncio.CancelledError) as error:
            if is_short(error) or isinstance(error, asyncio.CancelledError):
                for each in descriptors:
                    os.close(each)
                raise
        return descriptors

    async def open(self, name: InstanceName, file: str) -> int:
        """A descriptor (O_PATH) of the node that one of the instance's files is. Raises OSError."""
        if self._nodes is None:
            raise FileNotFoundError("nobody knows where the server keeps its nodes")
        return await self._nodes.open(_folder_of(name), file)

    def close(self) -> None:
        """Let go of the folder."""
        if self._nodes is not None:
            self._nodes.close()
            self._nodes = None


def _candidates(server: ServerInfo) -> list[str]:
    folders = [str(Path(server.address).parent)] if server.address.startswith("/") else []
    return [*folders, *server.folders]


def _folder_of(name: InstanceName) -> str:
    """LXD: project.Instance."""
    return name.name if name.project == "default" else f"{name.project}_{name.name}"


def _prefixes(entry: str) -> tuple[str, str]:
    """What the names of an entry's files begin with: older servers write a dash as it is."""
    return f"unix.{entry}", f"unix.{entry.replace('-', '--')}"
