"""`python -m tests.kernel.udev.usb_ids`, in a mount namespace of its own.

Prints what udev's usb_id says of each device of tests/support/recorded_usb.jsonl: a list, one object of
properties a device. /sys is a folder with the kernel's side of the device. systemd looks whether it is sysfs,
unless it is told not to (systemd: docs/ENVIRONMENT.md).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.support.recorded_usb import RECORDED
from tests.support.sysfs_tree import Tree

_NOT_SYSFS = {**os.environ, "SYSTEMD_DEVICE_VERIFY_SYSFS": "0"}


def main() -> None:
    """Ask for all of them."""
    found = []
    for each in RECORDED:
        subprocess.run(["mount", "-t", "tmpfs", "none", "/sys"], check=True)
        syspath = each.add(Tree(Path("/sys")))
        words = ["udevadm", "test-builtin", "usb_id", syspath]
        said = subprocess.run(words, check=True, capture_output=True, env=_NOT_SYSFS).stdout
        lines = os.fsdecode(said).splitlines()
        found.append(dict(line.split("=", 1) for line in lines if "=" in line))
        subprocess.run(["umount", "/sys"], check=True)
    json.dump(found, sys.stdout)


main()
