"""How the server reads the keys of entries by which it finds devices. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from posixpath import normpath
from typing import Final

from hotplugd.plan.kinds.kind import EntrySelector

NUMBER: Final = re.compile(r"[0-9]{1,10}", re.ASCII)

# Keys that say how a device is put in, not which device it is.
_HOW: Final = frozenset(
    {"type", "required", "attached", "uid", "gid", "mode", "ownership.inherit",
     "gputype", "mdev", "mig.gi", "mig.ci", "mig.uuid", "blob.size"}
)  # fmt: skip
_SHORT_ADDRESS: Final = 7  # of PCI, without the domain


def by_keys(
    kind: str, config: Mapping[str, str], keys: Sequence[str], *, known: bool = True
) -> Iterator[EntrySelector]:
    """The selector of an entry that takes what has the values of these keys; everything without any of them.

    What has a key that is not known here may take less than is known: it takes what it names, but never
    everything for want of a key.

    known  whether everything else that the entry says is known
    """
    texts = [config.get(key, "") for key in keys]
    known = known and all(key in keys or key in _HOW or key.startswith("user.") for key in config)
    if known or any(texts):
        yield (kind, *texts)


def by_path(kind: str, path: str) -> Iterator[EntrySelector]:
    """The selector of an entry that takes the node at this path of the host."""
    if path:
        yield (kind, normpath("/" + path.lstrip("/")))


def leads_anywhere(path: str) -> bool:
    """Whether the node at this path of the host may be another than the path says: a server follows links,
    and asks no more of a source than that it begins with /dev (LXD: device/unix_common.go).

    A way up from behind a link leads elsewhere than its text says; so does what is in a folder to which
    everybody may write, and what every process has of its own.
    """
    parts = [each for each in path.split("/") if each not in ("", ".")]
    return ".." in parts or parts[:1] != ["dev"] or parts[1:2] in (["fd"], ["shm"])


def by_interface(config: Mapping[str, str]) -> Iterator[EntrySelector]:
    """The selector of an entry that takes the network interface that is its parent."""
    if config.get("parent"):
        yield ("nic", config["parent"])


def pci_address(text: str) -> str:
    """A PCI address as the kernel writes it (LXD and Incus: device/pci, NormaliseAddress)."""
    return (f"0000:{text}" if len(text) == _SHORT_ADDRESS else text).lower()


def some(text: str) -> Sequence[str]:
    """The values of a fact: one, or none where it is empty."""
    return (text,) if text else ()
