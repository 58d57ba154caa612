"""What groups may decide by hand: only about what the rules give to instances of theirs."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from hotplugd.app.control_request import Forbidden
from hotplugd.app.grants import ROOT, Allowed, Grant, Grants, Verb
from hotplugd.app.peer import Peer
from hotplugd.app.permitted import see_own, see_permitted
from hotplugd.model.asker import Asker
from hotplugd.model.values import InstanceName
from hotplugd.plan.overrides import Lasting, Override
from hotplugd.rulefile.load import parse_all
from hotplugd.rules.pattern import Pattern
from hotplugd.rules.ruleset import RuleSet
from tests.support.devices import console

DEVICE = console()
R1, R2, DB = (InstanceName("default", name) for name in ("runner-1", "runner-2", "db"))
FARM = Grant((Allowed("farm", ("attach", "detach"), (Pattern.of("runner-*"),)),))


def rules(attach: str, pools: str = "", *, ignored: bool = False) -> RuleSet:
    does = "ignore: true" if ignored else f"attach: {attach}"
    loaded = parse_all(
        [
            (
                "/r.yaml",
                f"{pools}rules: [{{name: a, match: {{subsystem: {DEVICE.subsystem}}}, {does}}}]",
            )
        ]
    )
    assert not loaded.diagnostics, loaded.diagnostics
    return loaded.rules


def why_not(
    rule_set: RuleSet,
    to: InstanceName | None,
    there: Iterable[InstanceName] = (),
    grant: Grant = FARM,
    verb: Verb = "attach",
) -> str:
    try:
        see_permitted(rule_set, DEVICE, there, verb, to, grant)
    except Forbidden as error:
        return str(error)
    return ""


POOL = "pools: {phones: {instances: [runner-*, db]}}\n"


@pytest.mark.parametrize(
    ("rule_set", "to", "there", "why"),
    [
        (rules("{to: runner-1}"), R2, [R1], ""),
        (rules("{to: runner-1}"), R2, [], ""),
        (rules("{to: runner-1}"), None, [R1], ""),
        (rules("{to: runner-1}"), None, [], ""),
        (rules("{to: runner-1}"), DB, [R1], "also concerns db, for which you may not attach; root may"),
        (rules("{to: db}"), R1, [DB], "also concerns db"),
        (rules("{to: db}"), R1, [], "also concerns db"),
        (rules("{to: runner-1}"), R1, [DB], "also concerns db"),
        (rules("{to: runner-1, project: ci}"), R1, [], "also concerns ci/runner-1"),
        (rules("{to: [runner-1, db], share: true}"), R2, [R1], "also concerns db"),
        (rules("{pool: phones}", POOL), R1, [], ""),
        (rules("{pool: phones}", POOL), R1, [R2], ""),
        (rules("{pool: phones}", POOL), R1, [DB], "also concerns db"),
        (rules("{pool: phones}", POOL.replace("runner-*, ", "")), R1, [], "phones does not admit runner-1"),
        (rules("{pool: phones}", POOL), None, [R2], ""),
        (rules("{pool: phones}", POOL), None, [], "for every instance that pool phones admits"),
        (rules("{pool: phones}", POOL.replace(", db", "")), None, [], ""),
        (rules("null", ignored=True), R1, [], "no instance is meant to have"),
        (RuleSet.of([], rules("{to: db}").hubs), R1, [], "no rule takes"),
        (RuleSet.of([], rules("{to: db}").hubs), None, [R1], "no rule takes"),
    ],
)  # fmt: skip
def test_only_what_the_rules_give_to_instances_of_the_grant(
    rule_set: RuleSet, to: InstanceName | None, there: list[InstanceName], why: str
) -> None:
    found = why_not(rule_set, to, there)
    assert (why in found) if why else not found
    assert not why_not(rule_set, to, there, ROOT)


def test_a_grant_for_pools_is_about_their_devices_alone() -> None:
    def why(rule_set: RuleSet, *pools: str) -> str:
        return why_not(rule_set, R1, [R2], Grant((Allowed("farm", ("attach",), pools=frozenset(pools)),)))

    assert not why(rules("{pool: phones}", POOL), "phones")
    assert "is of pool phones, for which you may not attach" in why(rules("{pool: phones}", POOL), "tablets")
    assert "is of no pool alone, for which you may not attach" in why(rules("{to: runner-1}"), "phones")


def test_another_verb_is_not_granted() -> None:
    grant = Grant((Allowed("farm", ("attach",)),))
    assert not why_not(rules("{to: runner-1}"), R2, [R1], grant)
    assert "may not detach" in why_not(rules("{to: runner-1}"), None, [R1], grant, "detach")


def test_who_decided_may_undo_that() -> None:
    override = Override(Lasting("serial:x", "usb"), R1, "2026-11-27T18:00:00+00:00", Asker(1000), "/dev/x")
    see_own([override], 1000, FARM)
    see_own([override], 1001, ROOT)
    with pytest.raises(Forbidden, match=r"uid 1000 decided that about /dev/x; only root may undo it"):
        see_own([override], 1001, FARM)


def test_several_groups_may_what_each_of_them_may() -> None:
    grants = Grants(
        (
            (10, Allowed("a", ("attach",), (Pattern.of("runner-*"),))),
            (20, Allowed("b", ("attach", "read"), (Pattern.of("db"),))),
            (30, Allowed("c", ("reload",))),
        )
    )
    both = grants.of(Peer(1, 1000, frozenset({10, 20, 99})))
    assert [verb for verb in ("read", "attach", "detach", "undo", "reload") if both.may(verb)] == [
        "read", "attach",
    ]  # fmt: skip
    assert both.may_with("attach", [R1, DB])
    assert not both.may_with("read", [R1])
    assert not grants.of(Peer(1, 1000)).may("read")
    assert grants.of(Peer(1, 0)).may("reload")
    assert grants.gids == {10, 20, 30}
