"""The Debian package, built from this clone once for each change of it, and an older version of the same."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Final

from tests.support.lab import debian
from tests.support.lab.debian import PROJECT

# What nothing in it goes by, and what is made by others beside it.
_IGNORED: Final = ("__pycache__",)
VERSION: Final = "1.0.1~test"
OLDER: Final = "1.0.0~test"


@cache
def packages() -> tuple[Path, Path]:
    """The package, and the one that it updates. Raises CalledProcessError, SystemExit."""
    names = ("hotplugd", "contrib", "docs", "systemd", "rules", "packaging")
    single = (
        "pyproject.toml",
        "requirements.lock",
        "config.example.yaml",
        "CHANGELOG.md",
        "README.md",
        "SECURITY.md",
    )
    files = [path for name in names for path in sorted((PROJECT / name).rglob("*"))]
    files += [PROJECT / each for each in single]
    made_from = [
        part
        for path in files
        if path.is_file() and not any(each in path.parts for each in _IGNORED)
        for part in (str(path.relative_to(PROJECT)).encode(), path.read_bytes())
    ]
    folder = debian.kept("deb", [Path(__file__).read_bytes(), *made_from], _build)
    return next(folder.glob(f"*_{VERSION}_*.deb")), next(folder.glob(f"*_{OLDER}_*.deb"))


def _build(folder: Path) -> None:
    command = (sys.executable, PROJECT / "packaging" / "deb.py", f"--version={VERSION}", f"--to={folder}")
    # What it says is seen where it fails.
    done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise AssertionError(f"the package cannot be built: {done.stdout}{done.stderr}")
    (newer,) = folder.glob("*.deb")
    tree = folder / "tree"
    debian.run("dpkg-deb", "--raw-extract", newer, tree)
    control = tree / "DEBIAN" / "control"
    control.write_text(control.read_text().replace(f"Version: {VERSION}\n", f"Version: {OLDER}\n"))
    # Something that the update changes, and something that it takes away.
    changed = tree / "usr/lib/hotplugd/site-packages/hotplugd/__init__.py"
    changed.write_text(changed.read_text().replace("__version__ = ", '__version__ = "0.0.1"  # '))
    (changed.parent / "gone.py").write_text('"""Was in the older version alone."""\n')
    debian.run(
        "dpkg-deb",
        "-Zgzip",
        "-z1",
        "--root-owner-group",
        "--build",
        tree,
        folder / newer.name.replace(VERSION, OLDER),
    )
    debian.run("rm", "-rf", tree)
