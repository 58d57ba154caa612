"""Links inside: made once the node was seen, and gone with it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from hotplugd.model.entry import MARK_LINKS, MARK_VERSION
from hotplugd.model.ports import Refused
from hotplugd.model.values import InstanceName, Node
from hotplugd.rules.ruleset import RuleSet
from tests.support.devices import ALL, BOX, box, console, entry, gpu, rule, ruleset
from tests.support.virtual import at, in_virtual_time
from tests.unit.reconcile.bench import Bench

LINK = "/dev/serial/by-id/usb-a.b"
RULES = ruleset(rule("{subsystem: tty}", f"{{to: box, link: {LINK}}}"))
ONE = console(1)


async def linked() -> Bench:
    bench = Bench(rules=RULES)
    await bench.start(ONE)
    await at(10)
    assert target(bench) == ONE.node
    return bench


def target(bench: Bench, path: str = LINK) -> str:
    node = bench.inside[BOX].get(path)
    return node.target if node is not None else ""


def again(before: Bench, rules: RuleSet = RULES) -> Bench:
    """Another daemon, once the one before was killed."""
    bench = Bench(*before.instances.values(), rules=rules)
    bench.inside = before.inside
    bench.kept.start(before.kept)
    return bench


def with_links(*links: str) -> RuleSet:
    return ruleset(rule("{subsystem: tty}", f"{{to: box, link: [{', '.join(links)}]}}"))


OTHER = with_links("/dev/a.b", "/dev/c")


@in_virtual_time
async def test_it_leads_to_the_node_and_is_made_once() -> None:
    bench = await linked()
    await at(1000)
    assert bench.journal.count(f"link {LINK} -> {ONE.node}") == 1
    assert len(bench.requests) == 1


@in_virtual_time
async def test_it_goes_with_the_device() -> None:
    bench = await linked()
    bench.reconciler.no_device(ONE.syspath)
    await at(20)
    assert LINK not in bench.inside[BOX]


@in_virtual_time
async def test_it_leads_to_the_next_node_of_the_device() -> None:
    bench = await linked()
    bench.reconciler.no_device(ONE.syspath)
    again = console(3, serial="A5001")
    bench.reconciler.device(again)
    await at(20)
    assert target(bench) == again.node


@in_virtual_time
async def test_it_is_made_again_after_a_restart_of_the_instance() -> None:
    bench = await linked()
    del bench.inside[BOX][LINK]
    bench.reconciler.restarted(BOX)
    await at(20)
    assert target(bench) == ONE.node


@in_virtual_time
async def test_links_of_devices_that_went_while_down_are_removed() -> None:
    bench = again(await linked())
    await bench.start()
    await at(20)
    assert LINK not in bench.inside[BOX]


@in_virtual_time
async def test_a_foreign_file_at_a_links_path_is_left() -> None:
    for there in (Node(None, 0o644), Node(None, 0o777, "/etc/passwd")):
        bench = Bench(rules=RULES)
        bench.inside[BOX][LINK] = there
        await bench.start(ONE)
        assert bench.inside[BOX][LINK] == there
        assert "is there already" in bench.told()[0]
        bench.reconciler.no_device(ONE.syspath)
        await bench.reconciler.settled()
        assert bench.inside[BOX][LINK] == there


@in_virtual_time
async def test_one_that_cannot_be_made_is_tried_again_and_said() -> None:
    bench = Bench(rules=RULES)

    def refuse(_: str) -> None:
        raise Refused("read-only file system")

    bench.unlinked = refuse
    await bench.start(ONE)
    assert bench.told() == [f"cannot make {LINK} in box: read-only file system"]
    await at(100)
    assert 5 < len([each for each in bench.journal if each.startswith("link")]) < 12
    assert len(bench.events("link.problem")) == 1
    bench.unlinked = lambda _: None
    await at(200)
    assert target(bench) == ONE.node
    assert bench.told() == []


@in_virtual_time
async def test_another_link_in_the_rule_takes_the_old_one_away() -> None:
    bench = await linked()
    bench.reconciler.set_rules(OTHER)
    await at(20)
    assert LINK not in bench.inside[BOX]
    assert (target(bench, "/dev/a.b"), target(bench, "/dev/c")) == (ONE.node, ONE.node)
    assert len(bench.requests) == 1
    bench.reconciler.no_device(ONE.syspath)
    await at(30)
    assert bench.inside[BOX] == {}
    assert bench.kept.links == {}


@in_virtual_time
async def test_a_changed_link_replaces_the_old_one_after_a_crash_too() -> None:
    bench = again(await linked(), OTHER)
    await bench.start(ONE)
    await at(20)
    assert set(bench.inside[BOX]) == {ONE.node, "/dev/a.b", "/dev/c"}
    assert bench.requests == []


@pytest.mark.parametrize("stopped", range(4))
@in_virtual_time
async def test_a_crash_between_any_two_steps_leaves_none(stopped: int) -> None:
    bench = await linked()
    done = 0

    def crash(_: str) -> None:
        nonlocal done
        done += 1
        if done > stopped:
            raise Refused("it was killed")

    bench.unlinked = crash
    bench.reconciler.set_rules(OTHER)
    await at(10.1)
    bench.reconciler.close()
    bench = again(bench, with_links("/dev/c"))
    await bench.start(ONE)
    await at(30)
    assert set(bench.inside[BOX]) == {ONE.node, "/dev/c"}
    bench.reconciler.no_device(ONE.syspath)
    await at(40)
    assert bench.inside[BOX] == {}


@pytest.mark.parametrize("after", [ALL, OTHER, RULES], ids=["none", "others", "the same"])
@pytest.mark.parametrize("stopped", range(4))
@in_virtual_time
async def test_a_crash_while_links_lead_elsewhere_leaves_none(stopped: int, after: RuleSet) -> None:
    bench = await linked()
    done = 0

    def crash(_: str) -> None:
        nonlocal done
        done += 1
        if done > stopped:
            raise Refused("it was killed")

    bench.unlinked = crash
    bench.reconciler.set_rules(ruleset(rule("{subsystem: tty}", f"{{to: box, path: /dev/x, link: {LINK}}}")))
    await at(10.1)
    bench.reconciler.close()
    bench = again(bench, after)
    await bench.start(ONE)
    await at(30)
    links = {ALL: set[str](), OTHER: {"/dev/a.b", "/dev/c"}, RULES: {LINK}}[after]
    assert set(bench.inside[BOX]) == {ONE.node} | links
    assert all(target(bench, each) == ONE.node for each in links)
    bench.reconciler.no_device(ONE.syspath)
    await at(40)
    assert bench.inside[BOX] == {}


@in_virtual_time
async def test_those_of_a_device_that_udevd_has_to_look_at_again_stay() -> None:
    bench = again(await linked())
    await bench.start(unprocessed=[ONE])
    await at(20)
    assert target(bench) == ONE.node
    bench.reconciler.device(ONE)
    await at(30)
    assert target(bench) == ONE.node
    assert [each for each in bench.journal if each.startswith("link")] == []


@in_virtual_time
async def test_links_of_a_restarted_instance_are_forgotten() -> None:
    bench = await linked()
    bench.inside[BOX] = {ONE.node: bench.inside[BOX][ONE.node]}
    bench.reconciler.set_rules(ALL)
    bench.reconciler.restarted(BOX)
    await at(20)
    assert bench.kept.links == {}
    assert bench.journal.count(f"link {LINK} -> ") == 0


@in_virtual_time
async def test_those_of_an_instance_that_is_no_more_are_forgotten() -> None:
    bench = again(await linked())
    del bench.instances[BOX]
    await bench.start(ONE)
    await at(20)
    assert bench.kept.links == {}


@in_virtual_time
async def test_what_somebody_put_in_their_place_stays() -> None:
    bench = await linked()
    theirs = Node(None, 0o777, "/dev/other")
    bench.inside[BOX][LINK] = theirs
    bench.reconciler.set_rules(OTHER)
    bench.reconciler.look_again(BOX)
    await at(20)
    assert bench.inside[BOX][LINK] == theirs


@in_virtual_time
async def test_a_link_passes_from_one_device_to_the_next() -> None:
    first = ruleset(
        rule("{subsystem: tty, kernel: ttyUSB1}", "{to: box, link: /dev/a}"),
        rule("{subsystem: tty, kernel: ttyUSB2}", "{to: box, link: /dev/b}", "s"),
    )
    second = ruleset(
        rule("{subsystem: tty, kernel: ttyUSB1}", "{to: box, link: /dev/b}"),
        rule("{subsystem: tty, kernel: ttyUSB2}", "{to: box, link: /dev/a}", "s"),
    )
    two = console(2)
    bench = Bench(rules=first)
    await bench.start(ONE, two)
    await at(10)
    bench.reconciler.set_rules(second)
    await at(20)
    assert (target(bench, "/dev/a"), target(bench, "/dev/b")) == (two.node, ONE.node)
    bench.reconciler.no_device(two.syspath)
    await at(30)
    assert set(bench.inside[BOX]) == {ONE.node, "/dev/b"}


@in_virtual_time
async def test_links_of_a_gpu_go_with_it() -> None:
    card, render = gpu()
    bench = Bench(
        rules=ruleset(rule("{subsystem: drm, kernel: card1}", "{to: box, as: gpu, link: /dev/gpu}"))
    )
    for each in (card, render):
        bench.inside[BOX][each.node] = Node(each.devnum, 0o660)
    await bench.start(card)
    await at(10)
    assert target(bench, "/dev/gpu") == card.node
    bench.reconciler.no_device(card.syspath)
    await at(20)
    assert "/dev/gpu" not in bench.inside[BOX]
    assert bench.kept.links == {}


@in_virtual_time
async def test_a_node_with_a_dot_in_its_path_is_reached_by_a_link_that_goes_with_it() -> None:
    device = replace(ONE, subsystem="spidev", kernel="spidev0.0", node="/dev/spidev0.0")
    bench = Bench(rules=ruleset(rule("{subsystem: spidev}", "{to: box}")))
    await bench.start(device)
    await at(10)
    assert target(bench, "/dev/spidev0.0") == "/dev/spidev0_0"
    (made,) = bench.instances[BOX].entries.values()
    assert made.config["path"] == "/dev/spidev0_0"
    bench.reconciler.no_device(device.syspath)
    await at(20)
    assert bench.inside[BOX] == {}


class TestOfVersionOne:
    """Its entries say themselves which links they have, and nothing is noted."""

    @staticmethod
    def bench(rules: RuleSet = RULES) -> Bench:
        marks = {MARK_VERSION: "1", MARK_LINKS: f"{LINK} /dev/board"}
        bench = Bench(box([entry(ONE, marks)]), rules=rules)
        for each in (LINK, "/dev/board"):
            bench.inside[BOX][each] = Node(None, 0o777, ONE.node)
        return bench

    @in_virtual_time
    async def test_they_stay_where_the_rule_still_says_so(self) -> None:
        bench = self.bench(with_links(LINK, "/dev/board"))
        await bench.start(ONE)
        await at(20)
        assert (target(bench), target(bench, "/dev/board")) == (ONE.node, ONE.node)
        assert [each for each in bench.journal if each.startswith(("link", "request"))] == []

    @in_virtual_time
    async def test_they_go_when_the_rule_names_others_and_the_entry_stays(self) -> None:
        bench = self.bench(OTHER)
        await bench.start(ONE)
        await at(20)
        assert set(bench.inside[BOX]) == {ONE.node, "/dev/a.b", "/dev/c"}
        assert bench.requests == []

    @in_virtual_time
    async def test_one_that_somebody_makes_later_is_theirs(self) -> None:
        bench = self.bench(OTHER)
        await bench.start(ONE)
        await at(20)
        bench.inside[BOX][LINK] = Node(None, 0o777, ONE.node)
        bench.reconciler.look_again(BOX)
        await at(30)
        assert target(bench) == ONE.node

    @in_virtual_time
    async def test_they_go_with_the_device(self) -> None:
        bench = self.bench()
        await bench.start(ONE)
        bench.reconciler.no_device(ONE.syspath)
        await at(20)
        assert bench.inside[BOX] == {}

    @in_virtual_time
    async def test_they_go_with_a_device_that_went_before(self) -> None:
        bench = self.bench()
        await bench.start()
        await at(20)
        assert bench.inside[BOX] == {}


@in_virtual_time
async def test_two_devices_do_not_share_a_link() -> None:
    bench = Bench(box(), rules=RULES)
    await bench.start(ONE, console(2))
    assert len(bench.ours()) == 1
    assert f"the link {LINK} in box already leads to {ONE.node} (rule" in bench.told()[0]


@in_virtual_time
async def test_a_link_that_is_made_but_never_seen_is_backed_off() -> None:
    bench = Bench(rules=RULES)
    bench.nowhere.add(LINK)
    await bench.start(ONE)
    await at(100)
    assert "a folder on the way is a link" in bench.told()[0]
    assert 5 < len([each for each in bench.journal if each.startswith("link")]) < 12
    bench.nowhere.clear()
    await at(200)
    assert bench.told() == []
    assert target(bench) == ONE.node


class _Slow(Bench):
    """Taking away a link takes until somebody lets it; then there is no such instance, or file."""

    def __init__(self) -> None:
        super().__init__(rules=RULES)
        self.let = asyncio.Event()

    async def link(self, name: InstanceName, path: str, target: str) -> None:
        if target:
            await super().link(name, path, target)
        else:
            await self.let.wait()


@in_virtual_time
async def test_a_recreated_instance_ignores_the_links_of_the_old_one() -> None:
    bench = _Slow()
    await bench.start(ONE)
    await at(10)
    bench.reconciler.no_device(ONE.syspath)
    await at(20)
    del bench.instances[BOX]
    bench.reconciler.refresh(BOX)
    await at(30)
    bench.instances[BOX], bench.inside[BOX] = box(), {}
    again = console(3, serial="A5001")
    bench.reconciler.device(again)
    bench.reconciler.refresh(BOX)
    await at(40)
    bench.let.set()
    await at(50)
    await bench.reconciler.listed_instances(bench.instances.values(), 50.0)
    await at(100)
    assert bench.verified() == {str(again): True}
