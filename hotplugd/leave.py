"""Writes the udev rules that tell the host's software to leave alone what goes into instances."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from hotplugd.rules import RuleSet, leave_alone

# USB devices before libmtp probes them (69-libmtp.rules), others once udevd knows their serial numbers.
_FILES: Final = {"68-hotplugd-leave.rules": True, "90-hotplugd-leave.rules": False}


def write(rules: RuleSet, kept: Iterable[str], folder: Path) -> bool:
    """Write what has changed; udevd finds it by itself, at the next device. Returns whether anything had.

    kept  the syspaths of devices that stay on the host. Raises OSError.
    """
    stays = tuple(kept)
    changed = False
    for name, usb in _FILES.items():
        text = leave_alone(rules, stays, usb=usb)
        path = folder / name
        if path.is_file() and path.read_text("utf-8") == text:
            continue
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        new.write_text(text, "utf-8")
        new.chmod(0o644)
        os.replace(new, path)
        changed = True
    return changed
