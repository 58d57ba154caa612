"""A release is one command: what it changes, what it refuses, and the package's version before and after."""

from __future__ import annotations

import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
CHANGELOG = """# Changelog

## [Unreleased]

### Added

- A thing.

## [0.9.0] - 2026-01-01

- An older one.
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A small clone of this project, with version 0.9.0 tagged, and a commit since."""
    (tmp_path / "hotplugd").mkdir()
    (tmp_path / "packaging").mkdir()
    (tmp_path / "hotplugd" / "__init__.py").write_text('"""A package."""\n\n__version__ = "0.9.0"\n')
    (tmp_path / ".gitignore").write_text("/dist/\n")
    for name in ("release.py", "deb.py"):
        shutil.copy(PROJECT / "packaging" / name, tmp_path / "packaging")
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    git(tmp_path, "config", "user.name", "A. Person")
    git(tmp_path, "config", "user.email", "person@host.example")
    commit(tmp_path, "first")
    git(tmp_path, "tag", "v0.9.0")
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG)
    commit(tmp_path, "second")
    return tmp_path


def git(clone: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=clone, check=True, capture_output=True, text=True).stdout


def commit(clone: Path, subject: str) -> None:
    git(clone, "add", "--all")
    git(clone, "commit", "--quiet", "--message", subject)


def release(clone: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, clone / "packaging" / "release.py", *words],
        check=False,
        capture_output=True,
        text=True,
    )


def version_of_the_package(clone: Path) -> str:
    words = [sys.executable, "-B", "-c", "import deb; print(deb.version())"]
    done = subprocess.run(words, cwd=clone / "packaging", check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_a_release_sets_the_version_commits_and_tags(clone: Path) -> None:
    assert release(clone, "1.0.0").returncode == 0
    assert "## [Unreleased]\n\n## [1.0.0] - 20" in (clone / "CHANGELOG.md").read_text()
    assert '__version__ = "1.0.0"' in (clone / "hotplugd" / "__init__.py").read_text()
    assert git(clone, "log", "-1", "--format=%s") == "Release 1.0.0\n"
    notes = (clone / "dist" / "notes-1.0.0.md").read_text()
    assert notes == "hotplugd 1.0.0\n\n### Added\n\n- A thing.\n"
    assert git(clone, "tag", "--list", "--format=%(contents)", "v1.0.0").strip() == notes.strip()
    assert git(clone, "status", "--porcelain") == ""


def test_a_dry_run_shows_the_notes_and_changes_nothing(clone: Path) -> None:
    before = git(clone, "rev-parse", "HEAD")
    done = release(clone, "1.0.0", "--dry-run")
    assert (done.returncode, done.stdout.endswith("### Added\n\n- A thing.\n")) == (0, True)
    assert git(clone, "rev-parse", "HEAD") == before
    assert git(clone, "status", "--porcelain", "--ignored") == ""
    assert git(clone, "tag") == "v0.9.0\n"


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("0.9.0", "v0.9.0 is there already"),
        ("0.8.0", "after 0.9.0"),
        ("1.0", "like 1.2.3"),
        ("01.0.0", "like"),
    ],
)
def test_a_version_that_cannot_be_is_refused(clone: Path, version: str, said: str) -> None:
    done = release(clone, version)
    assert done.returncode == 1
    assert said in done.stderr
    assert git(clone, "tag") == "v0.9.0\n"


def test_what_is_not_committed_and_what_has_no_notes_is_refused(clone: Path) -> None:
    (clone / "CHANGELOG.md").write_text(CHANGELOG.replace("### Added\n\n- A thing.\n", ""))
    done = release(clone, "1.0.0")
    assert "nothing below [Unreleased]" in done.stderr
    assert "CHANGELOG.md" in done.stderr.partition("these are not:")[2]


def test_the_packages_version_sorts_between_the_releases(clone: Path) -> None:
    found = [version_of_the_package(clone)]
    assert found[0].startswith("0.9.0+1.g")
    release(clone, "1.0.0")
    found.append(version_of_the_package(clone))
    assert found[1] == "1.0.0"
    git(clone, "tag", "--delete", "v1.0.0")
    found.insert(1, version_of_the_package(clone))
    assert found[1].startswith("1.0.0~3.g")
    for lower, higher in pairwise(found):
        subprocess.run(["dpkg", "--compare-versions", lower, "lt", higher], check=True)
