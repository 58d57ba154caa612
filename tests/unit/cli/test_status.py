"""`hotplugd status` where no daemon runs: why it cannot start, where its files say so."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hotplugd.app import control_client
from hotplugd.cli import main


def status(config: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["status", *words, "--config", str(config)])


@pytest.mark.parametrize("words", [(), ("--json",), ("--rules",)])
def test_a_daemon_that_does_not_run_is_told_with_what_to_do(config: Path, words: tuple[str, ...]) -> None:
    done = status(config, *words)
    assert (done.exit_code, done.stdout) == (3, "")
    assert done.stderr == (
        f"hotplugd: hotplugd is not running (nobody answers on {config.parent}/none.sock); what is attached "
        f"stays attached; `systemctl status hotplugd` says why it ended\n"
    )


def test_files_with_errors_are_why_it_cannot_start(config: Path) -> None:
    (config.parent / "r.yaml").write_text("rules: [{}]\n")
    done = status(config)
    assert done.exit_code == 3
    assert done.stderr.splitlines()[1] == (
        f"  it cannot start: 1 error in its files, the first {config.parent}/r.yaml:1:9: "
        f"a rule needs `name` and `match`; `hotplugd check` shows all"
    )


@pytest.mark.parametrize("connected", [False, True])
def test_a_server_is_said_to_be_away_only_while_it_is(
    config: Path, monkeypatch: pytest.MonkeyPatch, *, connected: bool
) -> None:
    server = {"address": "/run/lxd.socket", "software": "lxd", "version": "5.0.2", "connected": connected}
    answer = {
        "ready": True, "server": server, "rules": 1, "devices": 2, "attachments": [], "pending": [],
        "problems": [],
    }  # fmt: skip
    monkeypatch.setattr(control_client, "get", lambda *_: answer)
    done = status(config)
    assert done.exit_code == 0
    assert done.stdout == (
        f"ready; 0 attached, 0 pending, 0 problems; 1 rule, 2 devices; lxd 5.0.2 /run/lxd.socket"
        f"{'' if connected else ' (away)'}\n"
    )


@pytest.mark.parametrize("mode", ["0660", ""])
def test_link_mode_and_owner_are_shown_where_a_rule_says_them(
    config: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    place = {
        "device": "/dev/ttyUSB0", "identity": "serial:A", "serial": "A", "model": "", "port": "",
        "location": "",
        "rule": "r", "project": "default", "instance": "box", "path": "/dev/x", "since": "", "verified": True,
        "pool": "", "claim": "", "by_hand": False, "link": "", "mode": mode, "owner": "5:" if mode else "",
    }  # fmt: skip
    answer = {
        "ready": True, "rules": 1, "devices": 1, "attachments": [place], "pending": [], "problems": [],
        "server": {"address": "", "software": "lxd", "version": "", "connected": True},
    }  # fmt: skip
    monkeypatch.setattr(control_client, "get", lambda *_: answer)
    head, row, *_ = status(config).stdout.splitlines()
    assert head.split()[-3:] == (["VERIFIED", "MODE", "OWNER"] if mode else ["PATH", "SINCE", "VERIFIED"])
    assert row.split()[-3:] == (["yes", "0660", "5"] if mode else ["box", "/dev/x", "yes"])
