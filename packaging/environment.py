"""Makes the Python environment of the Debian package: `python packaging/environment.py ROOT`.

ROOT/usr/lib/hotplugd is a virtual environment of the host's own Python, with what requirements.lock has. One
serves every release: the wheels for one version of Python differ from those for another in their compiled
modules alone, and these have the version in their names, so they lie side by side. Debian's python3-systemd
is linked in, since systemd-python comes as source alone.
"""

from __future__ import annotations

import filecmp
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement

_PROJECT: Final = Path(__file__).resolve().parents[1]
# Debian 12 has the first and Debian 13 the last; debian/control names both ends.
_PYTHONS: Final = ("3.11", "3.12", "3.13")
_DEBIANS_OWN: Final = "systemd-python"
_SYSTEMD: Final = Path("/usr/lib/python3/dist-packages/systemd")
# What the libc of Debian 12 runs.
_PLATFORMS: Final = tuple(f"manylinux{each}" for each in ("_2_36", "_2_34", "_2_28", "_2_17", "2014"))
# What differs from version to version without a meaning, and what programs are compiled from.
_LEFT_OUT: Final = shutil.ignore_patterns(
    "__pycache__", "bin", "RECORD", "WHEEL", "INSTALLER", "REQUESTED", "direct_url.json",
    "*.pyi", "*.pyx", "*.pxd", "*.pxi", "*.c", "*.h", "*.cfg", "_testcapi*",
)  # fmt: skip
_PIP: Final = (sys.executable, "-m", "pip")
_QUIET: Final = ("-qq", "--disable-pip-version-check", "--no-deps")
# Nothing from the caller's surroundings counts, and nothing is written beside the modules.
_SCRIPT: Final = """\
#!/usr/lib/hotplugd/bin/python3 -IB
from hotplugd.cli import main

main()
"""


def main(words: list[str]) -> None:
    """Write the environment below the folder that is named. Raises CalledProcessError, SystemExit."""
    (root,) = words
    home = Path(root, "usr", "lib", "hotplugd")
    packages = home / "site-packages"
    with tempfile.TemporaryDirectory() as folder:
        lock = Path(folder, "lock")
        lock.write_text(_wanted_of_lock((_PROJECT / "requirements.lock").read_text("utf-8")), "utf-8")
        for version in _PYTHONS:
            one = Path(folder, version)
            _install(one, version, lock)
            _merge(one, packages)
        own = Path(folder, "own")
        # setuptools puts what it finds there into the wheel, files that are no more among it.
        shutil.rmtree(_PROJECT / "build" / "lib", ignore_errors=True)
        subprocess.run(
            [*_PIP, "install", *_QUIET, "--no-build-isolation", "--no-compile", f"--target={own}", _PROJECT],
            check=True,
        )
        _merge(own, packages)
    (packages / "systemd").symlink_to(_SYSTEMD)
    (home / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
    for version in _PYTHONS:
        library = home / "lib" / f"python{version}"
        library.mkdir(parents=True)
        (library / "site-packages").symlink_to("../../site-packages")
    (home / "bin").mkdir()
    (home / "bin" / "python3").symlink_to("/usr/bin/python3")
    (home / "bin" / "hotplugd").write_text(_SCRIPT)
    (home / "bin" / "hotplugd").chmod(0o755)


def _needed() -> set[str]:
    """The distributions that hotplugd needs when it runs, by their names in the lock file."""
    found: set[str] = set()
    project = tomllib.loads((_PROJECT / "pyproject.toml").read_text("utf-8"))["project"]
    left: list[list[str]] = [project["dependencies"]]
    while left:
        for one in map(Requirement, left.pop()):
            name = re.sub(r"[-_.]+", "-", one.name).lower()
            applies = one.marker is None or any(
                one.marker.evaluate({"python_version": each, "python_full_version": f"{each}.0", "extra": ""})
                for each in _PYTHONS
            )
            if applies and name not in found and name != _DEBIANS_OWN:
                found.add(name)
                left.append(metadata.requires(name) or [])
    return found


def _wanted_of_lock(text: str) -> str:
    """The requirements of the lock file that are needed, hashes and all."""
    blocks = {block.partition("==")[0]: block for block in re.split(r"(?m)^(?=[a-z0-9])", text)}
    return "".join(blocks[name] for name in sorted(_needed()))


def _install(target: Path, version: str, lock: Path) -> None:
    machine = sysconfig.get_platform().partition("-")[2]
    subprocess.run(
        [
            *_PIP, "install", *_QUIET, "--require-hashes", "--only-binary=:all:", "--no-compile",
            f"--python-version={version}", "--implementation=cp", f"--abi=cp{version.replace('.', '')}",
            "--abi=abi3", "--abi=none", *(f"--platform={each}_{machine}" for each in _PLATFORMS),
            f"--target={target}", f"--requirement={lock}",
        ],
        check=True,
    )  # fmt: skip


def _merge(one: Path, into: Path) -> None:
    """Copy a folder of packages beside what another version of Python has. Raises SystemExit."""

    def copy(source: str, target: str) -> None:
        if Path(target).exists() and not filecmp.cmp(source, target, shallow=False):
            raise SystemExit(
                f"expected {Path(target).relative_to(into)} to be the same for Python {', '.join(_PYTHONS)}, "
                "and it differs: such a package cannot be in one environment for all of them"
            )
        shutil.copyfile(source, target)

    shutil.copytree(one, into, ignore=_LEFT_OUT, copy_function=copy, dirs_exist_ok=True)


if __name__ == "__main__":
    main(sys.argv[1:])
