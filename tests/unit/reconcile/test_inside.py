"""Looking inside: when, how often, and what comes of what is seen."""

from __future__ import annotations

from itertools import pairwise

from hotplugd.model.entry import name_for, slot_links
from hotplugd.model.ports import Unreachable
from hotplugd.model.values import Device, Devnum, InstanceName, Node
from tests.support.devices import BOX, all_with, box, console, rule, ruleset
from tests.support.virtual import at, in_virtual_time, later
from tests.unit.reconcile.bench import Bench, Request, recover

ONE, TWO = console(1), console(2)
OTHER = InstanceName("default", "other")
HOUR = 3600


@in_virtual_time
async def test_after_an_attach_one_look_verifies_it() -> None:
    bench = Bench()
    await bench.start()
    await at(10)
    await bench.plug(ONE)
    await at(HOUR)
    assert bench.looks == [(10, "box", ("/dev/ttyUSB1",))]
    assert bench.verified() == {"/dev/ttyUSB1": True}


@in_virtual_time
async def test_nobody_looks_where_nothing_is_wanted() -> None:
    bench = Bench()
    await bench.start()
    bench.reconciler.look_everywhere()
    await at(HOUR)
    assert bench.looks == []


@in_virtual_time
async def test_a_node_that_somebody_unmounted_is_put_back_at_once() -> None:
    bench = Bench()
    await bench.start(ONE, TWO)
    await at(10)
    bench.unmount(ONE)
    await bench.reconciler.settled()
    assert bench.sizes == [(0, 2), (10, 1)]
    assert [each.config["source"] for each in bench.requests[1].put] == [slot_links(ONE.slot)[1]]
    await at(1000)
    bench.unmount(ONE)
    await bench.reconciler.settled()
    assert [each.config["source"] for each in bench.requests[2].put] == [slot_links(ONE.slot)[0]]
    assert bench.verified() == {"/dev/ttyUSB1": True, "/dev/ttyUSB2": True}


@in_virtual_time
async def test_another_devices_node_is_replaced() -> None:
    bench = Bench()
    await bench.start(ONE)
    await at(10)
    bench.inside[BOX][ONE.node] = Node(Devnum("char", 188, 9), 0o660)
    bench.reconciler.look_everywhere()
    await bench.reconciler.settled()
    assert bench.inside[BOX][ONE.node].devnum == ONE.devnum


@in_virtual_time
async def test_a_look_that_a_request_overtook_proves_nothing() -> None:
    bench = Bench()
    await bench.start(ONE)
    await at(100)
    bench.looking = 2
    bench.reconciler.look_again(BOX)
    await at(101)
    bench.applied = lambda _: bench.inside[BOX].clear()
    bench.reconciler.set_rules(all_with("mode: '0600'"))
    await at(102.5)
    assert [when for when, _, _ in bench.looks[-2:]] == [100, 102]
    assert bench.verified() == {"/dev/ttyUSB1": None}
    bench.applied = lambda _: None
    await at(120)
    assert bench.times == [0, 101, 104]
    assert bench.verified() == {"/dev/ttyUSB1": True}


@in_virtual_time
async def test_a_look_of_the_init_before_proves_nothing() -> None:
    bench = Bench()
    await bench.start(ONE)
    await at(100)
    bench.looking = 2
    bench.reconciler.look_again(BOX)
    await at(101)
    bench.inside[BOX].clear()
    bench.reconciler.restarted(BOX)
    await at(102.5)
    assert bench.verified() == {"/dev/ttyUSB1": None}
    await at(120)
    assert bench.times == [0, 104]
    assert bench.verified() == {"/dev/ttyUSB1": True}


@in_virtual_time
async def test_a_look_that_hangs_delays_no_other_instance() -> None:
    rules = ruleset(rule("{subsystem: '*'}", "{to: [box, other]}"))
    bench = Bench(box(), box(name="other"), rules=rules)
    bench.hanging_looks.add(BOX)
    await bench.reconciler.listed_instances(bench.instances.values())
    bench.reconciler.listed_devices([ONE], [])
    await at(10)
    bench.unmount(ONE, OTHER)
    await at(20)
    assert {(each.at, each.instance) for each in bench.requests} == {(0, "box"), (0, "other"), (10, "other")}
    verified = {each.want.instance.name: each.verified for each in bench.reconciler.attachments()}
    assert verified == {"box": None, "other": True}


@in_virtual_time
async def test_a_look_that_hangs_does_not_delay_requests() -> None:
    bench = Bench()
    bench.hanging_looks.add(BOX)
    await bench.reconciler.listed_instances(bench.instances.values())
    bench.reconciler.listed_devices([ONE], [])
    await at(10)
    bench.reconciler.device(TWO)
    await at(20)
    bench.reconciler.no_device(ONE.syspath)
    await at(HOUR)
    assert bench.times == [0, 10, 20]
    assert len(bench.looks) == 1


@in_virtual_time
async def test_a_failing_look_is_a_problem_and_is_backed_off() -> None:
    bench = Bench()

    def glance(_: InstanceName) -> None:
        raise Unreachable("a file system in there hangs")

    bench.glance = glance
    await bench.start(ONE)
    await at(HOUR)
    assert [round(when, 6) for when, _, _ in bench.looks[:5]] == [0, 0.2, 0.6, 1.4, 3]
    assert len(bench.looks) < HOUR / 30 + 10
    assert bench.verified() == {"/dev/ttyUSB1": False}
    assert bench.told() == ["cannot look inside box: a file system in there hangs"]
    bench.glance = lambda _: None
    await at(HOUR + 31)
    assert bench.verified() == {"/dev/ttyUSB1": True}
    assert bench.told() == []
    assert bench.times == [0]


def leave_behind(bench: Bench, device: Device) -> None:
    """Have the server leave the device's node, which it takes away when it is asked once more."""
    place = device.node
    bench.halves[place] = (name_for(device.slot), bench.inside[BOX][place])
    bench.applied = lambda request: (
        bench.inside[BOX].update({place: bench.halves[place][1]}) if request.remove else None
    )


@in_virtual_time
async def test_a_node_that_stays_when_its_entry_goes_is_taken_away() -> None:
    bench = Bench()
    await bench.start(ONE, TWO)
    leave_behind(bench, ONE)
    bench.reconciler.no_device(ONE.syspath)
    await at(HOUR)
    assert bench.inside[BOX].keys() == {TWO.node}
    assert [each["log_level"] for each in bench.events("device.left-behind")] == ["warning"]
    assert bench.journal.count("clear 1") == 1
    assert bench.told() == []
    assert bench.notes[BOX] == set()


@in_virtual_time
async def test_an_orphaned_node_is_a_problem_until_it_is_removed() -> None:
    bench = Bench()
    await bench.start(ONE)
    leave_behind(bench, ONE)

    def answer(_: object) -> None:
        raise Unreachable("away")

    bench.answer = answer
    bench.reconciler.no_device(ONE.syspath)
    await at(10)
    assert any("the server is asked to take it away" in each for each in bench.told())
    assert bench.notes[BOX] == {name_for(ONE.slot)}
    recover(bench)
    await at(HOUR)
    assert bench.inside[BOX] == {}
    assert bench.told() == []


@in_virtual_time
async def test_a_node_that_stays_when_its_entry_goes_is_told() -> None:
    bench = Bench()
    await bench.start(ONE, TWO)
    left = bench.inside[BOX][ONE.node]

    def applied(request: Request) -> None:
        if request.remove:
            bench.inside[BOX][ONE.node] = left

    bench.applied = applied
    bench.reconciler.no_device(ONE.syspath)
    await at(HOUR)
    found = bench.events("device.left-behind")
    assert {(each["device"], each["path"]) for each in found} == {("/dev/ttyUSB1", "/dev/ttyUSB1")}
    assert [each["log_level"] for each in found] == ["warning", "error"]
    assert bench.journal.count("clear 1") == 1
    assert len(bench.requests) == 2


async def with_a_node_left_behind() -> Bench:
    """The device is gone, and its node is not."""
    bench = Bench()
    await bench.start(ONE)
    left = bench.inside[BOX][ONE.node]
    bench.applied = lambda _: bench.inside[BOX].update({ONE.node: left})
    bench.reconciler.no_device(ONE.syspath)
    await at(10)
    (told,) = bench.told()
    assert told.startswith("box, /dev/ttyUSB1: its entry is gone, and its node is still there; restarting")
    bench.applied = lambda _: None
    return bench


@in_virtual_time
async def test_a_node_that_stayed_is_a_problem_until_it_is_seen_gone() -> None:
    bench = await with_a_node_left_behind()
    bench.reconciler.look_again(BOX)
    await at(20)
    assert len(bench.told()) == 1
    bench.unmount(ONE)
    await bench.reconciler.settled()
    assert bench.told() == []
    assert len(bench.events("device.left-behind")) == 2


@in_virtual_time
async def test_a_stop_ends_the_problem_of_an_orphaned_node() -> None:
    bench = await with_a_node_left_behind()
    bench.change(BOX, running=False)
    bench.reconciler.restarted(BOX)
    await bench.reconciler.settled()
    assert bench.told() == []


@in_virtual_time
async def test_a_replug_ends_the_problem_of_an_orphaned_node() -> None:
    bench = await with_a_node_left_behind()
    await bench.plug(console(1, born=2))
    assert bench.told() == []
    assert bench.verified() == {"/dev/ttyUSB1": True}


@in_virtual_time
async def test_a_failing_look_does_not_clear_an_orphaned_node() -> None:
    bench = Bench()
    await bench.start(ONE)
    left = bench.inside[BOX][ONE.node]
    bench.applied = lambda _: bench.inside[BOX].update({ONE.node: left})

    def glance(_: InstanceName) -> None:
        raise Unreachable("a file system in there hangs")

    bench.glance = glance
    bench.reconciler.no_device(ONE.syspath)
    await at(10)
    assert bench.events("device.left-behind") == []
    bench.glance = lambda _: None
    await at(60)
    assert len(bench.events("device.left-behind")) == 2


@in_virtual_time
async def test_what_others_put_where_a_node_was_is_not_left_behind() -> None:
    bench = Bench()
    await bench.start(ONE)
    other = Node(Devnum("char", 4, 64), 0o660)
    bench.applied = lambda _: bench.inside[BOX].update({ONE.node: other})
    bench.reconciler.no_device(ONE.syspath)
    await at(10)
    assert bench.events("device.left-behind") == []
    assert bench.told() == []


@in_virtual_time
async def test_a_node_that_went_with_its_entry_is_looked_for_once() -> None:
    bench = Bench()
    await bench.start(ONE)
    await at(10)
    bench.reconciler.no_device(ONE.syspath)
    await at(HOUR)
    assert bench.looks == [(when, "box", ("/dev/ttyUSB1",)) for when in (0, 10)]
    assert bench.events("device.left-behind") == []


@in_virtual_time
async def test_the_next_devices_node_is_not_orphaned() -> None:
    bench = Bench()
    await bench.start(ONE)
    bench.reconciler.device(console(1, born=2))
    await at(HOUR)
    assert bench.events("device.left-behind") == []
    assert bench.verified() == {"/dev/ttyUSB1": True}


@in_virtual_time
async def test_users_and_groups_are_known_before_the_first_request() -> None:
    bench = Bench(rules=all_with("user: ci, group: dialout"))
    bench.users, bench.groups = {"ci": 1000}, {"dialout": 20}
    await bench.start(ONE)
    assert [(each.config["uid"], each.config["gid"]) for each in bench.requests[0].put] == [("1000", "20")]
    await at(HOUR)
    assert len(bench.looks) == 2
    assert len(bench.requests) == 1


@in_virtual_time
async def test_a_missing_user_is_looked_up_every_ten_seconds() -> None:
    bench = Bench(rules=all_with("user: ci"))
    bench.users = {"ci": None}
    await bench.start(ONE)
    await at(25)
    assert [when for when, _, _ in bench.looks] == [0, 10, 20]
    assert bench.requests == []
    assert bench.told() == [
        "box has no user 'ci' in its /etc/passwd; make one there, or use `uid` in the rule"
    ]
    bench.users = {"ci": 1000}
    await at(HOUR)
    assert bench.times == [30]
    assert bench.told() == []
    assert len(bench.looks) == 5


@in_virtual_time
async def test_other_rules_have_names_looked_up_again() -> None:
    bench = Bench()
    await bench.start(ONE)
    await at(10)
    bench.groups = {"dialout": 20}
    bench.reconciler.set_rules(all_with("group: dialout"))
    await bench.reconciler.settled()
    assert bench.times == [0, 10]
    assert [each.config["gid"] for each in bench.requests[1].put] == ["20"]


@in_virtual_time
async def test_a_restarted_instance_is_looked_into_and_repaired() -> None:
    bench = Bench()
    await bench.start(ONE)
    await at(10)
    bench.change(BOX, running=False)
    bench.inside[BOX].clear()
    bench.reconciler.restarted(BOX)
    await bench.reconciler.settled()
    assert bench.verified() == {"/dev/ttyUSB1": None}
    await at(20)
    bench.change(BOX, running=True)
    bench.reconciler.refresh(BOX)
    await bench.reconciler.settled()
    assert bench.times == [0, 20]
    assert bench.verified() == {"/dev/ttyUSB1": True}


@in_virtual_time
async def test_looks_of_one_instance_never_overlap() -> None:
    bench = Bench()
    bench.looking = 5
    await bench.reconciler.listed_instances(bench.instances.values())
    bench.reconciler.listed_devices([ONE], [])
    for _ in range(20):
        await later(1)
        bench.reconciler.look_again(BOX)
    await at(60)
    times = [when for when, _, _ in bench.looks]
    assert all(after - before >= 5 for before, after in pairwise(times))
    assert len(times) == 5
