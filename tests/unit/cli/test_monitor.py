"""`hotplugd monitor` where the files have errors: events are told all the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from hotplugd.app import control_client
from hotplugd.cli import main


def test_errors_in_the_configuration_keep_no_event_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = {"event": "device.add", "level": "info", "device": "/dev/ttyUSB0"}
    pages = iter([{"events": [event], "cursor": "1a2b3c4d-1", "more": False, "lost": False}])

    def get(path: Path, *_: object, **__: object) -> dict[str, object]:
        assert path == tmp_path / "none.sock"
        try:
            return next(pages)
        except StopIteration:
            raise KeyboardInterrupt from None

    monkeypatch.setattr(control_client, "get", get)
    config = tmp_path / "config.yaml"
    config.write_text(f"rules: []\ncontrol: {tmp_path / 'none.sock'}\nmost_plugs: many\n")
    done = CliRunner().invoke(main, ["monitor", "--all", "--config", str(config)])
    assert done.exit_code == 0, done.output
    assert "'many' is no number" in done.stderr
    assert "device.add        /dev/ttyUSB0" in done.stdout
