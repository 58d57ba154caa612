"""`hotplugd devices` with devices that are made up: what is left out."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from hotplugd.cli import main
from hotplugd.host import list_once
from hotplugd.plan.guard_rails import is_hub
from tests.support.devices import phone

TAKEN, FREE = phone(1), phone(2)
HUB = replace(
    phone(3), attrs={**phone(3).attrs, "bDeviceClass": "09"}, properties={"ID_USB_INTERFACES": ":090000:"}
)


@pytest.fixture
def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """The kernel's names of what is listed."""
    monkeypatch.setattr(list_once, "listed", lambda _: ([HUB, FREE, TAKEN], []))
    (tmp_path / "r.yaml").write_text("rules: [{name: r, match: {serial: R5C001}, attach: {to: box}}]\n")
    config = tmp_path / "config.yaml"
    config.write_text(
        f"rules: {tmp_path / 'r.yaml'}\ncontrol: {tmp_path / 'none.sock'}\nstate: {tmp_path / 'state.json'}\n"
    )

    def devices(*words: str) -> list[str]:
        done = CliRunner().invoke(main, ["devices", *words, "--json", "--config", str(config)])
        assert done.exit_code == 0, done.output
        return [each["kernel"] for each in json.loads(done.stdout)]

    return devices


def test_hubs_are_nothing_that_a_rule_has_yet_to_take(shown: Callable[..., list[str]]) -> None:
    assert is_hub(HUB)
    assert shown() == ["1-1", "1-2", "1-3"]
    assert shown("--unmatched") == ["1-2"]
    assert shown("--unmatched", "--all") == ["1-2", "1-3"]
