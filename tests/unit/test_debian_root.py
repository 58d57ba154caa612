"""A root of Debian's packages that cannot be made: the error has apt's words, and says what to change."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.lab import debian

_APT_GET = """\
#!/bin/sh
echo http://deb.example/debian bookworm
echo http://deb.example/debian bookworm-updates
"""
_MMDEBSTRAP = """\
#!/bin/sh
echo 'I: installing remaining packages inside the chroot...' >&2
echo 'Reading package lists...' >&2
echo 'E: Unable to locate package incus-gone' >&2
exit 25
"""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """apt-get and mmdebstrap, of which the second finds no package."""
    for name, text in (("apt-get", _APT_GET), ("mmdebstrap", _MMDEBSTRAP)):
        program = tmp_path / name
        program.write_text(text)
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.usefixtures("programs")
def test_what_is_no_longer_on_the_mirror_is_said(tmp_path: Path) -> None:
    wanted = ("udev", "incus-gone/trixie-backports")
    with pytest.raises(SystemExit) as raised:
        debian.bootstrap(tmp_path / "root", "trixie", ["trixie-backports"], wanted, "tests/servers/table.py")
    said = str(raised.value)
    assert "Debian's trixie, trixie-backports with udev incus-gone/trixie-backports" in said
    assert "    E: Unable to locate package incus-gone\n" in said
    assert "change what tests/servers/table.py names" in said
    assert "Reading package lists" not in said
    assert "installing remaining packages" not in said
