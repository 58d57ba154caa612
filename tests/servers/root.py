"""The root that a server and its tests run in: Debian's packages, and Python's from the lock files."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.servers.table import Row
from tests.support.lab import debian

PYTHON: Final = f"{debian.VENV}/bin/python"
# Where the project is in it.
PROJECT: Final = "/opt/project"
_PACKAGES: Final = (
    "systemd", "udev", "kmod", "util-linux", "util-linux-extra", "procps", "iproute2", "openssl",
    "libseccomp2", "python3", "python3-venv", "python3-systemd", "busybox-static", "umockdev",
    "libusb-1.0-0",
)  # fmt: skip
# What of the development lock runs the tests.
_WHEELS: Final = (
    "pytest", "pytest-timeout", "pytest-xdist", "execnet", "iniconfig", "pluggy", "packaging", "pygments",
    "hypothesis", "sortedcontainers",
)  # fmt: skip
_COMMAND: Final = f"""\
#!{PYTHON}
from hotplugd.cli import main

main()
"""
_TABLE: Final = "tests/servers/table.py"
_HOSTS: Final = "127.0.0.1 localhost\n::1 localhost\n"


def root(row: Row) -> Path:
    """The root for a server, which nobody may change. It is built where it is missing."""
    made_from = (
        repr((row, _PACKAGES)).encode(),
        *(each.read_bytes() for each in (Path(__file__), Path(debian.__file__), *debian.LOCKS)),
    )
    return debian.kept("servers", made_from, lambda folder: _build(folder, row)) / "root"


def versions(tree: Path, row: Row) -> str:
    """What a root has, for a person."""
    names = (*(each.partition("/")[0] for each in row.packages), "python3", "udev")
    found = debian.lines("chroot", tree, "dpkg-query", "-W", "-f=${Package} ${Version}\n", *names)
    return f"Debian's {row.release}: {', '.join(found)}"


def _build(folder: Path, row: Row) -> None:
    tree = folder / "root"
    print(f"servers: Debian's {row.release}, with {' '.join(row.packages)}", flush=True)
    debian.bootstrap(tree, row.release, row.suites, (*_PACKAGES, *row.packages), _TABLE)
    print("servers: Python's packages", flush=True)
    debian.install_wheels(tree, _WHEELS)
    site = next((tree / debian.VENV[1:] / "lib").glob("python3.*/site-packages"))
    (site / "project.pth").write_text(f"{PROJECT}\n")
    command = Path(tree, PYTHON[1:]).with_name("hotplugd")
    command.write_text(_COMMAND)
    command.chmod(0o755)
    (tree / "etc" / "hosts").write_text(_HOSTS)
    (tree / PROJECT[1:]).mkdir()
