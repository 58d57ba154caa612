"""Entries that name USB devices by numbers, which are other devices' in time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hotplugd.model.ports import Unreachable
from hotplugd.model.server_traits import ServerTraits
from hotplugd.model.values import Device, Entry, Instance, InstanceName
from hotplugd.plan.planner import plan_instance
from tests.support.devices import phone, rule, ruleset, wanted
from tests.support.virtual import at, in_virtual_time
from tests.unit.reconcile.bench import Bench, Request

V1, V2 = (InstanceName("default", name) for name in ("v1", "v2"))
RULES = ruleset(
    rule("{id: '18d1:4ee7', property: {WHOSE: A}}", "{to: v1}", "a"),
    rule("{id: '18d1:4ee7', property: {WHOSE: B}}", "{to: v2}", "b"),
)


def numbered(one: Device, whose: str) -> Device:
    properties = {**one.properties, "BUSNUM": "001", "DEVNUM": "003", "WHOSE": whose}
    return replace(one, properties=properties)


def machine(name: InstanceName, *entries: Entry) -> Instance:
    return Instance(
        name,
        "virtual-machine",
        running=True,
        entries={each.name: each for each in entries},
        server=ServerTraits(usb_by_number=True),
    )


def stale() -> Entry:
    """What the first virtual machine has of a phone that went while no hotplugd ran."""
    gone = numbered(phone(3, born=1), "A")
    return plan_instance(V1, machine(V1), wanted(RULES, gone), None).changes[0].entry


def said(request: Request) -> tuple[str, int, int]:
    return request.instance, len(request.put), len(request.remove)


@in_virtual_time
async def test_what_another_has_by_these_numbers_goes_first() -> None:
    # The one that has it is the last to be asked.
    bench = Bench(machine(V2), machine(V1, stale()), rules=RULES)
    bench.takes = 0.1
    await bench.start(numbered(phone(3, born=2), "B"))
    assert [said(each) for each in bench.requests] == [("v1", 0, 1), ("v2", 1, 0)]
    assert bench.times == [0, pytest.approx(0.1)]
    assert bench.told() == []


@in_virtual_time
async def test_it_waits_for_as_long_as_the_other_has_it() -> None:
    bench = Bench(machine(V2), machine(V1, stale()), rules=RULES)

    def judge(request: Request) -> None:
        if request.instance == "v1":
            raise Unreachable("it hangs")

    bench.judge = judge
    await bench.start(numbered(phone(3, born=2), "B"))
    await at(60)
    assert {each.instance for each in bench.requests} == {"v1"}
    bench.judge = lambda _: None
    await at(120)
    assert bench.ours(V1) == set()
    assert len(bench.ours(V2)) == 1


@in_virtual_time
async def test_what_two_are_to_have_waits_for_none() -> None:
    both = ruleset(rule("{id: '18d1:4ee7'}", "{to: [v1, v2]}"))
    bench = Bench(machine(V1), machine(V2), rules=both)
    await bench.start(numbered(phone(3), "A"))
    assert bench.ours(V1) == bench.ours(V2) != set()


@in_virtual_time
async def test_two_that_change_places_go_out_before_they_go_in() -> None:
    bench = Bench(machine(V1), machine(V2), rules=RULES)
    bench.takes = 0.1
    one, two = numbered(phone(3), "A"), numbered(phone(4), "B")
    two = replace(two, properties={**two.properties, "DEVNUM": "004"})
    await bench.start(one, two)
    # Each is enumerated again, with the number that the other had.
    again = numbered(phone(4, born=5), "B"), numbered(phone(3, born=6), "A")
    after = replace(again[1], properties={**again[1].properties, "DEVNUM": "004"})
    await bench.plug(again[0], after)
    await at(10)
    assert [each.config["devnum"] for each in bench.instances[V1].entries.values()] == ["4"]
    assert [each.config["devnum"] for each in bench.instances[V2].entries.values()] == ["3"]
    assert bench.told() == []
