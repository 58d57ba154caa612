"""What tests of commands share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration without rules, of a daemon that does not run."""
    (tmp_path / "r.yaml").write_text("rules: []\n")
    made = tmp_path / "config.yaml"
    made.write_text(f"rules: {tmp_path / 'r.yaml'}\ncontrol: {tmp_path / 'none.sock'}\n")
    return made
