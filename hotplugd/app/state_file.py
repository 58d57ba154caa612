"""The file of what people decide while the daemon runs, and of what no server keeps: the state file.

It is small, and written and synced before anything is done about a decision, so that a decision holds over a
crash and a boot. Nothing else depends on it: without it the rules alone decide. Where it is missing nothing
was decided. Where it is broken it is renamed, and nothing is overwritten.

The format is JSON: `version`, a list for each kind of decision (`overrides`, `cordons`), and `leases`.
Another kind is a field of `State` and a key here, which an older file lacks. A file of a later version is not
read: nobody knows what it says.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from hotplugd.app.state_of_leases import cordons, cordons_json, leases, leases_json
from hotplugd.app.state_values import asker, asker_json, fields, instance, items, text
from hotplugd.model.text import quoted
from hotplugd.plan.overrides import MOST, Lasting, Override, Overrides
from hotplugd.pools.away_leases import NOTHING_KEPT, KeptLeases
from hotplugd.pools.cordons import NO_CORDONS, Cordons

VERSION: Final = 1
_MOST_BYTES: Final = 4 << 20
# Keys that files of earlier versions lack.
_LATER: Final = frozenset({"leases", "cordons"})
_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_WRITE: Final = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
_BROKEN: Final = ".broken-"


class StateError(Exception):
    """The state file cannot be read or written. The text is fit to be shown."""


@dataclass(frozen=True, slots=True)
class State:
    """What people decided, and what no entry records of leases.

    overrides  about single devices, in place of the rules
    leases     those whose devices are absent, and in which order claims were first seen
    cordons    devices that are given to nobody, and instances that get nothing more
    """

    overrides: Overrides = field(default_factory=Overrides)
    leases: KeptLeases = NOTHING_KEPT
    cordons: Cordons = NO_CORDONS


class StateFile:
    """The state file at `path`. Blocks: to be called in a thread.

    One that another program has written since it was read is not overwritten: another hotplugd has the same
    file, or somebody put back an older one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: bytes | None = None

    def read(self) -> State:
        """What was decided; nothing where the file is missing. Raises StateError, and leaves a broken one."""
        raw = _content(self.path)
        state = State() if raw is None else _parsed(self.path, raw)
        self._known = raw
        return state

    def set_aside(self) -> Path:
        """Rename a broken file, so that another can be written. Returns its new name. Raises StateError."""
        now = datetime.now(UTC)
        to = self.path.with_name(f"{self.path.name}{_BROKEN}{now:%Y%m%dT%H%M%S.%fZ}")
        try:
            os.rename(self.path, to)
        except OSError as error:
            raise StateError(f"{self.path} cannot be renamed: {error.strerror}") from error
        self._known = None
        return to

    def aside(self) -> list[Path]:
        """The broken files that were renamed and that nobody has taken away, the oldest first."""
        with suppress(OSError):
            return sorted(self.path.parent.glob(f"{self.path.name}{_BROKEN}*"))
        return []

    def write(self, state: State) -> None:
        """Have the file say this; it is on the disk then. Raises StateError, and has changed nothing."""
        raw = written(state)
        if len(state.overrides) > MOST:
            raise StateError(f"{MOST} devices have an override already; `hotplugd undo` takes one away")
        try:
            _parsed(self.path, raw)
        except Broken as error:
            raise StateError(f"what the device calls itself cannot be kept: {error}") from error
        there = _content(self.path)
        if there is not None and there != self._known:
            raise StateError(
                f"another program has written {self.path} since it was read: another hotplugd (give each its "
                f"own `state` in its configuration), or whoever put it back; `hotplugd reload` reads it again"
            )
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _replace(self.path, raw)
        except OSError as error:
            raise StateError(f"{self.path} cannot be written: {error.strerror}") from error
        self._known = raw


def written(state: State) -> bytes:
    """The file's content."""
    document = {
        "version": VERSION,
        "overrides": [_override_json(each) for each in state.overrides],
        "leases": leases_json(state.leases),
        "cordons": cordons_json(state.cordons),
    }
    return (json.dumps(document, indent=1) + "\n").encode()


def _override_json(override: Override) -> dict[str, object]:
    to = override.instance
    return {
        "of": asdict(override.of),
        "project": to.project if to is not None else "",
        "instance": to.name if to is not None else "",
        "since": override.since,
        "by": asker_json(override.by),
        "device": override.device,
        "model": override.model,
        "port": override.port,
    }


def _replace(path: Path, raw: bytes) -> None:
    """Put a new file in place of the one that is there, if any: after a crash it is one or the other."""
    new = path.with_name(f"{path.name}.new")
    file = os.open(new, _WRITE, 0o600)
    try:
        left = memoryview(raw)
        while left:
            left = left[os.write(file, left) :]
        os.fsync(file)
    finally:
        os.close(file)
    os.replace(new, path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _content(path: Path) -> bytes | None:
    """What is in the file; None where there is none. Raises StateError."""
    try:
        with open(path, "rb", opener=lambda name, _: os.open(name, _READ)) as stream:
            return stream.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError(f"{path} cannot be read: {error.strerror}") from error


class Broken(StateError):
    """The file's content is not what was written there."""


def _parsed(path: Path, raw: bytes) -> State:
    if len(raw) > _MOST_BYTES:
        raise Broken(f"{path} is larger than the {_MOST_BYTES >> 20} MiB that such a file may have")
    try:
        document = json.loads(raw)
        return _state(document)
    except (ValueError, RecursionError) as error:
        raise Broken(f"{path} is broken: {quoted(str(error))}") from error


def _state(document: object) -> State:
    found = document.get("version") if isinstance(document, dict) else None
    if found != VERSION or isinstance(found, bool):
        raise ValueError(f"expected an object of version {VERSION}, and found {quoted(repr(found))}")
    told = fields(document, {"version", "overrides"}, _LATER)
    return State(
        Overrides.made_of(items(told["overrides"], MOST, "override", _override)),
        leases(told["leases"]) if "leases" in told else NOTHING_KEPT,
        cordons(told["cordons"]) if "cordons" in told else NO_CORDONS,
    )


def _override(found: object) -> Override:
    told = fields(found, {"of", "project", "instance", "since", "by", "device", "model", "port"})
    of = fields(told["of"], set(Lasting.__dataclass_fields__))
    lasting = Lasting(**{key: text(value) for key, value in of.items()})
    if not lasting.identity or not lasting.subsystem:
        raise ValueError("expected `identity` and `subsystem` of a device")
    return Override(
        lasting,
        instance(told["project"], told["instance"]),
        text(told["since"]),
        asker(told["by"]),
        text(told["device"]),
        text(told["model"]),
        text(told["port"]),
    )
