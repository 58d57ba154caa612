"""Makes a release of what is committed: `python packaging/release.py VERSION [--dry-run]`, by `make release`.

Moves what CHANGELOG.md has as unreleased under the version, sets it in the package, commits, and tags. The
notes are the tag's message and dist/notes-VERSION.md. Nothing leaves this machine.
"""

from __future__ import annotations

import argparse
import datetime as dt
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

_PROJECT: Final = Path(__file__).resolve().parents[1]
_CHANGELOG: Final = "CHANGELOG.md"
_PACKAGE: Final = "hotplugd/__init__.py"
_UNRELEASED: Final = "## [Unreleased]\n"
_VERSION: Final = re.compile(r'(?m)^__version__ = "(.*)"$')


def main(words: list[str]) -> None:
    """Make it, or only say what would be done. Raises SystemExit where it cannot be made."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(":")[0])
    parser.add_argument("version", help="MAJOR.MINOR.PATCH")
    parser.add_argument("--dry-run", action="store_true", help="change nothing, and show the notes")
    options = parser.parse_args(words)
    version, tag = str(options.version), f"v{options.version}"
    changelog = (_PROJECT / _CHANGELOG).read_text("utf-8")
    package = (_PROJECT / _PACKAGE).read_text("utf-8")
    wrong = _wrong(version, tag, _VERSION.findall(package)[0])
    notes = _unreleased(changelog)
    if not notes:
        wrong.append(f"{_CHANGELOG} has nothing below [Unreleased]: write there what users see")
    if wrong:
        raise SystemExit("".join(f"release: {each}\n" for each in wrong).rstrip())
    if options.dry_run:
        sys.stdout.write(f"would commit and tag {tag}, with these notes:\n\n{notes}\n")
        return
    today = dt.datetime.now(dt.UTC).date().isoformat()
    heading = f"{_UNRELEASED}\n## [{version}] - {today}\n"
    (_PROJECT / _CHANGELOG).write_text(changelog.replace(_UNRELEASED, heading, 1), "utf-8")
    (_PROJECT / _PACKAGE).write_text(_VERSION.sub(f'__version__ = "{version}"', package), "utf-8")
    file = _PROJECT / "dist" / f"notes-{version}.md"
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"hotplugd {version}\n\n{notes}\n", "utf-8")
    _git("commit", "--quiet", "--message", f"Release {version}", "--", _CHANGELOG, _PACKAGE)
    # A heading of the notes is no comment.
    _git("tag", "--annotate", "--cleanup=verbatim", "--file", str(file), tag)
    sys.stdout.write(f"{tag} is tagged; its notes are in {file.relative_to(_PROJECT)}\n")


def _wrong(version: str, tag: str, current: str) -> list[str]:
    """Why there can be no release of this version now; empty where there can."""
    found = []
    if not re.fullmatch(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)", version):
        return [f"expected a version like 1.2.3, and found '{version}'"]
    if _git("tag", "--list", tag):
        found.append(f"{tag} is there already; the package is {current}")
    if tuple(map(int, version.split("."))) < tuple(map(int, current.split("."))):
        found.append(f"expected a version after {current}, and found {version}")
    if changed := _git("status", "--porcelain", "--untracked-files=no"):
        found.append(f"expected everything to be committed, and these are not:\n{changed}")
    return found


def _unreleased(changelog: str) -> str:
    """What is below that heading, without it."""
    _, _, rest = changelog.partition(_UNRELEASED)
    return rest.partition("\n## [")[0].strip()


def _git(*words: str) -> str:
    """What git says. Raises SystemExit where it fails."""
    done = subprocess.run(["git", *words], cwd=_PROJECT, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"release: git {words[0]}: {done.stderr.strip()}")
    return str(done.stdout).rstrip()


if __name__ == "__main__":
    main(sys.argv[1:])
