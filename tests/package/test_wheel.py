"""The wheel, by pip and by Debian's pipx."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.lab.debian import PROJECT

pytestmark = [pytest.mark.timeout(600), pytest.mark.alone]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    words = ("wheel", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation")
    run(sys.executable, "-m", "pip", *words, f"--wheel-dir={folder}", PROJECT)
    (built,) = folder.glob("hotplugd-*.whl")
    return built


def run(*words: str | Path, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        words,
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd="/",
        env={**os.environ, **(environment or {})},
    )
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


def works(program: Path) -> None:
    """The program is whole: its files are there, and what it needs."""
    assert run(program, "--version").startswith("hotplugd, version ")
    assert run(program, "schema", "config").startswith("{")
    assert run(program, "check", PROJECT / "rules" / "50-phones.yaml").endswith("no errors\n")
    words = "import hotplugd.app.daemon, hotplugd.rulefile as r; from pathlib import Path; "
    words += "print(Path(r.__file__).with_name('rules.schema.json').is_file())"
    assert run(program.resolve().with_name("python"), "-I", "-c", words) == "True\n"
    words = "from importlib.resources import files; from hotplugd.web.page_routes import FILES; "
    words += "print(all((files('hotplugd.web') / 'static' / each).is_file() for each in FILES.values()))"
    assert run(program.resolve().with_name("python"), "-I", "-c", words) == "True\n"


def test_pip_installs_the_wheel_with_what_it_needs(wheel: Path, tmp_path: Path) -> None:
    run("/usr/bin/python3", "-m", "venv", tmp_path / "venv")
    run(tmp_path / "venv" / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", wheel)
    works(tmp_path / "venv" / "bin" / "hotplugd")


def test_pipx_installs_the_wheel(wheel: Path, tmp_path: Path) -> None:
    places = {"PIPX_HOME": str(tmp_path / "home"), "PIPX_BIN_DIR": str(tmp_path / "bin")}
    run("/usr/bin/pipx", "install", wheel, environment=places)
    works(tmp_path / "bin" / "hotplugd")
    run("/usr/bin/pipx", "uninstall", "hotplugd", environment=places)
    assert list((tmp_path / "bin").iterdir()) == []
