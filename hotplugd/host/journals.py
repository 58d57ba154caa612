"""The journals of what is put into instances: entries, links and records of udev's database.

They are files in /dev/hotplugd. See `EntryJournal`, `LinkJournal` and `RecordJournal` in `reconcile.ports`.
The files are gone after a boot, as what is inside instances is.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from hotplugd.host.server_lock import file_id, short_id
from hotplugd.host.sysfs import names
from hotplugd.model.entry import SLOTS, is_link, mark_for, read, written
from hotplugd.model.values import Entry, InstanceName, Link

_LINK: Final = ("target", "entry")
_OWN: Final = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW


class Notes:
    """The entries that are being put into the instances of one server: one file for each instance."""

    def __init__(self, server: str) -> None:
        self._start = f".adding-{file_id(server)}-"
        self._before: dict[InstanceName, dict[str, Entry]] = {}

    def read(self) -> None:
        """Read the files of the process before. Raises OSError. No request followed a broken file."""
        for name, found in _read(self._start, "entries").items():
            self._before[name] = {
                key: read(key, config) for key, config in found.items() if isinstance(config, dict)
            }

    def names(self) -> list[InstanceName]:
        """See `EntryJournal`."""
        return list(self._before)

    def take(self, name: InstanceName) -> Mapping[str, Entry]:
        """See `EntryJournal`."""
        return self._before.pop(name, {})

    def note(self, name: InstanceName, entries: Sequence[Entry]) -> None:
        """See `EntryJournal`. A device goes in even if the file cannot be written."""
        _write(self._start, name, "entries", {each.name: written(each) for each in entries})


class Links:
    """The links inside the instances of one server: one file for each instance."""

    def __init__(self, server: str) -> None:
        self._start = f".links-{file_id(server)}-"
        self._before: dict[InstanceName, dict[str, Link]] = {}

    def read(self) -> None:
        """Read the files of the process before. Raises OSError."""
        for name, found in _read(self._start, "links").items():
            self._before[name] = {
                path: Link(str(each[0]), str(each[1]))
                for path, each in found.items()
                if is_link(path) and isinstance(each, list) and len(each) == len(_LINK)
            }

    def names(self) -> list[InstanceName]:
        """See `LinkJournal`."""
        return list(self._before)

    def take(self, name: InstanceName) -> Mapping[str, Link]:
        """See `LinkJournal`."""
        return self._before.pop(name, {})

    def note(self, name: InstanceName, links: Mapping[str, Link]) -> None:
        """See `LinkJournal`. A link is made even if the file cannot be written."""
        _write(self._start, name, "links", {path: [each.target, each.entry] for path, each in links.items()})


class RecordNotes:
    """In which instances of one server there may be records of udev's: one file for each instance."""

    def __init__(self, server: str) -> None:
        self._start = f".records-{file_id(server)}-"
        self._before: set[InstanceName] = set()

    def read(self) -> None:
        """Read the files of the process before. Raises OSError."""
        self._before = set(_read(self._start, "records"))

    def names(self) -> list[InstanceName]:
        """See `RecordJournal`."""
        return list(self._before)

    def take(self, name: InstanceName) -> bool:
        """See `RecordJournal`."""
        found = name in self._before
        self._before.discard(name)
        return found

    def note(self, name: InstanceName, *, there: bool) -> None:
        """See `RecordJournal`. Records are written even if the file cannot be."""
        _write(self._start, name, "records", {"there": True} if there else {})


def _read(start: str, what: str) -> dict[InstanceName, dict[str, object]]:
    """The contents of the files with this prefix, by instance. Removes broken ones. Raises OSError."""
    said: dict[InstanceName, dict[str, object]] = {}
    for path in (Path(SLOTS, each) for each in names(SLOTS) if each.startswith(start)):
        try:
            found = json.loads(path.read_bytes())
            name = InstanceName(str(found["project"]), str(found["name"]))
            said[name] = {str(key): each for key, each in found[what].items()}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            path.unlink(missing_ok=True)
    return said


def _write(start: str, name: InstanceName, what: str, found: Mapping[str, object]) -> None:
    """Write the instance's file anew, or remove it if there is nothing to write."""
    path = f"{SLOTS}/{start}{short_id(mark_for(name))}"
    new = f"{SLOTS}/.new-{start[1:]}{short_id(mark_for(name))}"
    if not found:
        with suppress(OSError):
            os.unlink(path)
        return
    with suppress(OSError):
        file = os.open(new, _OWN, 0o600)
        try:
            whole = json.dumps({"project": name.project, "name": name.name, what: found}).encode()
            complete = os.write(file, whole) == len(whole)
        finally:
            os.close(file)
        if complete:
            os.replace(new, path)
