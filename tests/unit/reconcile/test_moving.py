"""Network interfaces, which are in an instance or on the host, and never on both."""

from __future__ import annotations

from dataclasses import replace

from hotplugd.model.entry import MARK_SEEN, name_for
from hotplugd.model.ports import Stuck, Unreachable
from hotplugd.model.values import Device, Entry, Node
from tests.support.devices import ALL, BOX, box, console, entry, interface, pci, rule, ruleset
from tests.support.virtual import at, in_virtual_time
from tests.unit.reconcile.bench import Bench, Request

NIC = interface()
DEAD = "its hardware went while it was in box"
NOWHERE = ruleset(rule("{subsystem: '*'}", None))


def moves(bench: Bench, device: Device = NIC) -> None:
    """Have the interface leave the host when its entry is put in, and come back when it is taken out."""

    def applied(request: Request) -> None:
        if request.put:
            bench.reconciler.no_device(device.syspath)
        else:
            bench.reconciler.device(device)

    bench.applied = applied


def pull(bench: Bench) -> None:
    """Its hardware is gone, while it is inside."""
    assert NIC.parent is not None
    bench.applied = lambda _: None
    bench.pulled.add(NIC.slot)
    bench.reconciler.no_device(NIC.parent.syspath)


async def inside(*, born: int = 1) -> Bench:
    """A bench with the interface inside, ten seconds later."""
    bench = Bench()
    moves(bench, interface(born=born))
    await bench.start(interface(born=born))
    await at(10)
    assert bench.verified() == {"enp1s0": True}
    return bench


@in_virtual_time
async def test_its_leaving_is_no_unplug() -> None:
    bench = await inside()
    await at(70)
    assert len(bench.requests) == 1
    assert bench.verified() == {"enp1s0": True}
    assert bench.told() == []


@in_virtual_time
async def test_it_may_leave_only_after_the_server_answered() -> None:
    bench = Bench()
    await bench.start(NIC)
    bench.reconciler.no_device(NIC.syspath)
    await at(70)
    assert len(bench.requests) == 1
    assert bench.verified() == {"enp1s0": True}


@in_virtual_time
async def test_one_that_the_server_did_not_take_and_that_goes_is_gone() -> None:
    bench = Bench()

    def judge(_: Request) -> None:
        bench.reconciler.no_device(NIC.syspath)
        raise Stuck("there is no such parent")

    bench.judge = judge
    await bench.start(NIC)
    await at(70)
    assert bench.reconciler.devices == 0
    assert len(bench.requests) == 1


@in_virtual_time
async def test_other_rules_take_it_out() -> None:
    bench = await inside()
    bench.reconciler.set_rules(NOWHERE)
    await bench.reconciler.settled()
    assert bench.ours() == set()
    assert bench.reconciler.devices == 1


@in_virtual_time
async def test_an_unlisted_interface_stays_while_its_hardware_does() -> None:
    bench = await inside()
    bench.reconciler.listed_devices([], [])
    await at(20)
    assert len(bench.requests) == 1
    bench.pulled.add(NIC.slot)
    bench.applied = lambda _: None
    bench.reconciler.listed_devices([], [])
    await at(30)
    assert len(bench.requests) == 1
    assert DEAD in bench.told()[0]


@in_virtual_time
async def test_hardware_that_nobody_can_ask_for_is_not_gone() -> None:
    bench = await inside()
    bench.short = True
    bench.reconciler.listed_devices([], [])
    await at(20)
    assert (len(bench.requests), bench.told()) == (1, [])
    # Nor is it known to another that starts, before the next listing.
    again = Bench(*bench.instances.values())
    again.inside, again.folders, again.short = bench.inside, bench.folders, True
    await again.start()
    await at(30)
    assert again.reconciler.devices == 0
    again.short = False
    again.reconciler.listed_devices([], [])
    assert again.reconciler.devices == 1
    await at(40)
    assert (again.requests, again.told()) == ([], [])


@in_virtual_time
async def test_a_pulled_interfaces_entry_stays_until_the_stop() -> None:
    bench = await inside()
    pull(bench)
    await at(7200)
    assert len(bench.requests) == 1
    assert DEAD in bench.told()[0]
    assert bench.verified() == {}
    bench.change(BOX, running=False)
    bench.reconciler.restarted(BOX)
    await at(7300)
    assert bench.ours() == set()
    assert bench.told() == []


@in_virtual_time
async def test_a_replugged_interface_replaces_its_dead_entry() -> None:
    bench = await inside()
    pull(bench)
    again = interface(born=2)
    moves(bench, again)
    await bench.plug(again)
    assert [(len(each.put), len(each.remove)) for each in bench.requests] == [(1, 0), (1, 1)]
    await at(100)
    assert bench.verified() == {"enp1s0": True}
    assert bench.told() == []


@in_virtual_time
async def test_another_one_under_its_name_does_not_take_its_place() -> None:
    bench = await inside()
    pull(bench)
    other = interface(2)
    await bench.plug(replace(other, kernel="enp1s0", syspath=f"{pci(2).syspath}/net/enp1s0"))
    assert len(bench.requests) == 1
    assert "is taken by the entry" in str(bench.told())


@in_virtual_time
async def test_a_removal_that_is_stuck_is_tried_once_per_start() -> None:
    bench = await inside()

    def judge(request: Request) -> None:
        raise Stuck("stop the instance", frozenset(request.remove))

    bench.judge = judge
    bench.reconciler.set_rules(NOWHERE)
    await at(7200)
    assert len(bench.requests) == 2
    assert "stop the instance" in bench.told()[0]
    bench.change(BOX, running=False)
    bench.judge = lambda _: None
    bench.reconciler.restarted(BOX)
    await at(7300)
    assert bench.ours() == set()
    assert bench.told() == []


@in_virtual_time
async def test_a_daemon_that_starts_knows_what_is_inside_by_its_entry() -> None:
    before = await inside()
    bench = Bench(*before.instances.values())
    bench.inside = before.inside
    await bench.start()
    assert bench.requests == []
    assert bench.verified() == {"enp1s0": True}
    bench.reconciler.set_rules(NOWHERE)
    await bench.reconciler.settled()
    assert bench.ours() == set()


@in_virtual_time
async def test_a_daemon_that_starts_says_what_is_gone() -> None:
    before = await inside()
    bench = Bench(*before.instances.values())
    bench.inside = before.inside
    bench.pulled.add(NIC.slot)
    await bench.start()
    assert bench.requests == []
    assert DEAD in bench.told()[0]


@in_virtual_time
async def test_a_daemon_that_starts_finds_it_behind_other_entries() -> None:
    before = await inside()
    (ours,) = before.instances[BOX].entries.values()
    lost = Entry(
        name_for("n-00e04c000002-1"), {**ours.config, MARK_SEEN: "", "name": "lan9", "parent": "lan9"}
    )
    bench = Bench(box([entry(console()), lost, ours]))
    bench.inside[BOX]["enp1s0"] = before.inside[BOX]["enp1s0"]
    await bench.start(console())
    assert bench.verified() == {"/dev/ttyUSB1": True, "enp1s0": True}
    assert bench.reconciler.devices == 2


@in_virtual_time
async def test_a_renamed_interface_is_not_looked_for_at_start() -> None:
    before = await inside()
    bench = Bench(*before.instances.values())
    await bench.start(replace(NIC, kernel="lan7", syspath=NIC.syspath.replace("enp1s0", "lan7")))
    assert bench.reconciler.devices == 1


@in_virtual_time
async def test_a_starting_daemon_trusts_no_foreign_entry() -> None:
    before = await inside()
    (ours,) = before.instances[BOX].entries.values()
    bench = Bench(box([Entry("mine", ours.config)]))
    await bench.start()
    assert bench.reconciler.devices == 0


@in_virtual_time
async def test_only_an_instance_that_runs_here_has_it_inside() -> None:
    before = await inside()
    for elsewhere in (
        replace(before.instances[BOX], running=False),
        replace(before.instances[BOX], here=False, location="two"),
    ):
        bench = Bench(elsewhere)
        await bench.start()
        assert bench.reconciler.devices == 0


@in_virtual_time
async def test_a_stop_returns_the_interface_and_keeps_the_entry() -> None:
    bench = await inside()
    bench.change(BOX, running=False)
    bench.reconciler.device(NIC)
    bench.reconciler.restarted(BOX)
    await at(20)
    assert bench.verified() == {"enp1s0": None}
    bench.change(BOX, running=True)
    bench.reconciler.restarted(BOX)
    bench.reconciler.no_device(NIC.syspath)
    await at(40)
    assert bench.verified() == {"enp1s0": True}
    assert len(bench.requests) == 1


@in_virtual_time
async def test_a_start_takes_the_interface_before_the_event() -> None:
    bench = await inside()
    bench.change(BOX, running=False)
    bench.reconciler.device(NIC)
    bench.reconciler.restarted(BOX)
    await at(20)
    bench.reconciler.no_device(NIC.syspath)
    bench.reconciler.refresh(BOX)
    await at(25)
    bench.change(BOX, running=True)
    bench.reconciler.restarted(BOX)
    await at(60)
    assert len(bench.requests) == 1
    assert bench.verified() == {"enp1s0": True}


@in_virtual_time
async def test_an_interface_gone_during_a_stop_loses_its_entry() -> None:
    bench = await inside()
    bench.change(BOX, running=False)
    bench.reconciler.device(NIC)
    bench.reconciler.restarted(BOX)
    await at(20)
    bench.applied = lambda _: None
    bench.reconciler.no_device(NIC.syspath)
    await at(29)
    assert len(bench.ours()) == 1
    await at(40)
    assert bench.ours() == set()
    assert bench.reconciler.devices == 0


@in_virtual_time
async def test_each_stop_gives_it_the_whole_time_to_be_back() -> None:
    bench = await inside()
    for when, running in ((20, False), (25, True), (27, False)):
        await at(when)
        bench.change(BOX, running=running)
        bench.reconciler.restarted(BOX)
    await at(36)
    bench.reconciler.device(NIC)
    await at(60)
    assert len(bench.requests) == 1
    assert bench.verified() == {"enp1s0": None}


@in_virtual_time
async def test_back_on_the_host_under_another_name_it_is_the_same_one() -> None:
    bench = await inside()
    renamed = replace(NIC, kernel="lan7", syspath=NIC.syspath.replace("enp1s0", "lan7"))
    bench.change(BOX, running=False)
    bench.reconciler.restarted(BOX)
    bench.reconciler.device(renamed)
    await at(20)
    assert bench.reconciler.devices == 1
    assert bench.verified() == {"lan7": None}


@in_virtual_time
async def test_an_interface_replaces_one_that_left_unnoticed() -> None:
    rules = ruleset(
        rule("{subsystem: net, mac: '00:e0:4c:00:00:01'}", "{to: box}", "one"),
        rule("{subsystem: net, mac: '00:e0:4c:00:00:02'}", "{to: other}", "two"),
    )
    bench = Bench(rules=rules)
    moves(bench)
    await bench.start(NIC)
    await at(10)
    another = replace(interface(2), syspath=NIC.syspath, kernel=NIC.kernel, parent=NIC.parent)
    await bench.plug(another)
    assert bench.told() == ["there is no instance 'other' in project 'default'"]
    await bench.plug(NIC)
    await at(20)
    assert bench.told() == []
    assert bench.reconciler.devices == 1


@in_virtual_time
async def test_another_interface_of_that_host_name_stays() -> None:
    bench = await inside()
    other = replace(NIC, attrs={"address": "00:e0:4c:00:00:09"}, slot="n-00e04c000009-1")
    bench.applied = lambda _: None
    bench.reconciler.device(other)
    bench.change(BOX, running=False)
    bench.reconciler.restarted(BOX)
    await at(40)
    renamed = replace(NIC, kernel="lan7", syspath=NIC.syspath.replace("enp1s0", "lan7"))
    bench.reconciler.device(renamed)
    assert bench.reconciler.devices == 2


@in_virtual_time
async def test_it_goes_from_one_instance_to_another() -> None:
    bench = Bench(box(), box(name="other"))
    moves(bench)
    await bench.start(NIC)
    bench.reconciler.set_rules(ruleset(rule("{subsystem: '*'}", "{to: other}")))
    await bench.reconciler.settled()
    assert [(each.instance, len(each.put), len(each.remove)) for each in bench.requests] == [
        ("box", 1, 0),
        ("box", 0, 1),
        ("other", 1, 0),
    ]
    # It was there before, and that it is back is no plug.
    assert [each for each in bench.events("device.add") if "after_plug" in each] == []


def test_the_rules_of_these_tests_take_it() -> None:
    assert ALL.decide(NIC) is not None


@in_virtual_time
async def test_a_name_that_is_taken_inside_is_seen_before_anything_is_asked_for() -> None:
    bench = Bench(rules=ruleset(rule("{subsystem: net}", "{to: box, name: eth0}")))
    moves(bench)
    bench.inside[BOX]["eth0"] = Node(None, 0)
    await bench.start(NIC)
    assert bench.requests == []
    (said,) = bench.told()
    assert said.startswith("eth0 in box is an interface that is there already; give this one another name")
    del bench.inside[BOX]["eth0"]
    await at(9)
    assert bench.requests == []
    await at(11)
    assert len(bench.requests) == 1
    assert bench.told() == []


@in_virtual_time
async def test_another_look_is_waited_for_where_names_have_changed() -> None:
    bench = await inside()
    bench.reconciler.set_rules(NOWHERE)
    await at(20)
    assert len(bench.requests) == 2
    bench.inside[BOX]["enp1s0"] = Node(None, 0)
    bench.reconciler.set_rules(ALL)
    await at(21)
    assert len(bench.requests) == 2
    assert "is an interface that is there already" in bench.told()[0]


@in_virtual_time
async def test_who_cannot_be_looked_into_gets_it_all_the_same() -> None:
    bench = Bench(rules=ruleset(rule("{subsystem: net}", "{to: box, name: eth0}")))
    moves(bench)

    def nothing(_: object) -> None:
        raise Unreachable("a file system in there hangs")

    bench.glance = nothing
    await bench.start(NIC)
    assert len(bench.requests) == 1
