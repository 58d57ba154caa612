"""The files that the server keeps of the nodes that it has put into instances.

LXD and Incus make each node in `devices/<instance>/` of their own folder and mount it from there, so the file
has the same inode as the node inside, whatever somebody inside does to that one's path (LXD:
device/device_utils_unix.go, `unixDeviceCreate`). It is called `unix.<entry>.<path>`, each with the server's
own way to write slashes and dashes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from hotplugd.aio.shortage import is_short
from hotplugd.container.opener import Opener
from hotplugd.model.ports import ServerInfo
from hotplugd.model.values import InstanceName

_FOLDERS: Final = {
    "lxd": ("/var/snap/lxd/common/lxd", "/var/lib/lxd"),
    "incus": ("/var/lib/incus",),
}
_OPEN: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC

Files = Mapping[str, Mapping[int, str]]
"""By the names of entries: the inodes of their nodes, and what the files are called."""


class NodeFiles:
    """The files of one server.

    beside  the address with which they were looked for
    """

    def __init__(self, opener: Opener) -> None:
        self._opener = opener
        self.beside = ""
        self._folder = -1

    @property
    def known(self) -> bool:
        """Whether it is known where they are."""
        return self._folder >= 0

    async def find(self, server: ServerInfo) -> None:
        """Find where this server keeps its files: after each connection, since it may have been restarted.

        Raises OSError where no file can be opened.
        """
        self.close()
        self.beside = server.address
        for folder in _candidates(server):
            try:
                # In its own mount namespace: a snap's is another, and the host's may be read-only in ours.
                self._folder = await self._opener.nodes(server.pid, folder)
            except OSError as error:
                if is_short(error):
                    raise
            else:
                return
        for folder in _candidates(server):
            try:
                self._folder = os.open(f"{folder}/devices", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            except OSError as error:
                if is_short(error):
                    raise
            else:
                return

    def of(self, name: InstanceName, entries: Iterable[str]) -> Files | None:
        """The files of an instance's entries of these names; None where nobody knows. Raises OSError."""
        if self._folder < 0:
            return None
        prefixes = {prefix: entry for entry in entries for prefix in _prefixes(entry)}
        found: dict[str, dict[int, str]] = {}
        for inode, file in self._listed(_folder_of(name)):
            entry = prefixes.get(".".join(file.split(".", 2)[:2]))
            if entry is not None:
                found.setdefault(entry, {})[inode] = file
        return found

    def everywhere(self, entry: str) -> list[int]:
        """Descriptors (O_PATH) of all nodes that entries of this name have anywhere, as far as they open.

        Raises OSError where no file can be opened.
        """
        found: list[int] = []
        prefixes = _prefixes(entry)
        try:
            for folder in self._names(".") if self.known else ():
                for _, file in self._listed(folder):
                    if ".".join(file.split(".", 2)[:2]) in prefixes:
                        found.append(self._open(folder, file))
        except OSError as error:
            if is_short(error):
                for each in found:
                    os.close(each)
                raise
        return found

    def open(self, name: InstanceName, file: str) -> int:
        """A descriptor (O_PATH) of the node that one of the instance's files is. Raises OSError."""
        return self._open(_folder_of(name), file)

    def close(self) -> None:
        """Let go of the folder."""
        if self._folder >= 0:
            os.close(self._folder)
            self._folder = -1

    def _open(self, folder: str, file: str) -> int:
        return os.open(f"{folder}/{file}", _OPEN, dir_fd=self._folder)

    def _names(self, folder: str) -> list[str]:
        return [entry.name for entry in self._entries(folder)]

    def _listed(self, folder: str) -> list[tuple[int, str]]:
        return [(entry.inode(), entry.name) for entry in self._entries(folder)]

    def _entries(self, folder: str) -> list[os.DirEntry[str]]:
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._folder)
        except (FileNotFoundError, NotADirectoryError):
            return []  # the server makes an instance's folder with its first node
        try:
            with os.scandir(descriptor) as entries:
                return list(entries)
        finally:
            os.close(descriptor)


def _candidates(server: ServerInfo) -> list[str]:
    folders = [str(Path(server.address).parent)] if server.address.startswith("/") else []
    return [*folders, *_FOLDERS.get(server.software, ())]


def _folder_of(name: InstanceName) -> str:
    """LXD: project.Instance."""
    return name.name if name.project == "default" else f"{name.project}_{name.name}"


def _prefixes(entry: str) -> tuple[str, str]:
    """What the names of an entry's files begin with: older servers write a dash as it is."""
    return f"unix.{entry}", f"unix.{entry.replace('-', '--')}"
