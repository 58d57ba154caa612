"""Links inside: made once the node was seen, and gone with it."""

from __future__ import annotations

import asyncio

from hotplugd.model import InstanceName, Node
from hotplugd.server import Refused
from tests.devices import BOX, box, console, rule, ruleset
from tests.reconcile.bench import Bench
from tests.virtual import at, in_virtual_time

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
async def test_a_daemon_that_starts_takes_away_the_links_of_what_went_meanwhile() -> None:
    before = await linked()
    bench = Bench(*before.instances.values(), rules=RULES)
    bench.inside = before.inside
    await bench.start()
    await at(20)
    assert LINK not in bench.inside[BOX]


@in_virtual_time
async def test_what_is_there_already_and_is_no_link_to_a_device_is_left() -> None:
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
    bench.reconciler.set_rules(ruleset(rule("{subsystem: tty}", "{to: box, link: [/dev/a.b, /dev/c]}")))
    await at(20)
    assert LINK not in bench.inside[BOX]
    assert (target(bench, "/dev/a.b"), target(bench, "/dev/c")) == (ONE.node, ONE.node)


@in_virtual_time
async def test_two_devices_do_not_share_a_link() -> None:
    bench = Bench(box(), rules=RULES)
    await bench.start(ONE, console(2))
    assert len(bench.ours()) == 1
    assert f"the link {LINK} in box already leads to {ONE.node} (rule" in bench.told()[0]


@in_virtual_time
async def test_one_that_is_made_and_never_seen_is_a_problem_and_no_storm() -> None:
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
async def test_what_was_under_way_when_an_instance_was_deleted_is_nothing_to_the_next_of_its_name() -> None:
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
    bench.reconciler.listed_instances(bench.instances.values(), 50.0)
    await at(100)
    assert bench.verified() == {str(again): True}
