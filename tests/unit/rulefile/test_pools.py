"""The section `pools` of rule files: what the corpus of bad files does not show."""

from __future__ import annotations

from pathlib import Path

import pytest

from hotplugd.model.pool_file import PoolFile
from hotplugd.model.values import InstanceName
from hotplugd.rulefile.load import load, parse
from hotplugd.rules.pattern import Pattern
from hotplugd.rules.pool_health import Flap, Ready
from hotplugd.rules.pools import Pool

POOL = "pools: {android: {instances: 'runner-*'}}\n"
RULE = "rules: [{name: a, match: {serial: X}, attach: {pool: android}}]\n"


def test_a_pool_is_read() -> None:
    loaded = parse(
        "pools:\n"
        "  a: {instances: ['runner-*', b], project: ci, per_instance: 2, keep: 90m, keep_stopped: true,\n"
        "    expect: 9}\n"
        "  b: {instances: x}\n"
        "rules:\n"
        "- {name: a, match: {serial: X}, attach: {pool: a}}\n"
        "- {name: b, match: {serial: Y}, attach: {pool: b}}\n",
        "x",
    )
    assert loaded.diagnostics == ()
    assert loaded.rules.pools == {
        "a": Pool(
            "a", (Pattern.of("runner-*"), Pattern.of("b")), "ci", 2, keep_stopped=True, expect=9, keep=5400.0
        ),
        "b": Pool("b", (Pattern.of("x"),)),
    }
    first, second = (rule.attach for rule in loaded.rules.rules)
    assert first is not None
    assert second is not None
    assert (first.pool, first.to, second.pool) == ("a", (), "b")


def test_a_pool_says_how_often_its_devices_may_come_and_go() -> None:
    loaded = parse(
        "pools: {a: {instances: x, flap: {count: 5, within: 2m}}}\n" + RULE.replace("android", "a"), "x"
    )
    assert loaded.rules.pools["a"].flap == Flap(5, 120.0)


def test_a_pool_and_a_rule_may_have_ready() -> None:
    loaded = parse(
        "pools: {a: {instances: x, ready: adb}}\n"
        "rules: [{name: a, match: {serial: X}, attach: "
        "{pool: a, ready: {command: [b, '{serial}'], within: 2m}}}]",
        "x",
    )
    assert loaded.diagnostics == ()
    assert loaded.rules.pools["a"].ready == Ready()
    (attach,) = (rule.attach for rule in loaded.rules.rules)
    assert attach is not None
    assert attach.ready == Ready(("b", "{serial}"), within=120.0)


def test_a_pool_says_which_files_its_instances_have() -> None:
    loaded = parse(
        "pools: {a: {instances: x, leases_file: /run/l, "
        "files: [{source: /a, path: /b, gid: 7, mode: 640}]}}\n" + RULE.replace("android", "a"),
        "x",
    )
    assert loaded.diagnostics == ()
    pool = loaded.rules.pools["a"]
    assert (pool.leases_file, pool.files) == ("/run/l", (PoolFile("/a", "/b", 0, 7, "0640"),))


def test_a_pool_admits_instances_of_its_project_by_name() -> None:
    pool = Pool("a", (Pattern.of("runner-*"), Pattern.of("b")), "ci")
    assert pool.admits(InstanceName("ci", "runner-7"))
    assert pool.admits(InstanceName("ci", "b"))
    assert not pool.admits(InstanceName("default", "runner-7"))
    assert not pool.admits(InstanceName("ci", "c"))


def test_a_file_may_have_pools_alone() -> None:
    assert parse(POOL, "x").diagnostics == ()


@pytest.mark.parametrize("names", [("a.yaml", "b.yaml"), ("b.yaml", "a.yaml")])
def test_rules_know_the_pools_of_all_files(tmp_path: Path, names: tuple[str, str]) -> None:
    for name, text in zip(names, (POOL, RULE), strict=True):
        (tmp_path / name).write_text(text)
    loaded = load([tmp_path])
    assert loaded.diagnostics == ()
    assert [*loaded.rules.pools] == ["android"]


def test_a_pool_of_another_file_is_a_second_one(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(POOL)
    (tmp_path / "b.yaml").write_text(POOL + RULE)
    (error,) = load([tmp_path]).errors
    assert error.message == "a second pool 'android'"
    assert error.related is not None
    assert error.related.file.endswith("a.yaml")


def test_a_thousand_pools_are_bounded() -> None:
    pools = ", ".join(f"p{number}: {{instances: a}}" for number in range(1500))
    (error,) = parse(f"pools: {{{pools}}}", "x").errors
    assert error.message == "more than 1000 pools, up to this one"
