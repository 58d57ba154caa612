"""Files of pools: inside before the first device, and what they say of leases."""

from __future__ import annotations

import json
from dataclasses import replace

from hotplugd.model.pool_file import PoolFile
from hotplugd.model.ports import Busy, Refused, Unreachable
from hotplugd.model.values import Instance
from hotplugd.rulefile.load import parse
from hotplugd.rules.ruleset import RuleSet
from tests.support.devices import box, console, phone
from tests.support.virtual import in_virtual_time, later
from tests.unit.reconcile.bench import Bench

KEY = "/etc/hotplugd/adbkey"
FILES = f"files: [{{source: {KEY}, path: /root/.android/adbkey}}]"


def rules(more: str = FILES) -> RuleSet:
    loaded = parse(
        f"pools: {{android: {{instances: 'job-*', {more}}}}}\n"
        f"rules: [{{name: phones, match: {{vendor_id: 18d1}}, attach: {{pool: android}}}}]",
        "x",
    )
    assert not loaded.errors, loaded.errors[0].render()
    return loaded.rules


def job(number: int, count: int = 1) -> Instance:
    claims = {"phone": f"android count={count}"}
    return replace(box(name=f"job-{number}"), claims=claims, created=f"2026-{number}", started="at first")


@in_virtual_time
async def test_a_file_is_inside_before_the_device_and_put_once() -> None:
    bench = Bench(job(1, 2), rules=rules())
    bench.on_host[KEY] = b"secret"
    order: list[str] = []
    bench.applied = lambda request: order.extend([f"device after {len(bench.placed)}"] * len(request.put))
    await bench.start(phone(1), phone(2))
    assert bench.placed == [(0.0, "job-1", "/root/.android/adbkey", b"secret")]
    assert order == ["device after 1"] * 2


@in_virtual_time
async def test_an_instance_that_is_started_anew_has_it_again() -> None:
    bench = Bench(job(1), rules=rules())
    bench.on_host[KEY] = b"secret"
    await bench.start(phone(1))
    bench.end(job(1).id)
    await bench.reconciler.settled()
    bench.begin(job(1).id)
    bench.reconciler.refresh(job(1).id)
    await later(10)
    assert len(bench.placed) == 2


@in_virtual_time
async def test_what_keeps_its_device_while_it_is_stopped_has_it_again_once_it_is_started() -> None:
    bench = Bench(job(1), rules=rules(f"keep_stopped: true, {FILES}"))
    bench.on_host[KEY] = b"secret"
    await bench.start(phone(1))
    for number in (2, 3):
        bench.end(job(1).id)
        await bench.reconciler.settled()
        await later(5)
        bench.begin(job(1).id)
        busy = ["at first"] * (number - 2)

        def fails(_: PoolFile, busy: list[str] = busy) -> None:
            if busy:
                raise Busy(busy.pop())

        bench.misplaced = fails
        bench.reconciler.refresh(job(1).id)
        await later(200)
        assert (len(bench.placed), busy) == (number, [])
    assert bench.told() == []
    # Nothing else is asked for.
    assert [len(each.put) for each in bench.changes] == [1]


@in_virtual_time
async def test_so_it_has_where_hotplugd_starts_or_reads_rules_meanwhile() -> None:
    keeps = rules(f"keep_stopped: true, {FILES}")
    for new in (False, True):
        bench = Bench(job(1), rules=keeps)
        await bench.start(phone(1))
        bench.end(job(1).id)
        await bench.reconciler.settled()
        bench.reconciler.set_rules(rules(f"keep_stopped: true, keep: 5s, {FILES}"))
        if new:
            links, bench = bench.links, Bench(*bench.instances.values(), rules=keeps)
            bench.links = links
            await bench.start(phone(1))
        bench.on_host[KEY] = b"secret"
        assert bench.placed == []
        bench.begin(job(1).id)
        bench.reconciler.refresh(job(1).id)
        await later(200)
        assert [path for _, _, path, _ in bench.placed] == ["/root/.android/adbkey"]


@in_virtual_time
async def test_an_unreadable_file_is_a_problem_and_no_obstacle() -> None:
    bench = Bench(job(1), rules=rules())
    await bench.start(phone(1))
    assert len(bench.instances[job(1).id].entries) == 1
    (told,) = bench.told()
    assert told == (
        f"/root/.android/adbkey cannot be put into job-1: {KEY} cannot be opened, or is a link: "
        f"No such file or directory"
    )


@in_virtual_time
async def test_a_refusal_is_a_problem_and_a_busy_server_is_asked_again() -> None:
    for error, kept in ((Refused("read-only file system"), 1), (Busy("it starts"), 0)):
        bench = Bench(job(1), rules=rules())
        bench.on_host[KEY] = b"secret"

        def fails(_: PoolFile, error: Exception = error) -> None:
            raise error

        bench.misplaced = fails
        await bench.start(phone(1))
        assert len(bench.instances[job(1).id].entries) == kept
        bench.misplaced = lambda _: None
        await later(30)
        assert len(bench.instances[job(1).id].entries) == 1
        assert len(bench.placed) == 1 - kept


@in_virtual_time
async def test_devices_of_no_pool_and_of_others_bring_no_files() -> None:
    bench = Bench()
    await bench.start(console(1), phone(1))
    assert bench.placed == []


@in_virtual_time
async def test_a_file_inside_says_what_is_leased_and_what_is_no_more() -> None:
    bench = Bench(job(1, 1), rules=rules("leases_file: /run/phones.json"))
    await bench.start(phone(1))
    at, name, path, content = bench.placed[-1]
    (lease,) = json.loads(content)
    assert (at, name, path) == (0.0, "job-1", "/run/phones.json")
    assert (lease["pool"], lease["identity"], lease["path"]) == (
        "android",
        "serial:R5C001",
        "/dev/bus/usb/001/001",
    )
    bench.instances[job(1).id] = replace(bench.instances[job(1).id], claims={})
    bench.reconciler.refresh(job(1).id)
    await later(10)
    assert bench.placed[-1][3] == b"[]\n"


@in_virtual_time
async def test_what_is_leased_is_said_inside_again_after_a_restart_and_where_the_server_was_away() -> None:
    keeps = rules("leases_file: /run/phones.json, keep_stopped: true")
    bench = Bench(job(1, 1), rules=keeps)
    await bench.start(phone(1))
    assert len(bench.placed) == 1
    bench.end(job(1).id)
    await bench.reconciler.settled()

    def away(_: PoolFile) -> None:
        raise Unreachable("it does not answer")

    bench.misplaced = away
    bench.begin(job(1).id)
    bench.reconciler.refresh(job(1).id)
    await later(30)
    assert len(bench.placed) == 1
    (told,) = bench.events("claim.problem")
    bench.misplaced = lambda _: None
    await later(300)
    assert [each["reason"] for each in bench.events("problem.over")] == [told["reason"]]
    assert [each[2] for each in bench.placed] == ["/run/phones.json"] * 2
    assert (bench.placed[1][3], bench.told()) == (bench.placed[0][3], [])
