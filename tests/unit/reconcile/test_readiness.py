"""Whether attached devices are ready: looked at inside, told of, and not given on where they are bad."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hotplugd.model.ports import Busy, Ran, Refused, Unreachable
from hotplugd.model.values import InstanceName
from hotplugd.reconcile.leases import Leases
from hotplugd.rulefile.load import parse
from hotplugd.rules.ruleset import RuleSet
from tests.support.devices import console, phone
from tests.support.virtual import at, in_virtual_time, later
from tests.unit.pools.test_adb import answer
from tests.unit.reconcile.bench import Bench
from tests.unit.reconcile.test_leases import job
from tests.unit.reconcile.test_leases import rules as rules_with

KEY = "serial:R5C001"
COMMAND = "{command: [/opt/check, '{serial}'], within: 60s, every: 10s}"
BAD = (
    "/dev/bus/usb/001/001 at 1-1 is given to nobody: bad: the command exited with 1; put it right and "
    "plug it in anew, or `hotplugd uncordon serial:R5C001` where it is right"
)
HANGS = Ran(None, b"", "it did not end within 5 s")


def rules(ready: str = COMMAND) -> RuleSet:
    return rules_with(f"instances: 'job-*', ready: {ready}")


def leases(bench: Bench) -> Leases:
    return bench.reconciler.assignments.leases


def health(bench: Bench) -> str:
    return leases(bench).leasing.health(KEY).state


def holders(bench: Bench) -> list[str]:
    return [name.name for name, each in bench.instances.items() if each.entries]


def answering(*answers: Ran) -> Callable[[InstanceName, Sequence[str]], Ran]:
    """Each in turn, and the last one from then on."""
    left = [*answers]
    return lambda _name, _words: left.pop(0) if len(left) > 1 else left[0]


async def deleted(bench: Bench, number: int) -> None:
    del bench.instances[job(number).id]
    bench.reconciler.refresh(job(number).id)
    await bench.reconciler.settled()


@in_virtual_time
async def test_a_device_is_attached_at_once_and_looked_at_afterwards() -> None:
    bench = Bench(job(1), rules=rules())
    bench.commands.takes = 3.0
    await bench.start(phone(1))
    assert (bench.times, health(bench)) == ([0.0], "unknown")
    await at(1)
    assert bench.commands.ran == [(0.0, "job-1", ("/opt/check", "R5C001"))]
    assert (health(bench), bench.told()) == ("unknown", [])
    await at(4)
    assert (health(bench), bench.told()) == ("good", [])
    assert leases(bench).leasing.health(KEY).since == "at 3.0"
    await at(130)
    assert [when for when, *_ in bench.commands.ran] == [0.0, 63.0, 126.0]


@in_virtual_time
async def test_an_unready_device_is_a_problem_with_its_age_then_bad() -> None:
    bench = Bench(job(1), rules=rules())
    bench.commands.answer = answering(Ran(1, b"booting"))
    await bench.start(phone(1))
    await at(45)
    (told,) = bench.told()
    assert told == (
        "/dev/bus/usb/001/001 in job-1 is attached and not ready for 45 seconds: "
        "the command exited with 1: booting"
    )
    assert health(bench) == "unknown"
    await at(185)
    (told,) = bench.told()
    assert "not ready for 3 minutes (bad: not ready within 60 s)" in told
    assert health(bench) == "bad"
    assert holders(bench) == ["job-1"]
    # Told when it began, and when it became bad.
    (begun, bad) = bench.events("health.problem")
    (over,) = bench.events("problem.over")
    assert (begun["instance"], begun["identity"], begun["pool"]) == ("job-1", KEY, "android")
    assert over["reason"] == begun["reason"]
    assert "(bad: " in bad["reason"]


@in_virtual_time
async def test_the_next_claim_gets_another_device_than_the_bad_one() -> None:
    bench = Bench(job(1), rules=rules())
    bench.commands.answer = lambda _name, words: Ran(1 if words[-1] == "R5C001" else 0, b"")
    await bench.start(phone(1))
    await at(100)
    await deleted(bench, 1)
    bench.instances[job(2).id] = job(2)
    bench.inside[job(2).id] = {}
    bench.reconciler.refresh(job(2).id)
    await later(10)
    assert holders(bench) == []
    assert any("cannot be given to anybody" in each for each in bench.told())
    assert health(bench) == "bad"
    await bench.plug(phone(2))
    assert holders(bench) == ["job-2"]


async def with_a_bad_phone() -> Bench:
    """A phone that was never ready, and whose instance is deleted."""
    bench = Bench(job(1), rules=rules())
    bench.commands.answer = answering(Ran(1, b""))
    await bench.start(phone(1))
    await at(100)
    await deleted(bench, 1)
    assert health(bench) == "bad"
    assert bench.told() == [BAD]
    assert [each["reason"] for each in bench.events("claim.problem")] == [BAD]
    return bench


@in_virtual_time
async def test_one_that_is_plugged_in_anew_is_given_again() -> None:
    bench = await with_a_bad_phone()
    bench.reconciler.no_device(phone(1).syspath)
    await bench.plug(phone(1, born=2))
    assert (health(bench), bench.told()) == ("unknown", [])
    assert [each["reason"] for each in bench.events("problem.over")][-1] == BAD


@in_virtual_time
async def test_somebody_forgives_it() -> None:
    bench = await with_a_bad_phone()
    assert leases(bench).readiness.forgive(KEY)
    assert not leases(bench).readiness.forgive(KEY)
    assert health(bench) == "unknown"


@in_virtual_time
async def test_one_that_becomes_ready_is_good_and_its_problem_over() -> None:
    bench = Bench(job(1), rules=rules())
    bench.commands.answer = answering(*[Ran(1, b"")] * 8, Ran(0, b""))
    await bench.start(phone(1))
    await at(100)
    assert (health(bench), bench.told()) == ("good", [])
    assert len(bench.events("health.problem")) == len(bench.events("problem.over")) == 2


@in_virtual_time
async def test_one_adb_server_is_asked_once_for_all_its_phones() -> None:
    both = job(1, "android count=2")
    bench = Bench(both, rules=rules("adb"))
    lines = "R5C001 device usb:1-1\nR5C002 unauthorized usb:1-2\n"
    bench.commands.answer = answering(Ran(0, answer(lines)))
    await bench.start(phone(1), phone(2))
    await at(5)
    assert [(when, words[0]) for when, _, words in bench.commands.ran] == [(0.0, "bash")]
    assert health(bench) == "good"
    (told,) = bench.told()
    assert "adb says 'unauthorized': the phone does not know the key of the adb server inside" in told


@in_virtual_time
async def test_without_bash_nc_asks_it_and_without_both_that_is_said() -> None:
    def missing(*names: str) -> Callable[[InstanceName, Sequence[str]], Ran]:
        def answers(_: InstanceName, words: Sequence[str]) -> Ran:
            if words[0] in names:
                raise Refused("Command not found")
            return Ran(0, answer("R5C001 device\n"))

        return answers

    bench = Bench(job(1), rules=rules("adb"))
    bench.commands.answer = missing("bash")
    await bench.start(phone(1))
    await at(5)
    assert (health(bench), bench.told()) == ("good", [])
    bench.commands.answer = missing("bash", "nc")
    await at(70)
    assert health(bench) == "unknown"
    assert "neither bash nor nc is inside" in bench.told()[0]


@in_virtual_time
async def test_a_job_without_an_adb_server_is_no_problem() -> None:
    bench = Bench(job(1), rules=rules("adb"))
    bench.commands.answer = answering(Ran(1, b"Connection refused"))
    await bench.start(phone(1))
    await at(1000)
    assert (health(bench), bench.told()) == ("unknown", [])
    assert leases(bench).leasing.health(KEY).reason == "no adb server runs inside"


@in_virtual_time
async def test_a_busy_or_stopping_instance_does_not_make_it_bad() -> None:
    bench = Bench(job(1), rules=rules())

    def busy(_: InstanceName, __: Sequence[str]) -> Ran:
        raise Busy("it stops")

    bench.commands.answer = busy
    bench.commands.takes = 4.0
    await bench.start(phone(1))
    await at(1)
    bench.end(job(1).id)
    await at(300)
    assert (health(bench), bench.told()) == ("unknown", [])
    # Nobody looks at what is not attached.
    assert len(bench.commands.ran) == 1


@in_virtual_time
async def test_commands_that_hang_hold_up_no_other_device_and_no_plug() -> None:
    bench = Bench(job(1), job(2), rules=rules())
    bench.commands.takes = 5.0
    bench.commands.answer = answering(HANGS)
    await bench.start(phone(1))
    await at(1)
    await bench.plug(phone(2))
    assert bench.times == [0.0, 1.0]
    await at(300)
    assert len(bench.commands.ran) < 20
    assert "the command was killed: it did not end within 5 s" in bench.told()[0]


@in_virtual_time
async def test_a_rule_without_a_pool_may_ask_too() -> None:
    loaded = parse(
        "rules: [{name: r, match: {subsystem: tty}, attach: {to: box, ready: {command: [x]}}}]", "x"
    )
    bench = Bench(rules=loaded.rules)
    bench.commands.answer = answering(Ran(1, b""))
    await bench.start(console(1))
    await at(100)
    (told,) = bench.told()
    assert "is attached and not ready" in told
    await bench.plug(phone(1))
    assert bench.told() == [told]


@in_virtual_time
async def test_nothing_is_run_where_no_rule_asks() -> None:
    bench = Bench()
    await bench.start(console(1), phone(1))
    await at(1000)
    assert bench.commands.ran == []


@in_virtual_time
async def test_new_rules_are_asked_by_and_no_old_ones() -> None:
    bench = Bench(job(1), rules=rules())
    bench.commands.answer = answering(Ran(1, b""))
    await bench.start(phone(1))
    await at(5)
    bench.reconciler.set_rules(rules("{command: [/opt/new]}"))
    await at(6)
    assert [words for *_, words in bench.commands.ran] == [("/opt/check", "R5C001"), ("/opt/new",)]
    plain = "pools: {android: {instances: 'job-*'}}\nrules: [{name: phones, match: {vendor_id: 18d1}, "
    bench.reconciler.set_rules(parse(plain + "attach: {pool: android}}]", "x").rules)
    await at(100)
    assert bench.told() == []
    assert len(bench.commands.ran) == 2


@in_virtual_time
async def test_a_look_that_fails_does_not_give_a_device_more_time() -> None:
    bench = Bench(job(1), rules=rules())
    bench.commands.answer = answering(Ran(1, b""))
    await bench.start(phone(1))

    def blind(_: InstanceName) -> None:
        raise Unreachable("nobody can look inside")

    await at(40)
    bench.glance = blind
    bench.reconciler.look_again(job(1).id)
    await at(65)
    assert [each.verified for each in bench.reconciler.attachments()] != [True]
    assert health(bench) == "bad"


@in_virtual_time
async def test_of_devices_that_are_gone_nothing_is_kept() -> None:
    bench = Bench(job(1), rules=rules())
    bench.commands.answer = lambda _name, words: Ran(int(words[-1] == "R5C001"), b"")
    await bench.start(*map(phone, range(1, 4)))
    for number, state in ((1, "bad"), (2, "good"), (3, "good")):
        await later(100)
        assert leases(bench).leasing.health(f"serial:R5C00{number}").state == state
        bench.reconciler.no_device(phone(number).syspath)
        await bench.reconciler.settled()
        assert leases(bench).leasing.health(f"serial:R5C00{number}").state == "unknown"
    assert leases(bench).unwell() == []


@in_virtual_time
async def test_a_bad_phone_is_not_given_on_where_its_job_ends_its_adb_server_first() -> None:
    bench = Bench(job(1), job(2), rules=rules("adb"))
    bench.commands.answer = answering(Ran(0, answer("unauthorized")))
    await bench.start(phone(1))
    await at(100)
    assert health(bench) == "bad"
    told = bench.told()
    bench.commands.answer = answering(Ran(1, b"Connection refused"))
    await at(300)
    assert (health(bench), len(bench.told())) == ("bad", len(told))
    assert bench.events("problem.over")[-1:] != bench.events("health.problem")[-1:]
    await deleted(bench, 1)
    await later(10)
    assert holders(bench) == []
