"""The device number of a node, from what stat(2) says of it."""

from __future__ import annotations

import os
import stat

from hotplugd.model.values import Devnum


def devnum_of(status: os.stat_result) -> Devnum | None:
    """The device number of a node; None for what is no device node."""
    if stat.S_ISCHR(status.st_mode):
        return Devnum("char", os.major(status.st_rdev), os.minor(status.st_rdev))
    if stat.S_ISBLK(status.st_mode):
        return Devnum("block", os.major(status.st_rdev), os.minor(status.st_rdev))
    return None
