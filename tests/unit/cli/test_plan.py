"""`hotplugd plan` without devices and a server of its own: what it costs with many devices."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from hotplugd.app import snapshot
from hotplugd.app.snapshot import Fate, Survey
from hotplugd.cli import main
from hotplugd.host import list_once
from hotplugd.model.values import Device, Inside, Instance, InstanceName
from tests.support.devices import box, phone

DEVICES = [phone(number) for number in range(1, 41)]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    async def look(*_: object) -> tuple[dict[InstanceName, Instance], dict[InstanceName, Inside]]:
        return {(there := box()).id: there}, {}

    monkeypatch.setattr(list_once, "listed", lambda _: (DEVICES, []))
    monkeypatch.setattr(snapshot, "_look", look)
    monkeypatch.setattr(snapshot, "find_server", lambda *_: "/nowhere")
    (tmp_path / "r.yaml").write_text("rules: [{name: r, match: {serial: 'R5C00*'}, attach: {to: box}}]\n")
    made = tmp_path / "config.yaml"
    made.write_text(
        f"rules: {tmp_path / 'r.yaml'}\ncontrol: {tmp_path / 'none.sock'}\nstate: {tmp_path / 'state.json'}\n"
    )
    return made


def test_the_changes_are_not_searched_for_each_device(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # With five thousand devices that took five seconds of processor time.
    def search(_: Survey, device: Device) -> Fate:
        raise AssertionError(f"all plans are searched for {device}")

    monkeypatch.setattr(Survey, "of", search)
    done = CliRunner().invoke(main, ["plan", "--json", "--config", str(config)])
    assert done.exception is None, done.exception
    document = json.loads(done.stdout)
    assert len(document["changes"]) == 9
    assert [each["serial"] for each in document["unmatched"]] == [
        f"R5C{number:03}" for number in range(10, 41)
    ]


def test_phones_of_pools_that_nobody_has_are_problems(config: Path) -> None:
    (config.parent / "r.yaml").write_text(
        "pools: {android: {instances: 'job-*'}}\n"
        "rules: [{name: r, match: {serial: 'R5C00*'}, attach: {pool: android}}]\n"
    )
    done = CliRunner().invoke(main, ["plan", "--json", "--config", str(config)])
    assert [each["serial"] for each in json.loads(done.stdout)["unleased"]] == [
        f"R5C{number:03}" for number in range(1, 10)
    ]
    plan = CliRunner().invoke(main, ["plan", "--problems", "--config", str(config)]).stdout
    assert "LEASED TO NOBODY" in plan
    assert "LEASED TO NOBODY" not in CliRunner().invoke(main, ["plan", "--config", str(config)]).stdout
