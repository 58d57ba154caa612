"""Who has a device's node open, by the files of this process."""

from __future__ import annotations

import os

from hotplugd.host.open_files import holders
from hotplugd.model.values import Devnum

ZERO = Devnum("char", 1, 5)  # /dev/zero: Documentation/admin-guide/devices.txt


def test_a_node_that_is_held_by_its_path_alone_is_not_open() -> None:
    path = os.open("/dev/zero", os.O_PATH | os.O_CLOEXEC)
    try:
        assert os.getpid() not in [each.pid for each in holders(ZERO)]
        node = os.open("/dev/zero", os.O_RDONLY | os.O_CLOEXEC)
        try:
            assert os.getpid() in [each.pid for each in holders(ZERO)]
        finally:
            os.close(node)
    finally:
        os.close(path)
