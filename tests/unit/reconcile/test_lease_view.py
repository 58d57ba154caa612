"""What an instance says of its leases: with the entries, put right, and never read as truth."""

from __future__ import annotations

import json
from dataclasses import replace

from hotplugd.model.ports import Refused
from hotplugd.model.values import InstanceName
from tests.support.devices import phone
from tests.support.virtual import at, in_virtual_time
from tests.unit.reconcile.bench import Bench, Request
from tests.unit.reconcile.test_leases import PHONES, job, made, rules, told

JOB = InstanceName("default", "job-1")
RULES = rules(attach="{pool: android, link: '/dev/phones/{serial}'}")
ONE = {
    "pool": "android",
    "claim": "phone",
    "identity": "serial:R5C001",
    "path": "/dev/bus/usb/001/001",
    "link": "/dev/phones/R5C001",
}


def view(bench: Bench, name: InstanceName = JOB) -> object:
    text = bench.instances[name].leases
    return json.loads(text) if text else None


@in_virtual_time
async def test_it_comes_and_goes_in_the_same_request_as_the_device() -> None:
    bench = Bench(job(1, "android count=2"), rules=RULES)
    await bench.start(*PHONES[:2])
    assert view(bench) == [
        ONE,
        {
            **ONE,
            "identity": "serial:R5C002",
            "path": "/dev/bus/usb/001/002",
            "link": "/dev/phones/R5C002",
        },
    ]
    assert len(bench.requests) == 1
    bench.change(JOB, claims={})
    await told(bench, "job-1")
    assert (view(bench), len(bench.requests)) == (None, 2)


@in_virtual_time
async def test_what_others_write_there_is_put_right_and_gives_nothing() -> None:
    forged = json.dumps([ONE])
    bench = Bench(job(1), replace(job(2), claims={}, leases=forged), rules=RULES)
    await bench.start(PHONES[0])
    assert view(bench, InstanceName("default", "job-2")) is None
    bench.change(JOB, leases="x")
    await told(bench, "job-1")
    assert view(bench) == [ONE]
    assert sorted(len(each.names) for each in bench.requests) == [0, 0, 1]


@in_virtual_time
async def test_a_copy_has_none_of_the_originals() -> None:
    bench = Bench(job(1), rules=RULES)
    await bench.start(PHONES[0])
    original = bench.instances[JOB]
    copy = replace(original, id=InstanceName("default", "job-2"), claims={}, running=False)
    await made(bench, copy)
    await at(2)
    assert (view(bench, copy.id), view(bench)) == (None, [ONE])
    assert bench.instances[copy.id].entries == {}


@in_virtual_time
async def test_what_is_refused_or_overwritten_is_written_less_often() -> None:
    bench = Bench(job(1), rules=RULES)
    await bench.start(PHONES[0])

    def judge(request: Request) -> None:
        if not request.names:
            raise Refused("no")

    bench.judge = judge
    before = len(bench.requests)
    bench.change(JOB, leases="x")
    await told(bench, "job-1")
    await at(600)
    assert 3 < len(bench.requests) - before < 20
    bench.judge = lambda _: None
    await at(700)
    assert view(bench) == [ONE]
    # A device is not kept out meanwhile.
    await made(bench, job(3))
    await bench.plug(phone(3))
    assert view(bench, InstanceName("default", "job-3")) is not None


@in_virtual_time
async def test_what_a_restore_wrote_is_put_right_while_the_instance_is_stopped() -> None:
    bench = Bench(job(1), rules=rules("instances: 'job-*', keep_stopped: true"))
    await bench.start(PHONES[0])
    said = bench.instances[JOB].leases
    assert said
    bench.change(JOB, running=False, leases="x")
    await told(bench, "job-1")
    # Whoever has stopped it is not to be refused.
    assert bench.instances[JOB].leases == "x"
    await at(5)
    assert bench.instances[JOB].leases == said
