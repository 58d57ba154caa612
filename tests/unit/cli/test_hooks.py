"""`hotplugd hooks` where its files cannot be had."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from hotplugd.cli.hooks import command


def asked(folder: Path) -> tuple[int, str]:
    (folder / "config.yaml").write_text("server: /nowhere\n")
    done = CliRunner().invoke(command, ["--config", str(folder / "config.yaml")])
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done.exit_code, done.output


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    code, said = asked(tmp_path)
    assert (code, "there is no" in said, "hotplugd-hooks(7)" in said) == (78, True, True)


def test_a_file_that_cannot_be_looked_at_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path, **_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / "hooks.yaml").symlink_to("hooks.yaml")
    code, said = asked(tmp_path)
    assert (code, "hooks.yaml: error: cannot be read" in said) == (78, True)
    monkeypatch.setattr(Path, "stat", refused)
    code, said = asked(tmp_path)
    assert (code, "hooks.yaml: error: cannot be read" in said) == (78, True)
