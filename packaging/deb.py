"""Builds the Debian package: `python packaging/deb.py [--version=VERSION] [--to=FOLDER]`.

The version is Debian's; without one it is that of the tag, or what sorts between two releases. Is built in
build/deb, and is in dist/ then, or in the folder that is named.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import textwrap
from email.utils import formatdate
from pathlib import Path
from typing import Final

_PROJECT: Final = Path(__file__).resolve().parents[1]
_BUILD: Final = _PROJECT / "build" / "deb"
# What a package is made of; not the tests.
_PARTS: Final = (
    "hotplugd", "contrib", "docs", "systemd", "rules", "packaging", "pyproject.toml", "requirements.lock",
    "config.example.yaml", "README.md", "SECURITY.md", "CHANGELOG.md", "LICENSE",
)  # fmt: skip
_IGNORED: Final = shutil.ignore_patterns("__pycache__")


def main(words: list[str]) -> None:
    """Build it, and have lintian look at it. Raises SystemExit, CalledProcessError where either fails."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(".")[0])
    parser.add_argument("--version", default="")
    parser.add_argument("--to", type=Path, default=_PROJECT / "dist")
    options = parser.parse_args(words)
    built = _build(options.version or version())
    subprocess.run(
        ["lintian", "--fail-on=error", "--allow-root", "--suppress-tags=groff-message", built], check=True
    )
    target = Path(options.to)
    target.mkdir(parents=True, exist_ok=True)
    sys.stdout.write(f"{shutil.copy(built, target)}\n")


def _build(version: str) -> Path:
    """The package that was built."""
    shutil.rmtree(_BUILD, ignore_errors=True)
    source = _BUILD / f"hotplugd-{version}"
    source.mkdir(parents=True)
    for name in _PARTS:
        part = _PROJECT / name
        if part.is_dir():
            shutil.copytree(part, source / name, ignore=_IGNORED)
        else:
            shutil.copy(part, source)
    shutil.copytree(_PROJECT / "packaging" / "debian", source / "debian")
    (source / "debian" / "changelog").write_text(_changelog(version), "utf-8")
    # dpkg-deb takes no later time than the changelog's, and leaves an earlier one, which is any in a clone.
    for path in source.rglob("*"):
        os.utime(path)
    environment = os.environ | {"PYTHON": sys.executable, "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}
    command = ["dpkg-buildpackage", "--build=binary", "--no-sign", "--no-check-builddeps"]
    log = _BUILD / "log"
    with log.open("wb") as file:
        done = subprocess.run(command, cwd=source, env=environment, check=False, stdout=file, stderr=file)
    if done.returncode:
        sys.stderr.write(
            "".join(f"{line}\n" for line in log.read_text("utf-8", "replace").splitlines()[-40:])
        )
        raise SystemExit(f"expected a package, and dpkg-buildpackage ended with {done.returncode}: see {log}")
    (built,) = _BUILD.glob("*.deb")
    return built


def version() -> str:
    """That of the package's; before its tag it sorts before it, and after the tag behind it."""
    text = (_PROJECT / "hotplugd" / "__init__.py").read_text("utf-8")
    version: str = re.findall(r'^__version__ = "(.*)"$', text, re.MULTILINE)[0]
    tag = f"v{version}"
    tagged = bool(_git("tag", "--list", tag))
    count = _git("rev-list", "--count", *((f"{tag}..HEAD",) if tagged else ("HEAD",))) or "0"
    if tagged and count == "0":
        return version
    return f"{version}{'+' if tagged else '~'}{count}.g{_git('rev-parse', '--short', 'HEAD') or '0'}"


def _git(*words: str) -> str:
    """What git says; nothing where this is no clone."""
    done = subprocess.run(["git", *words], cwd=_PROJECT, check=False, capture_output=True, text=True)
    return str(done.stdout).strip() if done.returncode == 0 else ""


def _changelog(version: str) -> str:
    """Debian's changelog: the newest part of ours, at the time of the last commit: builds are repeatable."""
    parts = (_PROJECT / "CHANGELOG.md").read_text("utf-8").split("\n## ")
    items = re.findall(r"(?ms)^- (.*?)(?=^- |^#|\Z)", parts[1])
    lines = [
        textwrap.fill(item, 78, initial_indent="  * ", subsequent_indent="    ", break_long_words=False)
        for item in items
    ] or ["  * See CHANGELOG.md."]
    maintainer = re.findall(
        r"(?m)^Maintainer: (.*)$", (_PROJECT / "packaging/debian/control").read_text("utf-8")
    )[0]
    text = "\n".join(lines)
    when = formatdate(float(_git("log", "-1", "--format=%ct") or 0))
    return f"hotplugd ({version}) unstable; urgency=medium\n\n{text}\n\n -- {maintainer}  {when}\n"


if __name__ == "__main__":
    main(sys.argv[1:])
