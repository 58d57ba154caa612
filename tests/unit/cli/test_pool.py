"""`hotplugd pool` and `hotplugd lease list`, by what a daemon answers."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hotplugd.app import control_client
from hotplugd.app.pool_documents import pools_json, unleased_json
from hotplugd.cli import main
from hotplugd.model.asker import Asker
from hotplugd.model.values import InstanceName
from hotplugd.plan.desired import judged
from hotplugd.pools.cordons import NO_CORDONS, Cordon, Cordons
from hotplugd.pools.leasing import Leasing
from hotplugd.rulefile.load import parse
from tests.support.devices import box, phone

RULES = parse(
    "pools: {android: {instances: '*', expect: 3}, empty: {instances: '*'}}\n"
    "rules: [{name: phones, match: {vendor_id: 18d1}, attach: {pool: android}}]",
    "x",
).rules


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a daemon with two phones, and three instances that claim some."""
    leasing = Leasing(RULES)
    phones = [phone(1), phone(2)]
    for device in phones:
        leasing.judged(judged(RULES, device, lambda _: False))
    for number, text in enumerate(("android", "android count=2", "android serial=X")):
        instance = replace(box(name=f"job-{number}"), claims={"phone": text}, created=str(number))
        leasing.learned(InstanceName("default", f"job-{number}"), instance)
    leasing.settle(lambda _: ())
    document = pools_json(leasing, {phones[0].node: "2026-11-27T18:00:00.000+00:00"})
    monkeypatch.setattr(control_client, "get", lambda *_: document)
    (tmp_path / "config.yaml").write_text(f"control: {tmp_path / 'none.sock'}\n")
    return tmp_path / "config.yaml"


def run(config: Path, *words: str) -> Result:
    return CliRunner().invoke(main, [*words, "--config", str(config)])


@pytest.fixture
def an_hour_ahead() -> Iterator[None]:
    """The local zone is UTC+1, which TZ counts the other way (tzset(3))."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "CET-1")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("an_hour_ahead")
def test_a_pool_is_shown_with_its_devices_and_who_waits_why(config: Path) -> None:
    done = run(config, "pool", "android")
    assert done.exit_code == 1
    head, columns, *rows = done.stdout.splitlines()
    assert head == "android: 2 of 3 devices, 1 leased, 1 free; 3 claims, 2 not met"
    assert columns.split()[:2] == ["DEVICE", "SERIAL"]
    assert rows[0].split()[:1] == [phone(1).node]
    assert "leased" in rows[0]
    assert "job-0" in rows[0]
    assert "2026-11-27 19:00:00 +0100" in rows[0]
    assert rows[2:] == [
        "job-1: claim 'phone' is waiting: 2 devices of pool 'android', of which 1 is free, and it lacks 2",
        "job-2: claim 'phone' is unsatisfiable: none of the devices of pool 'android' is one with serial=X",
    ]


def test_a_pool_of_another_name_is_not_there(config: Path) -> None:
    done = run(config, "pool", "androd")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "hotplugd: there is no pool 'androd'; did you mean 'android'?\n"


def test_pools_as_json(config: Path) -> None:
    pools = json.loads(run(config, "pool", "--json").stdout)["pools"]
    assert [pool["name"] for pool in pools] == ["android", "empty"]
    assert [claim["state"] for claim in pools[0]["claims"]] == ["bound", "waiting", "unsatisfiable"]


def test_leases_are_listed(config: Path) -> None:
    done = run(config, "lease", "list")
    assert done.exit_code == 0
    _, row, count = done.stdout.splitlines()
    assert row.split()[:2] == ["android", phone(1).node]
    assert count == "1 lease"
    (lease,) = json.loads(run(config, "lease", "list", "--json").stdout)["leases"]
    assert (lease["instance"], lease["claim"]) == ("job-0", "phone")


def test_a_pool_of_one_that_should_have_more(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (pool, _) = json.loads(run(config, "pool", "--json").stdout)["pools"]
    fewer = {**pool, "devices": pool["devices"][:1]}
    monkeypatch.setattr(control_client, "get", lambda *_: {"pools": [fewer]})
    assert run(config, "pool").stdout.startswith("android: 1 of 3 devices, 1 leased, 0 free; ")


def test_nobody_answers(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(f"control: {tmp_path / 'none.sock'}\n")
    for words in (("pool",), ("lease", "list")):
        done = run(tmp_path / "config.yaml", *words)
        assert (done.exit_code, done.stdout) == (3, "")


def test_what_is_cordoned_is_shown_with_who_and_why(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leasing = Leasing(RULES)
    leasing.judged(judged(RULES, phone(1), lambda _: False))
    by = Asker(1000, "bob")
    cordons = [
        Cordon("device", "serial:R5C001", "broken screen", "2026-11-27T18:00:00+00:00", by),
        Cordon("instance", "default/job-1", "", "2026-11-27T18:00:00+00:00", by),
    ]
    leasing.set_cordons(Cordons.made_of(cordons))
    leasing.settle(lambda _: ())
    document = pools_json(leasing, {})
    monkeypatch.setattr(control_client, "get", lambda *_: document)
    lines = run(config, "pool").stdout.splitlines()
    assert "cordoned by uid 1000 (bob): broken screen" in lines[2]
    assert [line.partition(" is cordoned since ")[0] for line in lines if "since 2026" in line] == [
        "device serial:R5C001",
        "instance default/job-1",
    ]
    assert json.loads(run(config, "pool", "--json").stdout)["cordons"][0]["reason"] == "broken screen"


def test_status_tells_of_phones_that_nobody_has(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leasing = Leasing(RULES)
    phones = [phone(1), phone(2), phone(3)]
    for device in phones:
        leasing.judged(judged(RULES, device, lambda _: False))
    leasing.learned(
        InstanceName("default", "job-1"), replace(box(name="job-1"), claims={"phone": "android"}, created="1")
    )
    leasing.set_cordons(
        NO_CORDONS.with_one(
            Cordon("device", "serial:R5C002", "broken", "2026-11-27T18:00:00+00:00", Asker(0, "root"))
        )
    )
    leasing.settle(lambda _: ())
    # The third one is attached by hand.
    unleased = unleased_json(leasing, {phones[2].node})
    answer = {
        "ready": True, "rules": 1, "devices": 3, "attachments": [], "pending": [], "problems": [],
        "unleased": unleased,
        "server": {"address": "/s", "software": "lxd", "version": "5.0.2", "connected": True},
    }  # fmt: skip
    monkeypatch.setattr(control_client, "get", lambda *_: answer)
    done = run(config, "status", "--problems")
    assert done.exit_code == 0
    head, row, *rest = done.stdout.splitlines()
    assert head.split()[:3] == ["LEASED", "TO", "NOBODY"]
    assert row.split()[:2] == [phones[1].node, "R5C002"]
    assert "cordoned" in row
    assert row.endswith(": broken")
    assert rest == ["0 problems"]
    assert phones[1].node not in run(config, "status").stdout
