"""What the server may have left inside of entries that it does not have is taken away."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hotplugd.model.entry import name_for, place_of, slot_of
from hotplugd.model.ports import Busy, Gone, Refused, ServerError, Unreachable
from hotplugd.model.values import Device, Devnum, Entry, Instance, InstanceName, Node
from hotplugd.rules.ruleset import RuleSet
from tests.support.devices import ALL, BOX, all_with, box, console, entry, gpu, interface, rule, ruleset
from tests.support.virtual import at, in_virtual_time, later, now
from tests.unit.reconcile.bench import Bench, Request, fail, recover, refuse

ONE, TWO, BAD = console(1), console(2), console(3)
NOBODY = ruleset(rule("{subsystem: '*'}", None))


def crash_amid(bench: Bench, error: ServerError | None = None) -> None:
    """Have the server fail while it puts things in: the nodes are inside, the entries nowhere."""

    def judge(request: Request) -> None:
        for each in request.put:
            node = Node(Devnum("char", 188, 1), 0o660)
            bench.halves[place_of(each)] = (each.name, node)
            bench.inside[BOX][place_of(each)] = node
        raise error or Unreachable("it has ended")

    bench.judge = judge


@in_virtual_time
async def test_a_half_done_attach_is_cleared_once_the_device_went() -> None:
    bench = Bench()
    await bench.start()
    crash_amid(bench)
    bench.reconciler.device(ONE)
    await later(0.05)
    bench.reconciler.no_device(ONE.syspath)
    recover(bench)
    await at(100)
    assert bench.inside[BOX] == {}
    assert bench.told() == []
    assert bench.journal.count("clear 1") == 1


@in_virtual_time
async def test_a_half_done_attach_of_a_present_device_is_repeated() -> None:
    bench = Bench()
    await bench.start()
    crash_amid(bench)
    bench.reconciler.device(ONE)
    await later(0.05)
    recover(bench)
    await at(100)
    assert bench.verified() == {str(ONE): True}
    assert bench.journal.count("clear 1") == 1
    assert bench.told() == []


@in_virtual_time
async def test_clearing_up_is_tried_until_the_server_answers() -> None:
    bench = Bench()
    await bench.start()
    crash_amid(bench)
    bench.reconciler.device(ONE)
    await later(0.05)
    bench.reconciler.no_device(ONE.syspath)
    fail(bench, Unreachable("away"), asking=True)
    await at(600)
    assert ONE.node in bench.inside[BOX]
    recover(bench)
    await at(1200)
    assert bench.inside[BOX] == {}


@in_virtual_time
async def test_a_half_refused_attach_is_cleared_once_the_device_went() -> None:
    bench = Bench()
    await bench.start()
    full = Refused("no space left on device", half=True)
    crash_amid(bench, full)
    bench.reconciler.device(ONE)
    await at(100)
    assert bench.told() == ["cannot add in box: no space left on device"]
    bench.reconciler.no_device(ONE.syspath)
    await at(300)
    assert bench.inside[BOX] == {}
    assert bench.told() == []


@in_virtual_time
async def test_a_refused_attach_that_was_undone_is_not_cleared() -> None:
    bench = Bench()
    await bench.start()
    refuse(bench, ONE, blame=True)
    bench.reconciler.device(ONE)
    await at(10)
    bench.reconciler.no_device(ONE.syspath)
    await at(100)
    assert "clear 1" not in bench.journal


@in_virtual_time
async def test_the_journal_keeps_an_attach_until_it_is_certain() -> None:
    bench = Bench()
    await bench.start()
    seen: list[set[str]] = []
    bench.applied = lambda _: seen.append(bench.notes[BOX])
    await bench.plug(ONE)
    assert seen == [{name_for(ONE.slot)}]
    assert bench.notes[BOX] == set()
    refuse(bench, TWO, blame=True)
    await bench.plug(TWO)
    assert bench.notes[BOX] == set()
    fail(bench, Unreachable("away"), asking=True)
    bench.reconciler.device(BAD)
    await later(0.05)
    assert bench.notes[BOX] == {name_for(BAD.slot)}
    recover(bench)
    await at(100)
    assert bench.notes[BOX] == set()


@in_virtual_time
async def test_a_doubt_outlasts_the_next_refusal() -> None:
    bench = Bench()
    await bench.start()
    crash_amid(bench)
    bench.reconciler.device(ONE)
    await later(0.05)
    refuse(bench, ONE, blame=True)
    await at(10)
    bench.reconciler.no_device(ONE.syspath)
    recover(bench)
    await at(100)
    assert bench.inside[BOX] == {}
    assert bench.notes[BOX] == set()


def noted(bench: Bench) -> Entry:
    """An entry that was being put in when another hotplugd ended, and that the server did not write down."""
    one = entry(ONE)
    bench.before[BOX] = {one.name: one}
    bench.notes[BOX] = {one.name}
    node = Node(ONE.devnum, 0o660)
    bench.halves[place_of(one)] = (one.name, node)
    bench.inside.setdefault(BOX, {})[place_of(one)] = node
    return one


@pytest.mark.parametrize("error", [Busy("it stops"), Gone("not found"), Unreachable("it is away")])
@in_virtual_time
async def test_clearing_is_retried_after_any_error(error: ServerError) -> None:
    bench = Bench()
    noted(bench)
    failed: list[int] = []

    def fail_thrice(_: object) -> None:
        tries = bench.journal.count("clear 1")
        if len(failed) < min(tries, 3):
            failed.append(tries)
            raise error

    bench.answer = fail_thrice
    await bench.start()
    await at(100)
    assert bench.inside[BOX] == {}
    assert bench.journal.count("clear 1") == 4


@in_virtual_time
async def test_what_was_being_put_in_when_we_ended_too_does_not_stay() -> None:
    bench = Bench()
    noted(bench)
    await bench.start()
    assert bench.inside[BOX] == {}
    assert bench.notes[BOX] == set()
    assert bench.told() == []


@in_virtual_time
async def test_an_attach_that_ended_after_a_crash_has_its_entry() -> None:
    bench = Bench()
    one = noted(bench)
    bench.change(BOX, entries={one.name: one})
    await bench.start(ONE)
    assert bench.requests == []
    assert "clear 1" not in bench.journal
    assert bench.notes[BOX] == set()


@in_virtual_time
async def test_a_journaled_attach_that_is_wanted_is_repeated() -> None:
    bench = Bench()
    noted(bench)
    await bench.start(ONE)
    assert bench.verified() == {str(ONE): True}
    assert bench.journal == ["clear 1", "request +1 -0"]
    assert bench.notes[BOX] == set()


@pytest.mark.parametrize("there", [True, False])
@in_virtual_time
async def test_the_journal_of_a_stopped_or_missing_instance_goes(*, there: bool) -> None:
    bench = Bench(box(running=False) if there else box(name="other"))
    noted(bench)
    await bench.start()
    assert bench.notes[BOX] == set()
    assert "clear 1" not in bench.journal


@in_virtual_time
async def test_the_journal_outlasts_a_device_that_goes() -> None:
    bench = Bench()
    noted(bench)
    bench.reconciler.listed_devices([ONE], [])
    await bench.reconciler.settled()
    bench.reconciler.no_device(ONE.syspath)
    await bench.reconciler.settled()
    await bench.reconciler.listed_instances(bench.instances.values())
    await at(10)
    assert bench.inside[BOX] == {}
    assert bench.notes[BOX] == set()


@in_virtual_time
async def test_the_journal_is_kept_while_the_instance_is_unknown() -> None:
    bench = Bench()
    noted(bench)
    bench.change(BOX, known=False, here=False, running=False)
    await bench.start()
    assert bench.notes[BOX] != set()
    bench.change(BOX, known=True, here=True, running=True)
    await bench.reconciler.listed_instances(bench.instances.values())
    await at(10)
    assert bench.inside[BOX] == {}
    assert bench.notes[BOX] == set()


class Files(Bench):
    """Knows which entries have files of nodes at which paths: of two at one path the server mounts the first
    alone, and unmounts with the last; it makes no file twice, nor watches for an entry twice. (What LXD does
    not take away any more after the latter, this does: test_lost_update knows.)

    (LXD: device/device_utils_unix.go, `unixDeviceSetup` and `unixDeviceRemove`.)
    """

    def __init__(self, *instances: Instance, rules: RuleSet = ALL, dry_run: bool = False) -> None:
        super().__init__(*instances, rules=rules, dry_run=dry_run)
        self.files: set[tuple[str, str]] = set()

    def _do(self, name: InstanceName, request: Request) -> None:
        before = dict(self.inside[name])
        found = {each.name for each in request.put if (each.name, place_of(each)) in self.files}
        if found - self.instances[name].entries.keys():
            self._away(found)
            raise Busy("it had left something of an earlier try behind")
        for each in request.put:
            if each.name not in self.instances[name].entries and each.name in {
                which for which, _ in self.files
            }:
                # Too late: it has mounted this one, too.
                self.files.add((each.name, place_of(each)))
                self.inside[name].setdefault(place_of(each), Node(devnum_of(each), 0o660))
                raise Refused("Watch already exists", frozenset([each.name]), half=True)
        old = {each.name for each in request.put} & self.instances[name].entries.keys()
        super()._do(name, request)
        self.inside[name] = before
        self._away({*request.remove, *old})
        for each in request.put:
            mounted = any(path == place_of(each) for _, path in self.files)
            self.files.add((each.name, place_of(each)))
            if not mounted:
                self.inside[name][place_of(each)] = Node(devnum_of(each), 0o660)

    async def clear(self, name: InstanceName, left: Sequence[Entry]) -> None:
        await super().clear(name, left)
        self._away({each.name for each in left})

    def _away(self, names: set[str]) -> None:
        gone = {(entry, path) for entry, path in self.files if entry in names}
        self.files -= gone
        for path in {path for _, path in gone} - {path for _, path in self.files}:
            self.inside[BOX].pop(path, None)


def devnum_of(of: Entry) -> Devnum:
    _, major, minor, *_ = slot_of(of).split("-")
    return Devnum("char", int(major), int(minor))


def never_clear(bench: Bench, error: ServerError | None = None) -> None:
    """Have the server take nothing away."""

    def unclear(_: object) -> None:
        raise error or Refused("it does not fit")

    bench.unclear = unclear


def forget(bench: Bench, device: Device) -> None:
    """Have the server forget the device's entry, and not its node, nor tell of it."""
    entries = dict(bench.instances[BOX].entries)
    del entries[name_for(device.slot)]
    bench.change(BOX, entries=entries)


def overlap(bench: Bench, device: Device) -> None:
    """Have an update of somebody else's do that."""
    forget(bench, device)
    bench.reconciler.updated(BOX)


def one_at(number: int, place: str) -> RuleSet:
    """The rule that this console goes there."""
    return ruleset(rule(f"{{subsystem: tty, kernel: ttyUSB{number}}}", f"{{to: box, path: {place}}}"))


def nodes(bench: Bench) -> dict[str, str]:
    return {path: str(node.devnum) for path, node in bench.inside[BOX].items()}


@in_virtual_time
async def test_what_the_server_forgot_and_no_rule_wants_is_taken_away() -> None:
    bench = Files()
    await bench.start(ONE, TWO)
    await at(10)
    bench.takes = 1
    overlap(bench, ONE)
    await later(0.5)
    bench.reconciler.no_device(ONE.syspath)
    await at(20)
    assert bench.inside[BOX].keys() == {TWO.node}
    assert bench.journal.count("clear 1") == 1
    assert bench.told() == []
    assert bench.notes[BOX] == set()
    assert [each["log_level"] for each in bench.events("device.left-behind")] == ["warning"]


@in_virtual_time
async def test_what_somebody_takes_out_and_no_rule_wants_costs_a_look() -> None:
    bench = Files()
    await bench.start(ONE, TWO)
    await at(10)
    bench.takes = 1
    overlap(bench, ONE)
    bench._away({name_for(ONE.slot)})
    await later(0.5)
    bench.reconciler.no_device(ONE.syspath)
    await at(20)
    assert bench.journal == ["request +2 -0", f"cut {ONE.slot}", f"unlink {ONE.slot}"]
    assert bench.notes[BOX] == set()
    assert bench.events("device.left-behind") == []


@in_virtual_time
async def test_its_links_go_too() -> None:
    bench = Files(rules=all_with("link: /dev/modem"))
    await bench.start(ONE)
    await at(10)
    assert "/dev/modem" in bench.inside[BOX]
    bench.takes = 1
    overlap(bench, ONE)
    await later(0.5)
    bench.reconciler.no_device(ONE.syspath)
    await at(20)
    assert bench.inside[BOX] == {}


def in_turn() -> RuleSet:
    """Each console goes to the same place, while it is the only one."""
    return all_with("path: /dev/lab")


@in_virtual_time
async def test_what_we_have_taken_out_is_in_nobodys_way() -> None:
    bench = Files(rules=in_turn())
    bench.hanging_looks.add(BOX)
    bench.reconciler.listed_devices([ONE], [])
    await bench.reconciler.listed_instances(bench.instances.values())
    await at(10)
    bench.reconciler.no_device(ONE.syspath)
    await at(20)
    bench.reconciler.device(TWO)
    await at(30)
    assert nodes(bench) == {"/dev/lab": str(TWO.devnum)}
    assert not [each for each in bench.journal if each.startswith("clear")]


@pytest.mark.parametrize("since", ["seen", "put in again", "restarted", "restarted in no time"])
@in_virtual_time
async def test_what_was_lost_is_in_nobodys_way_any_more(since: str) -> None:
    bench = Files(rules=in_turn())
    await bench.start(ONE)
    await at(10)
    overlap(bench, ONE)
    if since == "put in again":
        await at(20)
        bench.reconciler.set_rules(all_with("path: /dev/elsewhere"))
        await at(30)
        assert nodes(bench) == {"/dev/elsewhere": str(ONE.devnum)}
    elif since == "seen":
        bench._away({name_for(ONE.slot)})
        bench.reconciler.no_device(ONE.syspath)
        await at(20)
        bench.reconciler.device(TWO)
        await at(30)
        assert nodes(bench) == {"/dev/lab": str(TWO.devnum)}
    else:
        bench.hanging_looks.add(BOX)
        bench.reconciler.no_device(ONE.syspath)
        await at(20)
        for running in (False, True) if since == "restarted" else (True,):
            bench.change(BOX, running=running)
            bench.files.clear()
            bench.reconciler.restarted(BOX)
            await later(0.5)
        bench.reconciler.device(TWO)
        await at(30)
        assert nodes(bench)["/dev/lab"] == str(TWO.devnum)
    assert not [each for each in bench.journal if each.startswith("clear")]


@in_virtual_time
async def test_what_an_update_has_left_is_in_nobodys_way() -> None:
    bench = Files(rules=one_at(1, "/dev/old"))
    await bench.start(ONE, TWO)
    await at(10)
    bench.hanging_looks.add(BOX)
    forget(bench, ONE)
    bench.reconciler.set_rules(one_at(1, "/dev/lab"))
    await later(0.01)
    bench.reconciler.set_rules(one_at(2, "/dev/lab"))
    await at(60)
    assert nodes(bench) == {"/dev/lab": str(TWO.devnum)}


@in_virtual_time
async def test_it_is_looked_for_though_events_never_end() -> None:
    bench = Files()
    await bench.start(ONE, TWO)
    await at(10)
    bench.looking = 0.3
    forget(bench, ONE)
    bench.reconciler.no_device(ONE.syspath)
    for _ in range(30):
        bench.reconciler.refresh(BOX)
        await later(0.1)
    assert ONE.node not in bench.inside[BOX]


@in_virtual_time
async def test_what_was_refused_is_asked_for_once_the_server_is_back() -> None:
    bench = await with_both_lost()

    never_clear(bench)
    await at(3000)
    bench.unclear = lambda _: None
    await bench.reconciler.listed_instances(bench.instances.values())
    await later(1)
    assert bench.inside[BOX].keys() == {BAD.node}
    assert bench.told() == []


@in_virtual_time
async def test_an_orphan_that_stays_does_not_block_others_for_ever() -> None:
    bench = Files(rules=one_at(1, "/dev/lab"))
    await bench.start(ONE, TWO)
    await at(10)

    never_clear(bench)
    overlap(bench, ONE)
    bench.reconciler.set_rules(one_at(2, "/dev/lab"))
    bench.patience = 100
    await at(60)
    assert bench.ours() == {name_for(TWO.slot)}
    assert any("it does not fit" in str(each) for each in bench.logged.entries)


async def with_both_lost() -> Files:
    """Two were forgotten, and no rule wants them."""
    bench = Files()
    await bench.start(ONE, TWO, BAD)
    await at(10)
    for each in (ONE, TWO):
        forget(bench, each)
    bench.reconciler.no_device(TWO.syspath)
    bench.reconciler.no_device(ONE.syspath)
    return bench


@in_virtual_time
async def test_one_that_the_server_does_not_take_away_keeps_no_other() -> None:
    bench = await with_both_lost()

    def unclear(left: Sequence[Entry]) -> None:
        if name_for(ONE.slot) in {each.name for each in left}:
            raise Refused("there is a folder at its place")

    bench.unclear = unclear
    bench.reconciler.device(console(4))
    await at(600)
    assert bench.inside[BOX].keys() == {ONE.node, BAD.node, console(4).node}
    assert any("restarting the instance" in each for each in bench.told())
    assert 8 < bench.journal.count("clear 1") < 20
    assert bench.notes[BOX] == {name_for(ONE.slot)}
    assert [each["reason"] for each in bench.events("instance.problem")].count(
        "there is a folder at its place"
    ) == 1
    assert any("there is a folder at its place" in each for each in bench.told())
    bench.unclear = lambda _: None
    await at(1300)
    assert bench.inside[BOX].keys() == {BAD.node, console(4).node}
    assert bench.told() == []
    assert bench.notes[BOX] == set()


@pytest.mark.parametrize("error", [Busy("it changes"), Unreachable("it hangs"), Gone("no such volume")])
@in_virtual_time
async def test_a_server_that_never_gets_to_it_keeps_no_device_out(error: ServerError) -> None:
    bench = await with_both_lost()

    never_clear(bench, error)
    await at(20)
    bench.reconciler.device(console(4))
    await at(120)
    assert console(4).node in bench.inside[BOX]
    assert len(bench.journal) < 60


@in_virtual_time
async def test_one_by_one_ends_where_the_server_goes_away() -> None:
    bench = await with_both_lost()

    def unclear(left: Sequence[Entry]) -> None:
        if len(left) > 1:
            raise Refused("it does not fit")
        raise Unreachable("it has ended")

    bench.unclear = unclear
    while "clear 2" not in bench.journal:
        await later(0.01)
    await later(0.05)
    assert bench.journal.count("clear 1") == 1


@in_virtual_time
async def test_what_is_refused_and_seen_gone_is_not_asked_for_again() -> None:
    bench = await with_both_lost()

    def unclear(_: object) -> None:
        bench._away({name_for(ONE.slot), name_for(TWO.slot)})
        raise Refused("it does not fit")

    bench.unclear = unclear
    await at(3600)
    assert bench.journal.count("clear 1") == 2
    assert bench.notes[BOX] == set()
    assert bench.told() == []


@pytest.mark.parametrize("between", ["reload", "theirs"])
@in_virtual_time
async def test_what_was_lost_is_looked_for_whatever_comes_between(between: str) -> None:
    bench = Files()
    await bench.start(ONE, TWO)
    await at(10)
    bench.looking = 1
    theirs = {"mine": Entry("mine", {"type": "unix-char", "source": ONE.node})}
    entries = dict(bench.instances[BOX].entries)
    overlap(bench, ONE)
    bench.reconciler.no_device(ONE.syspath)
    if between == "theirs":
        bench.change(BOX, entries={**bench.instances[BOX].entries, **theirs})
        await at(20)
        assert ONE.node in bench.inside[BOX]
        del entries[name_for(ONE.slot)]
        bench.change(BOX, entries=entries)
        bench.reconciler.updated(BOX)
    else:
        await later(0.5)
        bench.reconciler.set_rules(ruleset(rule("{subsystem: tty}", "{to: box}")))
    await at(40)
    assert bench.inside[BOX].keys() == {TWO.node}
    assert bench.told() == []


@in_virtual_time
async def test_a_reload_does_not_hide_what_was_left() -> None:
    bench = await with_both_lost()

    never_clear(bench)
    await at(20)
    bench.reconciler.set_rules(ruleset(rule("{subsystem: tty}", "{to: box}")))
    await at(21)
    assert len([each for each in bench.told() if "is still there" in each]) == 2


@in_virtual_time
async def test_of_a_gpu_nobody_knows_where_to_look() -> None:
    bench = Bench(rules=all_with("as: gpu"))
    put = {each.node: Node(each.devnum, 0o660) for each in gpu()}
    bench.applied = lambda _: bench.inside[BOX].update(put)
    await bench.start(*gpu())
    assert bench.ours()
    bench.change(BOX, entries={})
    bench.reconciler.updated(BOX)
    for each in gpu():
        bench.reconciler.no_device(each.syspath)
    await at(20)
    assert bench.journal.count("clear 1") == 1
    assert bench.notes[BOX] == set()


@in_virtual_time
async def test_what_is_refused_once_is_asked_for_again() -> None:
    bench = await with_both_lost()
    left = [Refused("disk quota exceeded", half=True)] * 3

    def unclear(_: object) -> None:
        if left:
            raise left.pop()

    bench.unclear = unclear
    await at(100)
    assert bench.inside[BOX].keys() == {BAD.node}
    assert bench.told() == []


@in_virtual_time
async def test_a_listing_during_it_brings_nothing_back() -> None:
    bench = await with_both_lost()
    bench.takes = 1
    before = dict(bench.instances)
    while "clear 2" not in bench.journal:
        await later(0.1)
    entries = {**before[BOX].entries, name_for(ONE.slot): entry(ONE)}
    asked = now()
    await later(2)
    await bench.reconciler.listed_instances([replace(before[BOX], entries=entries)], asked)
    await at(100)
    assert bench.journal.count("clear 2") == 1
    assert len(bench.events("instance.problem")) == 1


@in_virtual_time
async def test_what_the_server_forgot_and_is_wanted_is_put_in_again() -> None:
    bench = Files()
    await bench.start(ONE, TWO)
    await at(10)
    overlap(bench, ONE)
    await at(20)
    assert bench.verified() == {ONE.node: True, TWO.node: True}
    assert bench.journal == ["request +2 -0", "request +1 -0", "request +1 -0"]
    assert bench.notes[BOX] == set()


@in_virtual_time
async def test_what_the_server_forgot_goes_from_where_it_was() -> None:
    bench = Files(rules=one_at(1, "/dev/old"))
    await bench.start(ONE)
    await at(10)
    overlap(bench, ONE)
    bench.reconciler.set_rules(one_at(1, "/dev/new"))
    await at(20)
    assert nodes(bench) == {"/dev/new": str(ONE.devnum)}
    assert bench.told() == []


@pytest.mark.parametrize("told", [True, False])
@in_virtual_time
async def test_what_the_server_forgot_makes_room_for_another(*, told: bool) -> None:
    bench = Files(rules=one_at(1, "/dev/lab"))
    await bench.start(ONE, TWO)
    await at(10)
    (overlap if told else forget)(bench, ONE)
    bench.reconciler.set_rules(one_at(2, "/dev/lab"))
    await at(20)
    assert nodes(bench) == {"/dev/lab": str(TWO.devnum)}
    assert bench.verified() == {TWO.node: True}
    assert bench.told() == []
    assert bench.journal.count("clear 1") == 1


@in_virtual_time
async def test_an_orphan_at_the_next_devices_path_is_cleared() -> None:
    bench = Files(rules=all_with("path: /dev/modem"))
    await bench.start(TWO)
    await at(10)
    await bench.plug(ONE)
    overlap(bench, TWO)
    await at(3600)
    assert nodes(bench) == {"/dev/modem": str(ONE.devnum)}
    assert bench.verified() == {ONE.node: True}
    assert len(bench.requests) == 2
    assert bench.notes[BOX] == set()


@in_virtual_time
async def test_an_orphan_whose_entry_was_lost_is_cleared() -> None:
    bench = Files()
    await bench.start(ONE)
    await at(10)
    forget(bench, ONE)
    bench.reconciler.no_device(ONE.syspath)
    await at(20)
    assert bench.inside[BOX] == {}
    assert bench.told() == []


@in_virtual_time
async def test_what_we_have_taken_out_is_in_no_doubt() -> None:
    bench = Files()
    await bench.start(ONE, TWO)
    await at(10)
    bench.reconciler.no_device(ONE.syspath)
    await bench.reconciler.settled()
    bench.reconciler.updated(BOX)
    await at(20)
    assert bench.ours() == {name_for(TWO.slot)}
    assert "clear 1" not in bench.journal


@in_virtual_time
async def test_what_others_make_and_take_out_is_in_no_doubt() -> None:
    foreign = Entry("cam", {"type": "unix-char", "source": "/dev/video0"})
    bench = Bench(box([foreign]))
    await bench.start(ONE)
    await at(10)
    entries = dict(bench.instances[BOX].entries)
    del entries["cam"]
    bench.change(BOX, entries=entries)
    bench.reconciler.updated(BOX)
    await at(20)
    assert bench.journal == ["request +1 -0"]


@in_virtual_time
async def test_what_others_have_put_in_its_place_is_not_left_behind() -> None:
    bench = Files()
    await bench.start(ONE)
    await at(10)
    theirs = Entry("mine", {"type": "unix-char", "source": ONE.node})
    bench.change(BOX, entries={"mine": theirs})
    bench.files.add(("mine", ONE.node))
    bench.reconciler.updated(BOX)
    await at(20)
    assert nodes(bench) == {ONE.node: str(ONE.devnum)}
    assert bench.events("device.left-behind") == []
    assert not [each for each in bench.told() if "still there" in each]


@pytest.mark.parametrize("how", [{"here": False}, {"known": False, "here": False}, {"running": False}])
@in_virtual_time
async def test_elsewhere_and_where_nothing_runs_nothing_is_in_doubt(how: dict[str, bool]) -> None:
    bench = Files()
    await bench.start(ONE)
    await at(10)
    bench.change(BOX, **how)
    bench.files.clear()
    bench.reconciler.refresh(BOX)
    await bench.reconciler.settled()
    for _ in range(3):
        overlap(bench, ONE) if bench.instances[BOX].entries else bench.reconciler.updated(BOX)
        await bench.reconciler.settled()
    await at(100)
    assert bench.notes[BOX] == set()
    assert "clear 1" not in bench.journal


@in_virtual_time
async def test_of_an_interface_nothing_is_in_doubt() -> None:
    bench = Bench()
    await bench.start(interface())
    await at(10)
    overlap(bench, interface())
    bench.reconciler.set_rules(NOBODY)
    await at(20)
    assert bench.journal == ["request +1 -0"]
    assert bench.notes.get(BOX, set()) == set()


@in_virtual_time
async def test_in_a_virtual_machine_nothing_is_in_doubt() -> None:
    bench = Bench(replace(box(), kind="virtual-machine"))
    noted(bench)
    bench.hanging_looks.add(BOX)
    bench.reconciler.listed_devices([], [])
    await bench.reconciler.listed_instances(bench.instances.values())
    await at(20)
    assert bench.journal == []
    assert bench.notes[BOX] == set()


@in_virtual_time
async def test_in_a_dry_run_nothing_is_noted_or_taken_away() -> None:
    bench = Files(box([entry(ONE)]), dry_run=True)
    await bench.start(ONE)
    await at(10)
    overlap(bench, ONE)
    bench.reconciler.no_device(ONE.syspath)
    await at(20)
    assert bench.journal == []
    assert bench.notes == {}


def _forget(bench: Files, device: Device) -> None:
    if name_for(device.slot) in bench.instances[BOX].entries:
        forget(bench, device)


def _overlap(bench: Files, device: Device) -> None:
    _forget(bench, device)
    bench.reconciler.updated(BOX)


def _take_out(bench: Files, device: Device) -> None:
    _forget(bench, device)
    bench._away({name_for(device.slot)})
    bench.reconciler.updated(BOX)


def _plug(bench: Files, device: Device) -> None:
    bench.reconciler.device(device)


def _pull(bench: Files, device: Device) -> None:
    bench.reconciler.no_device(device.syspath)


def _share(bench: Files, _: Device) -> None:
    bench.reconciler.set_rules(all_with("path: /dev/lab"))


def _alone(bench: Files, device: Device) -> None:
    bench.reconciler.set_rules(one_at(int(device.kernel[-1]), "/dev/lab"))


def _apart(bench: Files, _: Device) -> None:
    bench.reconciler.set_rules(ALL)


def _restart(bench: Files, _: Device) -> None:
    bench.files.clear()
    bench.inside[BOX].clear()
    for each in bench.instances[BOX].entries.values():
        bench.inside[BOX].setdefault(place_of(each), Node(devnum_of(each), 0o660))
        bench.files.add((each.name, place_of(each)))
    bench.reconciler.restarted(BOX)


def _refuse(bench: Files, _: Device) -> None:
    never_clear(bench)


Step = tuple[Callable[[Files, Device], None], Device, float]
STEPS = st.tuples(
    st.sampled_from(
        [_overlap, _overlap, _forget, _take_out, _plug, _pull, _share, _alone, _apart, _restart, _refuse]
    ),
    st.sampled_from([ONE, TWO, BAD]),
    st.sampled_from([0.0, 0.01, 0.05, 0.3, 3.0]),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(STEPS, max_size=9), st.sampled_from([0.0, 0.02]), st.sampled_from([0.0, 0.05, 0.3]))
def test_whatever_is_forgotten_the_inside_is_right_in_the_end(
    steps: list[Step], takes: float, looking: float
) -> None:
    @in_virtual_time
    async def test() -> None:
        bench = Files()
        bench.takes, bench.looking = takes, looking
        await bench.start(ONE, TWO)
        await at(10)
        for do, device, pause in steps:
            # In the middle of a request nothing is as it will be.
            await later(2 * takes if do in (_overlap, _forget, _take_out, _restart) else 0.0)
            do(bench, device)
            await later(pause)
        bench.unclear = lambda _: None
        await later(1000)
        bench.reconciler.updated(BOX)
        await later(1000)
        entries = bench.instances[BOX].entries.values()
        assert nodes(bench) == {place_of(each): str(devnum_of(each)) for each in entries}
        assert not any("still there" in each for each in bench.told())
        assert all(bench.verified().values())
        assert bench.notes.get(BOX, set()) == set()

    test()
