"""What `plan` and `explain` show is what the daemon makes of the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from hotplugd.app import snapshot
from hotplugd.app.device_documents import explain_json
from hotplugd.app.pool_documents import leases_json, pools_json
from hotplugd.app.snapshot import Survey
from hotplugd.app.state_file import State
from hotplugd.model.asker import Asker
from hotplugd.model.entry import MARK_CLAIM, MARK_POOL
from hotplugd.model.lease import Lease
from hotplugd.model.server_traits import ServerTraits
from hotplugd.model.values import Device, Entry, Inside, Instance, InstanceName
from hotplugd.plan.overrides import Overrides
from hotplugd.pools.away_leases import Away, KeptLeases, Moment
from hotplugd.pools.cordons import Cordon, Cordons
from hotplugd.pools.flaps import Quarantine
from hotplugd.rulefile.load import parse
from hotplugd.rules.ruleset import RuleSet
from tests.support.devices import (
    ALL,
    all_with,
    box,
    channel,
    entry,
    folder,
    interface,
    nic_entry,
    pci,
    phone,
    rule,
    ruleset,
)
from tests.unit.reconcile.test_by_hand import override

NIC, ZERO = interface(), channel(0)
OLD = f"n-00e04c000001-{folder(NIC).above}"


@pytest.fixture
def of(monkeypatch: pytest.MonkeyPatch) -> None:
    """No server and no sysfs."""
    monkeypatch.setattr(snapshot, "find_server", lambda *_: "/nowhere")
    monkeypatch.setattr(snapshot, "restored", lambda _, device: device)
    monkeypatch.setattr(snapshot, "boot", lambda: "1a2b3c4d")


def look(
    monkeypatch: pytest.MonkeyPatch,
    rules: RuleSet,
    devices: list[Device],
    *instances: Instance,
    insides: Mapping[InstanceName, Inside] | None = None,
) -> Survey:
    async def seen(*_: object) -> tuple[dict[InstanceName, Instance], Mapping[InstanceName, Inside]]:
        return {each.id: each for each in instances}, insides or {}

    monkeypatch.setattr(snapshot, "_look", seen)
    return snapshot.survey(rules, devices, [], "", {}, State())


def takes(device: Device, *, running: bool) -> Instance:
    theirs = Entry("theirs", {"type": "nic", "nictype": "physical", "parent": device.kernel})
    return box([theirs], name="other", running=running)


@pytest.mark.usefixtures("of")
@pytest.mark.parametrize("slot", [NIC.slot, OLD], ids=["of today", "of version 1"])
def test_what_is_attached_stays_though_another_takes_it(slot: str, monkeypatch: pytest.MonkeyPatch) -> None:
    there = box([nic_entry(NIC, slot=slot)], running=False)
    made = look(monkeypatch, ALL, [NIC], there, takes(NIC, running=True))
    assert made.plans[there.id].changes == ()
    (problem,) = made.problems()
    assert problem.message.startswith("it is in box, and other has it too")


@pytest.mark.usefixtures("of")
def test_what_others_take_of_what_is_away_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    there = box([nic_entry(ZERO)])
    inside = Inside(interfaces=frozenset({"can0"}), folders={"can0": folder(ZERO)})
    made = look(monkeypatch, ALL, [], there, takes(ZERO, running=False), insides={there.id: inside})
    (problem,) = made.problems()
    assert problem.message.startswith("other, which does not run, cannot start while it is in box")
    assert [each.key for each in made.away] == [ZERO.slot]


@pytest.mark.usefixtures("of")
def test_what_changes_in_an_entry_under_an_older_slot_is_the_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    there = box([nic_entry(NIC, slot=OLD)], running=False)
    made = look(monkeypatch, all_with("name: lan0"), [NIC], there)
    assert [each.action for each in made.of(NIC).changes] == ["update"]
    assert made.of(replace(NIC, syspath="/sys/devices/another", slot="")).changes == ()


@pytest.mark.usefixtures("of")
def test_leases_are_as_a_daemon_would_find_and_make_them(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = parse(
        "pools: {android: {instances: '*'}}\n"
        "rules: [{name: phones, match: {vendor_id: 18d1}, attach: {pool: android}}]",
        "x",
    )
    phones = [phone(1), phone(2)]
    young, old, third = (
        replace(box(name=name), claims={"phone": "android"}, created=created)
        for name, created in (("young", "3"), ("old", "1"), ("third", "2"))
    )
    has = entry(phones[0], {MARK_POOL: "android", MARK_CLAIM: "phone"}, instance=young.id, rule="phones")
    young = replace(young, entries={has.name: has})
    made = look(monkeypatch, loaded.rules, phones, young, old, third)
    assert [
        (str(plan.changes[0].device), name.name) for name, plan in made.plans.items() if plan.changes
    ] == [(phones[1].node, "old")]
    document = explain_json(phones[0], [], made.of(phones[0]), [], {}, leasing=made.leasing)
    assert document["lease"] is not None
    assert (document["pool"], document["lease"]["instance"], document["lease"]["state"]) == (
        "android",
        "young",
        "leased",
    )
    assert made.leasing is not None
    assert [(each.asking.instance.name, each.state) for each in made.leasing.allocation.claims] == [
        ("old", "bound"),
        ("third", "waiting"),
        ("young", "bound"),
    ]
    (pool,) = pools_json(made.leasing, {})["pools"]
    assert [each["instance"] for each in pool["devices"]] == ["young", "old"]
    assert len(leases_json([pool])["leases"]) == 2


@pytest.mark.usefixtures("of")
def test_what_a_virtual_machine_has_by_its_pci_device_stays_there(monkeypatch: pytest.MonkeyPatch) -> None:
    there, taken = pci(), replace(pci(), driver="vfio-pci")
    rules = ruleset(rule("{subsystem: pci, driver: some}", "{to: box, as: pci, force: true}"))
    running = replace(box(), kind="virtual-machine", server=ServerTraits(plugs_pci=True))
    (change,) = look(monkeypatch, rules, [there], running).plans[running.id].changes
    has = replace(running, entries={change.entry.name: change.entry})
    made = look(monkeypatch, rules, [taken], has)
    plan = made.plans[has.id]
    assert (plan.changes, made.problems()) == ((), [])
    assert [each.verified for each in plan.attachments] == [None]
    assert [each.kernel for each in made.away] == [there.kernel]
    # Where it does not run, it has nothing.
    (change,) = look(monkeypatch, rules, [taken], replace(has, running=False)).plans[has.id].changes
    assert change.action == "remove"


@pytest.mark.usefixtures("of")
def test_what_is_cordoned_is_planned_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what is kept of leases counts, as for a daemon that starts now."""
    jobs = [replace(box(name=f"job-{number}"), claims={"it": "a"}, created=str(number)) for number in (1, 2)]
    device = phone(1)
    rules = parse(
        "pools: {a: {instances: 'job-*', keep: 5m}}\n"
        "rules: [{name: r, match: {vendor_id: 18d1}, attach: {pool: a}}]",
        "x",
    ).rules

    async def seen(*_: object) -> tuple[dict[InstanceName, Instance], Mapping[InstanceName, Inside]]:
        return {each.id: each for each in jobs}, {}

    monkeypatch.setattr(snapshot, "_look", seen)

    def goes_to(state: State) -> list[str]:
        (found,) = snapshot.survey(rules, [device], [], "", {}, state).wants.values()
        return [str(want.instance) for want in found.wants]

    assert goes_to(State()) == ["job-1"]
    lease = Lease(jobs[1].id, "it")
    away = Away("serial:R5C001", "a", lease, "", Moment())
    assert goes_to(State(leases=KeptLeases("another", (away,)))) == ["job-2"]
    cordon = Cordon("device", "serial:R5C001", "", "", Asker(0))
    assert goes_to(State(cordons=Cordons.made_of([cordon]))) == []


POOL = parse(
    "pools: {a: {instances: 'job-*', flap: {count: 5, within: 60s}}}\n"
    "rules: [{name: r, match: {vendor_id: 18d1}, attach: {pool: a}}]",
    "x",
).rules


def farm(monkeypatch: pytest.MonkeyPatch, state: State, *devices: Device) -> tuple[Survey, set[InstanceName]]:
    """What is planned where one job claims a phone, and into which instances somebody looked."""
    job = replace(box(name="job-1"), claims={"it": "a"})
    looked: set[InstanceName] = set()

    async def seen(*_: object) -> tuple[dict[InstanceName, Instance], Mapping[InstanceName, Inside]]:
        instances = {each.id: each for each in (job, box(name="zoo"))}
        looked.update(snapshot._by_instance(snapshot._leased(POOL, devices, instances, state)))
        return instances, {}

    monkeypatch.setattr(snapshot, "_look", seen)
    return snapshot.survey(POOL, devices, [], "", {}, state), looked


def goes(made: Survey) -> list[tuple[str, str]]:
    return sorted(
        (str(each.want.device), name.name)
        for name, plan in made.plans.items()
        for each in plan.changes
        if each.want is not None
    )


@pytest.mark.usefixtures("of")
@pytest.mark.parametrize("zoo", [InstanceName("default", "zoo"), None])
def test_what_somebody_decided_by_hand_is_in_no_pool(
    zoo: InstanceName | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = phone(1), phone(2)
    overrides = Overrides.made_of([override(one, zoo)])
    made, looked = farm(monkeypatch, State(overrides), one, two)
    # The claim gets the other phone, as it does of the daemon.
    by_hand = [(one.node, "zoo")] if zoo is not None else []
    assert goes(made) == [*by_hand, (two.node, "job-1")]
    assert looked == {name for _, each in goes(made) for name in [InstanceName("default", each)]}
    assert made.leasing is not None
    assert made.leasing.key_of(one) == ""
    # With that one alone the claim cannot be met, and that is said.
    made, _ = farm(monkeypatch, State(overrides), one)
    assert [each.claim for each in made.problems()] == ["it"]
    document = explain_json(one, POOL.explain(one), made.of(one), [], {}, leasing=made.leasing)
    assert (document["pool"], document["lease"]) == ("a", None)


@pytest.mark.usefixtures("of")
def test_what_is_in_quarantine_is_planned_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    quarantine = Quarantine("serial:R5C001", "a", "1-1", 6, 60.0, "2026-11-27", 60.0)
    made, _ = farm(monkeypatch, State(leases=KeptLeases(quarantines=(quarantine,))), phone(1))
    assert goes(made) == []
    assert [each.claim for each in made.problems()] == ["it"]
    assert made.leasing is not None
    assert made.leasing.health("serial:R5C001").state == "quarantined"
