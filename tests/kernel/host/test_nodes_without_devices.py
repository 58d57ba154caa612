"""Nodes that a program made, and of which the kernel has no device."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from hotplugd.host.sysfs import number_without_device


@pytest.mark.parametrize(("kind", "said"), [(stat.S_IFCHR, "char 195:255"), (stat.S_IFBLK, "block 195:255")])
def test_one_is_told_by_its_number(tmp_path: Path, kind: int, said: str) -> None:
    node = tmp_path / "nvidiactl"
    os.mknod(node, kind | 0o600, os.makedev(195, 255))
    assert number_without_device(str(node)) == said


def test_what_is_a_device_s_node_or_none_is_not_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in ("/dev/null", str(tmp_path), str(tmp_path / "file"), str(tmp_path / "missing"), "/dev/\0"):
        assert number_without_device(path) == ""
