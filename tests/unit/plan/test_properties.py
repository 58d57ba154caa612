"""A server that does what the plan says, and the plan for what is there then."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from hotplugd.model.entry import is_for, is_ours, name_for, slot_links, slot_of, target_of
from hotplugd.model.values import Device, Entry, Inside, Instance, InstanceName, Node
from hotplugd.plan.change import Plan
from hotplugd.plan.desired import wants
from hotplugd.plan.kinds.kind import Want
from hotplugd.plan.planner import plan_instance
from hotplugd.rules.ruleset import RuleSet
from tests.support.devices import BOX, console, disk, entry, phone, rule, ruleset

RULES = [
    ruleset(rule("{subsystem: '*'}", "{to: box}")),
    ruleset(rule("{subsystem: '*', serial: '*'}", "{to: [box, other], mode: '0600', uid: 3}")),
    ruleset(
        rule("{subsystem: tty}", "{to: box, path: /dev/shared, user: ci}", "consoles"),
        rule("{vendor_id: 18d1}", "{to: box, group: dialout}", "phones"),
        rule("{subsystem: block}", "{to: box, path: /dev/shared}", "disks"),
    ),
    ruleset(rule("{subsystem: tty}", "{to: box, path: '/dev/t-{serial}'}")),
    ruleset(rule("{subsystem: tty}", "{to: box, project: lab}")),
    RuleSet(),
]
DEVICES = [
    *(phone(number, serial, born) for number in (1, 2) for serial in ("RX", "") for born in (1, 2)),
    *(console(number, serial, born) for number in (1, 2) for serial in ("RX", "") for born in (1, 2)),
    disk(),
]
BY_SLOT = {device.slot: device for device in DEVICES}
# Two cores, and other tests beside: how long one example takes says nothing.
UNTIMED = settings(deadline=None)
PATHS = ["/dev/shared", "/dev/ttyUSB1", "/dev/x", "/dev/bus/usb/001/001"]


def present(devices: list[Device]) -> list[Device]:
    """One enumeration of each device."""
    return list({each.syspath: each for each in devices}.values())


OURS = st.builds(
    entry,
    st.sampled_from(DEVICES),
    st.fixed_dictionaries(
        {},
        optional={
            "mode": st.sampled_from(["0600", "0660"]),
            "uid": st.sampled_from(["3", "1000"]),
            "path": st.sampled_from(PATHS),
            "source": st.sampled_from(["/dev/ttyUSB1", slot_links(console().slot)[1]]),
            "type": st.sampled_from(["unix-char", "disk"]),
            "x": st.just("y"),
        },
    ),
    instance=st.sampled_from([BOX, InstanceName("default", "copied-from")]),
)
THEIRS = st.builds(
    Entry,
    st.sampled_from(["eth0", "root", name_for(console(1).slot), name_for(phone(1).slot)]),
    st.fixed_dictionaries(
        {"type": st.sampled_from(["unix-char", "unix-block", "disk", "none"])},
        optional={"path": st.sampled_from(PATHS), "source": st.sampled_from(PATHS)},
    ),
)
ENTRIES = st.lists(OURS | THEIRS, max_size=6)
SEEN = st.none() | st.sampled_from([Node(each.devnum, 0o660) for each in DEVICES] + [Node(None, 0o755)])
IDS = st.sampled_from([None, 7, 1000])


@dataclass(frozen=True)
class World:
    rules: RuleSet
    devices: list[Device]
    unprocessed: list[Device]
    instance: Instance
    inside: Inside

    @property
    def wanted(self) -> list[Want]:
        return [
            want
            for device in self.devices
            for want in wants(self.rules, device).wants
            if want.instance == BOX
        ]

    def plan(self) -> Plan:
        inside = self.inside if self.instance.running else None
        return plan_instance(BOX, self.instance, self.wanted, inside, self.unprocessed)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    devices = present(draw(st.lists(st.sampled_from(DEVICES), max_size=8)))
    settled = draw(st.integers(min_value=0, max_value=len(devices)))
    own, inherited = draw(ENTRIES), draw(st.lists(THEIRS, max_size=2))
    instance = Instance(
        BOX,
        running=draw(st.booleans()),
        entries={each.name: each for each in own},
        inherited={each.name: each for each in inherited if each.name not in {one.name for one in own}},
    )
    nodes = {want.target: None for device in devices for want in wants(RULES[0], device).wants}
    inside = Inside(
        nodes={path: draw(SEEN) for path in (*nodes, *PATHS)},
        users={"ci": draw(IDS)},
        groups={"dialout": draw(IDS)},
    )
    return World(draw(st.sampled_from(RULES)), devices[:settled], devices[settled:], instance, inside)


def applied(world: World, plan: Plan) -> World:
    """The world after a server did what the plan says, and somebody looked inside."""
    entries = dict(world.instance.entries)
    nodes = dict(world.inside.nodes)
    for change in plan.changes:
        if change.action == "remove":
            nodes[target_of(entries.pop(change.entry.name))] = None
    for change in plan.changes:
        if change.action != "remove":
            assert change.action == "add" or entries[change.entry.name] != change.entry
            entries[change.entry.name] = change.entry
            device = BY_SLOT[slot_of(change.entry)]
            nodes[target_of(change.entry)] = Node(
                device.devnum, int(change.entry.config.get("mode", "0660"), 8)
            )
    return replace(
        world,
        instance=replace(world.instance, entries=entries),
        inside=replace(world.inside, nodes=nodes),
    )


@UNTIMED
@given(worlds())
def test_once_a_plan_is_applied_the_next_is_empty(world: World) -> None:
    plan = world.plan()
    then = applied(world, plan)
    # A stale entry at the path of one that stays takes that one's node with it: the next look shows it.
    freed = {
        target_of(world.instance.entries[each.entry.name]) for each in plan.changes if each.action == "remove"
    }
    again = then.plan()
    assert [
        each for each in again.changes if each.action != "repair" or target_of(each.entry) not in freed
    ] == []
    assert applied(then, again).plan().changes == ()


@UNTIMED
@given(worlds())
def test_no_change_concerns_what_is_not_ours(world: World) -> None:
    entries = world.instance.entries
    theirs = {name for name, each in entries.items() if not is_ours(each)} | world.instance.inherited.keys()
    for change in world.plan().changes:
        assert change.entry.name not in theirs
        assert is_ours(change.entry)
        assert (change.action == "add") == (change.entry.name not in entries)
    after = applied(world, world.plan()).instance
    assert {name: each for name, each in after.entries.items() if name in theirs} == {
        name: each for name, each in entries.items() if name in theirs
    }


@UNTIMED
@given(worlds())
def test_every_wanted_device_is_attached_or_to_be_or_a_problem(world: World) -> None:
    plan = world.plan()
    attached = {each.want.device for each in plan.attachments}
    changed = {each.want.device for each in plan.changes if each.want is not None}
    held = {each.device for each in plan.problems}
    assert not attached & changed
    for want in world.wanted:
        assert want.device in attached | changed or str(want.device) in held


@UNTIMED
@given(worlds())
def test_no_path_is_given_to_two(world: World) -> None:
    plan = world.plan()
    after = applied(world, plan).instance
    there = [target_of(each) for each in (*after.entries.values(), *after.inherited.values())]
    for change in plan.changes:
        if change.action != "remove":
            assert there.count(target_of(change.entry)) == 1


@UNTIMED
@given(worlds())
def test_what_stays_of_ours_is_wanted_or_waits_for_udevd(world: World) -> None:
    names = {name_for(each.slot) for each in world.devices}
    for each in applied(world, world.plan()).instance.entries.values():
        if is_ours(each) and each.name not in names:
            assert any(one.devnum and is_for(each, one.devnum) for one in world.unprocessed)


@UNTIMED
@given(worlds(), st.randoms())
def test_the_order_of_what_is_wanted_does_not_matter(world: World, random: Random) -> None:
    shuffled = list(world.wanted)
    random.shuffle(shuffled)
    inside = world.inside if world.instance.running else None
    assert plan_instance(BOX, world.instance, shuffled, inside, world.unprocessed) == world.plan()


@UNTIMED
@given(worlds())
def test_what_is_said_can_be_shown(world: World) -> None:
    plan = world.plan()
    said: Sequence[str] = [each.message for each in plan.problems] + [each.why for each in plan.changes]
    assert all(re.fullmatch(r"[\x20-\x7e]+", each) for each in said)
