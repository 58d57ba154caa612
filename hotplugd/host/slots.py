"""The links below /dev/hotplugd: a few for each enumeration of each device that is attached.

The links go after the device: we take them away, or our udev rule while no daemon runs.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from hotplugd.host.sysfs import boot
from hotplugd.model.devnum import devnum_of
from hotplugd.model.entry import SLOTS, slot_links, slot_made, slot_node, slot_of_file
from hotplugd.model.values import Device

_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
# The content of the file beside a slot's links of a device that one instance has alone.
_ALONE: Final = "HOTPLUGD_ALONE=1\n"
_LONGEST_MARK: Final = 1024
_SAME: Final = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


class SlotError(OSError):
    """A slot's link exists and means something else."""


class Slots:
    """Makes and removes links in /dev/hotplugd, which is made where it is missing.

    A server watches the two links that entries name, and adds or removes the node when one appears or
    disappears. If that happens while the instance stops, both wait for each other for ever (measured, LXD
    5.0.2 to Incus 7). The server does not notice a rename, nor changes behind a link. So the two links are
    made by a rename and lead to a third link, which is removed with the device; the two are removed once no
    entry names them.
    """

    def __init__(self) -> None:
        # Locked, each shared with other hotplugds: our udev rule removes the links of unlocked ones alone.
        self._held: dict[str, int] = {}

    def make(self, device: Device, *, alone: bool = False) -> None:
        """Make the device's links, or see that they are right, and keep the udev rule from removing them.

        alone  whether one instance has the device alone: that stays known for as long as the links exist

        Raises SlotError where a link of that name leads to another device, else OSError.
        """
        try:
            _link(device)
        except FileNotFoundError:
            Path(SLOTS).mkdir(mode=0o755, exist_ok=True)
            _link(device)
        # After the links: another hotplugd would remove a mark without links.
        self._mark(device.slot, alone=alone)

    def hold(self, slot: str) -> None:
        """Keep the udev rule from removing the links of a slot that there is. Raises OSError."""
        with suppress(FileNotFoundError):
            self._keep(slot, os.open(slot_made(slot), _READ))

    def cut(self, slot: str) -> None:
        """Make a slot's links lead nowhere, which the server does not notice. Raises OSError.

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

    def was_made(self, slot: str) -> bool:
        """Whether there are links of this slot: the device was attached since it was plugged in."""
        return os.path.lexists(slot_node(slot))

    def was_alone(self, slot: str) -> bool:
        """Whether one instance had the device alone, at any time since it was plugged in."""
        try:
            with open(slot_made(slot), encoding="ascii", opener=_opened) as file:
                return _ALONE in file.read(_LONGEST_MARK)
        except (OSError, UnicodeDecodeError):
            return False

    def remove(self, slot: str) -> bool:
        """Remove the links of a slot that no entry names any more. Raises OSError.

        Returns whether they are removed. If another hotplugd has locked the slot, they stay: that one removes
        them, unless it ends before.
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
            return False
        finally:
            if file is not None:
                os.close(file)
        return True

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

    def _mark(self, slot: str, *, alone: bool) -> None:
        """Say what the slot's links are called, as our udev rule imports it: at any time, so none is cut.

        What a longer mark says beyond this one stays.
        """
        file = os.open(slot_made(slot), _SAME, 0o600)
        try:
            os.write(file, f"HOTPLUGD_LINK={slot}\n{_ALONE if alone else ''}".encode("ascii"))
        except OSError:
            os.close(file)
            raise
        self._keep(slot, file)

    def _keep(self, slot: str, file: int) -> None:
        """Lock the slot's mark by this descriptor of it."""
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


def _opened(path: str, _: int) -> int:
    return os.open(path, _READ)


def _put(link: str, target: str) -> None:
    """Have a link lead there, by a rename."""
    new = f"{SLOTS}/.new-{os.getpid()}"
    with suppress(FileNotFoundError):
        os.unlink(new)
    os.symlink(target, new)
    os.rename(new, link)
