"""Which files of the host go into instances: root's alone, and no links."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hotplugd.host.trusted_files import MOST_BYTES, read_trusted

pytestmark = pytest.mark.usefixtures("root")


@pytest.fixture
def key(tmp_path: Path) -> Path:
    made = tmp_path / "hotplugd" / "adbkey"
    made.parent.mkdir(mode=0o755)
    made.write_bytes(b"secret")
    made.chmod(0o600)
    return made


def refused(path: Path, why: str) -> None:
    with pytest.raises(OSError, match=why):
        read_trusted(str(path))


def test_a_file_of_roots_is_read(key: Path) -> None:
    assert read_trusted(str(key)) == b"secret"


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_one_that_others_may_write_is_refused(key: Path, mode: int) -> None:
    key.chmod(mode)
    refused(key, f"{key} may be written by others than root: `chmod go-w")


def test_one_of_another_user_is_refused(key: Path) -> None:
    os.chown(key, 12345, 0)
    refused(key, f"{key} belongs to user 12345, and has to be root's")


def test_one_in_a_folder_that_others_may_write_or_own_is_refused(key: Path) -> None:
    key.parent.chmod(0o777)
    refused(key, f"{key.parent} may be written by others")
    key.parent.chmod(0o755)
    os.chown(key.parent, 12345, 0)
    refused(key, f"{key.parent} belongs to user 12345")


def test_no_link_is_followed_at_the_end_or_on_the_way(key: Path) -> None:
    link = key.with_name("link")
    link.symlink_to(key)
    refused(link, "cannot be opened, or is a link")
    way = key.parent.with_name("way")
    way.symlink_to(key.parent)
    refused(way / "adbkey", "is no folder, or a link to one")


def test_what_is_no_file_is_not_waited_for(key: Path) -> None:
    pipe = key.with_name("pipe")
    os.mkfifo(pipe, 0o600)
    refused(pipe, "is no file")
    refused(key.parent, "is no file")
    refused(key.with_name("none"), "No such file")


def test_a_large_one_is_refused(key: Path) -> None:
    key.write_bytes(b"x" * MOST_BYTES)
    assert len(read_trusted(str(key))) == MOST_BYTES
    key.write_bytes(b"x" * (MOST_BYTES + 1))
    refused(key, "larger than 64 KB")
