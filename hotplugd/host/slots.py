"""Below /dev/hotplugd: a few links for each enumeration of each device that is attached, and notes.

The links go after the device: we take them away, or our udev rule while no daemon runs.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from hotplugd.host.sysfs import boot, names
from hotplugd.model.devnum import devnum_of
from hotplugd.model.entry import (
    SLOTS,
    is_link,
    mark_for,
    read,
    slot_links,
    slot_made,
    slot_node,
    slot_of_file,
    written,
)
from hotplugd.model.values import Device, Entry, InstanceName, Link

_LOCK: Final = ".lock-"
_LINK: Final = ("target", "entry")
_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
_SAME: Final = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_OWN: Final = _SAME | os.O_TRUNC


class AlreadyRunning(Exception):
    """Another hotplugd on this host looks after the same server."""


class SlotError(OSError):
    """A slot's link exists and means something else."""


class Notes:
    """What is put into the instances of one server, and what may be left of it: a file for each instance,
    beside the links, so that it is gone after a boot, as what is inside is.
    """

    def __init__(self, server: str) -> None:
        self._start = f".adding-{_of(server)}-"
        self._before: dict[InstanceName, dict[str, Entry]] = {}

    def read(self) -> None:
        """Read what there is from before. Raises OSError. What is broken was not followed by a request."""
        for name, found in _read(self._start, "entries").items():
            self._before[name] = {
                key: read(key, config) for key, config in found.items() if isinstance(config, dict)
            }

    def names(self) -> list[InstanceName]:
        """See `tools.Notes`."""
        return list(self._before)

    def take(self, name: InstanceName) -> Mapping[str, Entry]:
        """See `tools.Notes`."""
        return self._before.pop(name, {})

    def note(self, name: InstanceName, entries: Sequence[Entry]) -> None:
        """See `tools.Notes`. Without room for a note a device goes in all the same."""
        _write(self._start, name, "entries", {each.name: written(each) for each in entries})


class Links:
    """The links inside the instances of one server, noted in the same way."""

    def __init__(self, server: str) -> None:
        self._start = f".links-{_of(server)}-"
        self._before: dict[InstanceName, dict[str, Link]] = {}

    def read(self) -> None:
        """Read what there is from before. Raises OSError."""
        for name, found in _read(self._start, "links").items():
            self._before[name] = {
                path: Link(str(each[0]), str(each[1]))
                for path, each in found.items()
                if is_link(path) and isinstance(each, list) and len(each) == len(_LINK)
            }

    def names(self) -> list[InstanceName]:
        """See `tools.Links`."""
        return list(self._before)

    def take(self, name: InstanceName) -> Mapping[str, Link]:
        """See `tools.Links`."""
        return self._before.pop(name, {})

    def note(self, name: InstanceName, links: Mapping[str, Link]) -> None:
        """See `tools.Links`. Without room for a note a link is made all the same."""
        _write(self._start, name, "links", {path: [each.target, each.entry] for path, each in links.items()})


def _read(start: str, what: str) -> dict[InstanceName, dict[str, object]]:
    """What the files that begin so say of each instance. What is broken goes. Raises OSError."""
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
    """Have the instance's file say this and nothing else; no file where there is nothing to say."""
    path = f"{SLOTS}/{start}{_short(mark_for(name))}"
    new = f"{SLOTS}/.new-{start[1:]}{_short(mark_for(name))}"
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


class Slots:
    """Makes and removes links in /dev/hotplugd, which is made where it is missing.

    A server watches the two links that entries name. When one comes or goes it puts the node in or takes it
    out. While an instance stops that never ends, nor does the stop: each waits for the other (measured, LXD
    5.0.2 to Incus 7). It does not see a rename, nor what is behind a link. So the two come by a rename, lead
    to a third link that goes with the device, and go themselves once no entry names them.
    """

    def __init__(self) -> None:
        # Locked, each shared with other hotplugds: our udev rule removes the links only where nobody has it.
        self._held: dict[str, int] = {}

    def make(self, device: Device) -> None:
        """Make the device's links, or see that they are right, and keep the udev rule from removing them.

        Raises SlotError where a link of that name leads to another device, else OSError.
        """
        try:
            _link(device)
        except FileNotFoundError:
            Path(SLOTS).mkdir(mode=0o755, exist_ok=True)
            _link(device)
        # After the links: a mark without is swept away by another hotplugd, for another server.
        self._mark(device.slot)

    def hold(self, slot: str) -> None:
        """Keep the udev rule from removing the links of a slot that there is. Raises OSError."""
        with suppress(FileNotFoundError):
            self._keep(slot, os.open(slot_made(slot), _READ))

    def cut(self, slot: str) -> None:
        """Have a slot's links lead nowhere from now on, without the server seeing it. Raises OSError.

        Otherwise they would lead to the next device that has the node's name.
        """
        node = slot_node(slot)
        with suppress(FileNotFoundError):
            os.unlink(node)
        for link in slot_links(slot):
            # An earlier version's lead to the device's node by themselves.
            with suppress(FileNotFoundError):
                if os.readlink(link) != node:
                    _put(link, node)

    def remove(self, slot: str) -> None:
        """Take away the links of a slot that no entry names any more. Raises OSError.

        Where another hotplugd may have entries that name them it does so.
        """
        file = self._held.pop(slot, None)
        try:
            if file is None:
                with suppress(FileNotFoundError):
                    file = os.open(slot_made(slot), _READ)
            if file is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for path in (slot_node(slot), *slot_links(slot), slot_made(slot)):
                with suppress(FileNotFoundError):
                    os.unlink(path)
        except BlockingIOError:
            return
        finally:
            if file is not None:
                os.close(file)

    def names(self) -> set[str]:
        """The slots of which there is a link or a mark. Raises OSError."""
        return {slot for path in os.scandir(SLOTS) if (slot := slot_of_file(path.name, boot()))}

    def leads_nowhere(self, slot: str) -> bool:
        """Whether the slot's device is gone, and no other has its node."""
        return not any(os.path.exists(link) for link in (*slot_links(slot), slot_node(slot)))

    def close(self) -> None:
        """Leave the links to the udev rule."""
        for file in self._held.values():
            os.close(file)
        self._held.clear()

    def _mark(self, slot: str) -> None:
        """Say what the slot's links are called, as our udev rule imports it: at any time, so none is cut."""
        file = os.open(slot_made(slot), _SAME, 0o600)
        try:
            os.write(file, f"HOTPLUGD_LINK={slot}\n".encode("ascii"))
        except OSError:
            os.close(file)
            raise
        self._keep(slot, file)

    def _keep(self, slot: str, file: int) -> None:
        """Have a lock on the slot's mark, which this descriptor is of."""
        held = self._held.get(slot)
        if held is not None and os.path.sameopenfile(held, file):
            os.close(file)
            return
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            os.close(file)
            if isinstance(error, BlockingIOError):
                raise SlotError(f"{slot_made(slot)} is locked: its links are about to go") from None
            raise
        if held is not None:
            os.close(held)
        self._held[slot] = file


def _link(device: Device) -> None:
    node, made = slot_node(device.slot), set[str]()
    with suppress(FileExistsError):
        os.symlink(device.node, node)
        made.add(node)
    for link in slot_links(device.slot):
        if not os.path.lexists(link):
            _put(link, node)
            if node in made:
                made.add(link)
    for link in (*slot_links(device.slot), node):
        if link not in made and (found := devnum_of(os.stat(link))) != device.devnum:
            raise SlotError(f"{link} should lead to {device.devnum} and leads to {found}")


def _put(link: str, target: str) -> None:
    """Have a link lead there, by a rename."""
    new = f"{SLOTS}/.new-{os.getpid()}"
    with suppress(FileNotFoundError):
        os.unlink(new)
    os.symlink(target, new)
    os.rename(new, link)


def is_alone(server: str) -> bool:
    """Whether no hotplugd looks after another server on this host. Raises OSError."""
    for name in names(SLOTS):
        if name.startswith(_LOCK) and name != _LOCK + _of(server):
            with suppress(FileNotFoundError), Path(SLOTS, name).open("rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return False
    return True


def _of(server: str) -> str:
    """What is in the names of a server's files, however its socket is reached."""
    return _short(os.path.realpath(server) if server.startswith("/") else server)


def _short(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


@contextmanager
def lock(server: str) -> Iterator[None]:
    """Be the one hotplugd on this host for `server` (an address) for as long as the context lasts.

    The lock is the kernel's and goes with the process.
    Raises AlreadyRunning, or OSError where /dev cannot be written.
    """
    descriptor = _lock_file(server)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(
                f"another hotplugd on this host looks after {server} already; `hotplugd status` speaks to it"
            ) from None
        if not _is_there(server, descriptor):
            # Who had it took it away with everything else, between our two calls.
            os.close(descriptor)
            descriptor = _lock_file(server)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _lock_file(server: str) -> int:
    Path(SLOTS).mkdir(mode=0o755, exist_ok=True)
    path = Path(SLOTS, _LOCK + _of(server))
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _is_there(server: str, descriptor: int) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), os.lstat(Path(SLOTS, _LOCK + _of(server))))
    return False


def was_alone(server: str) -> bool:
    """Whether no hotplugd has looked after another server on this host since it was started."""
    return all(name == _LOCK + _of(server) for name in names(SLOTS) if name.startswith(_LOCK))


def leave_nothing(server: str, slots: Iterable[str], *, alone: bool) -> None:
    """Take away what is in /dev/hotplugd of one server, whose lock is held, and the folder where it is empty.

    slots  those that its entries named
    alone  whether no entry of another names any: then all slots go
    Raises OSError.
    """
    links = Slots()
    for slot in links.names() if alone else set(slots):
        links.remove(slot)
    own = _of(server)
    starts = tuple(f".{new}{what}-{own}-" for new in ("", "new-") for what in ("adding", "links"))
    for name in names(SLOTS):
        if name.startswith(starts):
            Path(SLOTS, name).unlink(missing_ok=True)
    Path(SLOTS, _LOCK + own).unlink(missing_ok=True)
    with suppress(OSError):  # there is something of another's
        os.rmdir(SLOTS)
