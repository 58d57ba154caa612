"""All that people, phones and servers do to a farm: one place at a time, and nothing is left over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hypothesis import example, given, settings
from hypothesis import strategies as st

from hotplugd.app.lease_targets import claim_for
from hotplugd.app.refusal import Refusal
from hotplugd.model.asker import Asker
from hotplugd.model.entry import MARK_INSTANCE, is_ours, mark_for, names_for, slot_of
from hotplugd.model.lease import Lease
from hotplugd.model.ports import Changed, Ran, Refused, Unreachable
from hotplugd.model.values import Device, Instance, InstanceName
from hotplugd.plan.overrides import Lasting, Override
from hotplugd.pools.away_leases import NOTHING_KEPT, KeptLeases
from hotplugd.pools.cordons import NO_CORDONS, Cordon, CordonKind
from hotplugd.reconcile.leases import Leases
from tests.support.devices import box, phone, plugged
from tests.support.virtual import at, in_virtual_time, now
from tests.unit import devices as made_up
from tests.unit.reconcile.bench import Bench, Request
from tests.unit.reconcile.test_by_hand import decided, override
from tests.unit.reconcile.test_leases import job, rules
from tests.unit.reconcile.test_leases_at_random import name, will_do
from tests.unit.reconcile.test_telling import HOUR

ZOO = InstanceName("default", "zoo")
ROOT = Asker(0, "root")
CLAIMS = ("android", "android count=2", "android serial=R5C001", "android serial=R5C00[12]")
READY = "ready: {command: [/opt/check], within: 30s, every: 5s}, flap: {count: 3, within: 60s}"
FILES = "leases_file: /run/phones.json"
PLAIN = rules(attach="{to: zoo}")
RULES = (
    rules(f"instances: 'job-*', keep: 60s, {READY}, {FILES}", attach="{pool: android, with: tty}"),
    rules(f"instances: 'job-*', {READY}"),
    rules(f"instances: 'job-*', keep_stopped: true, {FILES}", attach="{pool: android, with: tty}"),
    rules("instances: 'job-*', per_instance: 1, keep: 60s"),
    PLAIN,
)


TROUBLES = ("open", "slow", "server", "get", "bad", "hang", "files", "changed", "refused")


def own_once(bench: Bench) -> None:
    """Each device is in one instance; a copy has entries of what it was copied from for a moment."""
    found: dict[str, str] = {}
    for n, instance in bench.instances.items():
        for each in filter(is_ours, instance.entries.values()):
            if each.config.get(MARK_INSTANCE) == mark_for(n):
                assert found.setdefault(each.name, str(n)) == str(n), (found[each.name], n, each)


class Farm:
    """Three phones with modems, four jobs, people, and a server, a disk and a helper that have troubles."""

    def __init__(self) -> None:
        self.rules = RULES[0]
        self.devices: dict[int, Device] = {}
        self.modems: dict[int, Device] = {}
        self.texts: dict[int, str] = {}
        self.snapshots: dict[int, Instance] = {}
        self.overrides: dict[Lasting, Override] = {}
        self.cordons = NO_CORDONS
        self.old: KeptLeases = NOTHING_KEPT
        self.last: dict[str, str] = {}
        self.version: dict[str, int] = {}
        self.begun: dict[str, int] = {}
        self.revoked: set[str] = set()
        # What an earlier daemon may have had in instances: what goes by a plain rule does not wait for it.
        self.before: set[str] = set()
        self.trouble: set[str] = set()
        self._new(Bench(box(name="zoo"), rules=self.rules))

    def _new(self, bench: Bench) -> None:
        self.bench = bench
        bench.patience, bench.edited = 100_000, True
        bench.takes, bench.looking = 0.02, 0.005
        bench.lease_keeper.takes = 0.003
        bench.applied = self._applied
        bench.revoker.begun = lambda device: self.begun.update(
            {device.slot: self.version.get(device.slot, 0)}
        )
        bench.revoker.done = self._revoked
        self._troubles()
        bench.reconciler.set_overrides(decided(*self.overrides.values()), "start")
        self.leases.set_cordons(self.cordons)

    @property
    def leases(self) -> Leases:
        return self.bench.reconciler.assignments.leases

    def _revoked(self, device: Device) -> None:
        if self.begun[device.slot] == self.version.get(device.slot, 0):
            self.revoked.add(device.slot)

    def _applied(self, request: Request) -> None:
        own_once(self.bench)
        for each in request.remove:
            for slot in [s for s in self.last if each in names_for(s)]:
                self.version[slot] = self.version.get(slot, 0) + 1
        for slot in map(slot_of, request.put):
            before = self.last.get(slot, request.instance)
            usb = any(each.slot == slot for each in self.devices.values())
            plain = request.instance == "zoo" and slot in self.before
            ended = before == request.instance or slot in self.revoked
            assert ended or plain or not usb, f"{before} may have it open"
            self.last[slot] = request.instance
            self.version[slot] = self.version.get(slot, 0) + 1
            self.revoked.discard(slot)

    def _all(self) -> list[Device]:
        return [*self.devices.values(), *self.modems.values()]

    # --- troubles
    def trouble_on(self, number: int, born: int) -> None:
        self.trouble ^= {TROUBLES[(born * 7 + number) % len(TROUBLES)]}
        self._troubles()

    def calm(self, *_: int) -> None:
        self.trouble.clear()
        self._troubles()

    def _troubles(self) -> None:
        b, t = self.bench, self.trouble

        def judge(_: object) -> None:
            if "server" in t:
                raise Unreachable("it does not answer")
            if "refused" in t:
                raise Refused("it does not fit")
            if "changed" in t and len(b.requests) % 3:
                raise Changed("somebody else was faster")

        def answer(_: object) -> None:
            if "get" in t:
                raise Unreachable("it does not answer")

        b.judge, b.answer = judge, answer
        b.revoker.open = {f"1-{n}": "adb (1)" for n in (1, 2, 3)} if "open" in t else {}
        b.revoker.takes = 12.0 if "slow" in t else 0.01
        b.commands.takes = 8.0 if "hang" in t else 0.1
        b.commands.answer = lambda _n, _w: Ran(1 if "bad" in self.trouble else 0, b"")

        def misplaced(_: object) -> None:
            if "files" in t:
                raise Unreachable("it does not answer")

        b.misplaced = misplaced

    # --- devices
    def plug(self, number: int, born: int) -> None:
        number = number or 1
        self.pull(number, born)
        self.devices[number] = one = phone(number, born=born)
        self.modems[number] = plugged(made_up.tty(one, f"ttyACM{number}"), 166, number, born)
        for each in sorted((one, self.modems[number]), key=str, reverse=born % 2 == 0):
            self.bench.reconciler.device(each)

    def pull(self, number: int, _: int) -> None:
        for gone in (self.modems.pop(number, None), self.devices.pop(number, None)):
            if gone is not None:
                self.bench.reconciler.no_device(gone.syspath)

    # --- instances
    def _change(self, number: int, instance: Instance) -> None:
        self.bench.instances[name(number)] = instance
        self.bench.inside.setdefault(name(number), {})
        self.bench.reconciler.refresh(name(number))

    def make(self, number: int, born: int) -> None:
        self.texts[number] = CLAIMS[born % len(CLAIMS)]
        if (actual := self.bench.instances.get(name(number))) is not None and born % 2:
            self._change(number, replace(actual, claims={"phone": self.texts[number]}))
        else:
            self.delete(number, born)
            self.texts[number] = CLAIMS[born % len(CLAIMS)]
            self._change(number, job(number, self.texts[number], created=f"{born:04}"))

    def two_claims(self, number: int, _: int) -> None:
        if (actual := self.bench.instances.get(name(number))) is not None:
            self.texts.pop(number, None)
            self._change(
                number,
                replace(actual, claims={"phone": "android serial=R5C001", "b": "android serial=R5C001"}),
            )

    def delete(self, number: int, _: int) -> None:
        self.texts.pop(number, None)
        self.bench.instances.pop(name(number), None)
        self.bench.reconciler.refresh(name(number))

    def rename(self, number: int, born: int) -> None:
        if (actual := self.bench.instances.get(name(number))) is not None and not actual.running:
            text = self.texts.get(number)
            self.delete(number, born)
            other = (number + 1) % 4
            if text is not None:
                self.texts[other] = text
            self._change(other, replace(actual, id=name(other)))

    def copy(self, number: int, born: int) -> None:
        other = (number + 1) % 4
        if (actual := self.bench.instances.get(name(number))) is not None and name(
            other
        ) not in self.bench.instances:
            if number in self.texts:
                self.texts[other] = self.texts[number]
            self._change(other, replace(actual, id=name(other), running=False, created=f"{born:04}"))

    def withdraw(self, number: int, _: int) -> None:
        if (actual := self.bench.instances.get(name(number))) is not None:
            self.texts.pop(number, None)
            self._change(number, replace(actual, claims={"phone": "none"}))

    def stop(self, number: int, _: int) -> None:
        if name(number) in self.bench.instances:
            self.bench.end(name(number))
            self.bench.reconciler.refresh(name(number))

    def start(self, number: int, _: int) -> None:
        if name(number) in self.bench.instances:
            self.bench.begin(name(number))
            self.bench.reconciler.refresh(name(number))

    def snapshot(self, number: int, _: int) -> None:
        if (actual := self.bench.instances.get(name(number))) is not None:
            self.snapshots[number] = actual

    def restore(self, number: int, born: int) -> None:
        self.stop(number, born)
        actual, before = self.bench.instances.get(name(number)), self.snapshots.get(number)
        if actual is not None and before is not None:
            self._change(number, replace(actual, entries=before.entries, running=False))

    def scribble(self, number: int, _: int) -> None:
        if (actual := self.bench.instances.get(name(number))) is not None:
            self._change(number, replace(actual, leases="[]forged"))

    # --- people
    def hand(self, number: int, born: int) -> None:
        device = (self.devices if born % 3 else self.modems).get(number)
        if device is not None:
            made = override(device, (ZOO, name(1), None, name(2))[born % 4], *self._all())
            self.overrides[made.of] = made
            self.bench.reconciler.set_overrides(decided(*self.overrides.values()), "asked")

    def undo(self, number: int, _: int) -> None:
        for of in sorted(self.overrides, key=str)[:1]:
            del self.overrides[of]
        self.bench.reconciler.set_overrides(decided(*self.overrides.values()), "asked")

    def reload(self, _: int, born: int) -> None:
        self.rules = RULES[born % len(RULES)]
        self.bench.reconciler.set_rules(self.rules)

    def cordon(self, number: int, born: int) -> None:
        kinds: tuple[tuple[CordonKind, str], ...] = (
            ("device", f"serial:R5C{number:03}"),
            ("instance", f"default/job-{number}"),
            ("location", f"1-{number}"),
        )
        self.cordons = self.cordons.with_one(Cordon(*kinds[born % 3], "x", "now", ROOT))
        self.leases.set_cordons(self.cordons)

    def drain(self, number: int, born: int) -> None:
        self.cordon(number, born)
        keys = [
            k for k, lease in self.leases.leasing.allocation.leases.items() if lease.instance == name(number)
        ]
        self.leases.release(keys if born % 3 == 1 else [f"serial:R5C{number:03}"], "drained")

    def uncordon(self, number: int, _: int) -> None:
        for each in list(self.cordons)[:1]:
            self.cordons = self.cordons.without(each)
        self.leases.set_cordons(self.cordons)
        self.leases.forgive([f"serial:R5C{number:03}"])

    def release(self, number: int, _: int) -> None:
        self.leases.release([f"serial:R5C{number:03}"], "released")

    def move(self, number: int, born: int) -> None:
        key, to = f"serial:R5C{number:03}", name(born % 4)
        try:
            claim = claim_for(self.leases.leasing, key, to, key)
        except Refusal:
            return
        self.leases.move(key, Lease(to, claim), "moved")

    async def restart(self, kept: KeptLeases | None = None) -> None:
        before = self.bench
        before.reconciler.close()
        bench = Bench(
            *before.instances.values(),
            rules=self.rules,
            kept=before.lease_keeper.kept if kept is None else kept,
        )
        bench.instances, bench.links = before.instances, before.links
        bench.kept.start(before.kept)
        self._new(bench)
        await bench.start(*self._all())
        self.before |= {each.slot for each in self._all()}
        for slot in sorted(bench.links - {each.slot for each in self._all()}):
            bench.reconciler.left_over(slot)

    def may_be_given(self, port: int) -> bool:
        key = f"serial:R5C{port:03}"
        cordoned = self.cordons.get("device", key) or self.cordons.get("location", f"1-{port}")
        return cordoned is None and self.leases.leasing.health(key).state != "bad"

    def had(self) -> dict[int, set[int]]:
        return {
            number: {
                port
                for port, device in self.devices.items()
                if not {*names_for(device.slot)}.isdisjoint(instance.entries)
            }
            for number in range(4)
            if (instance := self.bench.instances.get(name(number))) is not None
        }


Act = Callable[[Farm, int, int], None]
F = Farm
ACTS: list[Act] = [
    F.plug, F.plug, F.plug, F.pull, F.make, F.make, F.make, F.delete, F.withdraw, F.two_claims, F.stop,
    F.start, F.snapshot, F.restore, F.rename, F.copy, F.scribble, F.hand, F.undo, F.reload, F.cordon,
    F.drain, F.uncordon, F.release, F.move, F.trouble_on, F.trouble_on, F.calm,
]  # fmt: skip
Step = tuple[Act | str | None, int, float]
STEPS: st.SearchStrategy[Step] = st.tuples(
    st.sampled_from([*ACTS, None, "old"]),
    st.integers(0, 3),
    st.sampled_from([0.0, 0.01, 0.3, 5.0, 20.0, 40.0]),
)


async def live(farm: Farm, steps: list[Step]) -> None:
    when = 1.0
    await farm.bench.start()
    for born, (act, number, pause) in enumerate(steps, 2):
        await at(when)
        if act is None or isinstance(act, str):
            old, farm.old = farm.old, farm.bench.lease_keeper.kept
            was, farm.trouble = farm.trouble, set()
            await farm.restart(old if act == "old" else None)
            farm.trouble = was
            farm._troubles()
            when = max(when, now())
        else:
            act(farm, number, born)
        when = max(when, now()) + pause + 0.001
    farm.calm()
    for n in range(4):
        farm.bench.reconciler.refresh(name(n))
    await at(now() + 3 * HOUR)
    await farm.bench.reconciler.settled()


def check(farm: Farm) -> None:
    """Nothing is in two places, nothing waits for what is over, and what is free completes no claim."""
    bench, leases = farm.bench, farm.leases
    own_once(bench)
    assert (bench.reconciler.pending(), bench.reconciler.held()) == ([], [])
    assert not leases.leasing.is_releasing
    assert leases.quarantines.all == ()
    if farm.rules is PLAIN:
        return
    by_hand = {
        port
        for port in farm.devices
        for each in farm.overrides.values()
        if each.of.subsystem == "usb" and each.of.identity == f"serial:R5C{port:03}"
    }
    had = {number: ports - by_hand for number, ports in farm.had().items()}
    free = {port for port in farm.devices if farm.may_be_given(port)} - by_hand
    free -= {port for ports in had.values() for port in ports}
    lacks: dict[int, int] = {}
    for number, ports in had.items():
        instance, text = bench.instances[name(number)], farm.texts.get(number)
        keeps = farm.rules.pools["android"].keep_stopped
        assert not ports or instance.running or keeps
        if text is None or not instance.running or farm.cordons.of_instance(name(number)) is not None:
            continue
        count = 2 if "count=2" in text else 1
        assert len(ports) <= count
        if len(ports) < count:
            lacks[number] = count - len(ports)
    for number, lack in lacks.items():
        # What is free may be kept for another that asks for two.
        if not any("count=2" in farm.texts[other] for other in lacks if other != number):
            there = [port for port in free if will_do(farm.texts[number], port)]
            assert len(there) < lack, f"job-{number} waits, and {there} are free"


async def clean_up(farm: Farm) -> None:
    farm.overrides.clear()
    farm.bench.reconciler.set_overrides(decided(), "asked")
    farm.cordons = NO_CORDONS
    farm.leases.set_cordons(NO_CORDONS)
    for n in range(4):
        farm.pull(n, 0)
        farm.delete(n, 0)
    await at(now() + 3 * HOUR)
    await farm.bench.reconciler.settled()


def left(farm: Farm) -> dict[str, object]:
    """What is kept of devices and instances, none of which are there any more."""
    leases, handovers = farm.leases, farm.bench.reconciler.inventory.handovers
    leasing, units, claimants = leases.leasing, leases.leasing._units, leases.leasing.claimants
    ready, files, tries = leases.readiness, leases._files, leases.revocations
    kept = {
        "handovers": (handovers._by_instance, handovers._by_slot, handovers._left, handovers._by_hand),
        "why": (handovers.why, handovers._revoking, tries._tries, tries.problems()),
        "leases": (leasing.allocation.leases, [*leasing.away], leasing._releasing, leasing._health),
        "units": (units._units, units._unit_of, units._anchor_of, units._along, units.new, units.awaited),
        "claims": (claimants._order, claimants._known.keys() - {ZOO}, claimants.new - {ZOO}),
        "readiness": (ready._watched, ready._by_instance, ready._bad),
        "files": (files._has.keys() - {ZOO}, files._leases.keys() - {ZOO}, files._wrong),
        "quarantines": (leases.quarantines.all, leases.quarantines._told),
        "links": (farm.bench.links,),
        "noted": (farm.bench.lease_keeper._noted.away, farm.bench.lease_keeper._noted.order),
        "told": (farm.bench.told(),),
    }
    return {what: each for what, found in kept.items() for each in found if each}


# A restart while a modem goes from a pool to who has its phone.
BY_HAND = [
    (F.uncordon, 2, 5.0), (F.undo, 0, 5.0), (F.make, 1, 0.3), (F.plug, 2, 0.0), (F.make, 2, 40.0),
    (F.make, 3, 20.0), (F.plug, 2, 0.01), (F.make, 2, 0.01), (F.two_claims, 3, 0.3), (F.trouble_on, 0, 0.0),
    (F.plug, 3, 5.0), (F.plug, 1, 20.0), (F.two_claims, 2, 0.3), (F.hand, 1, 0.0), (F.uncordon, 2, 5.0),
    (None, 1, 0.0),
]  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.lists(STEPS, max_size=30))
@example(BY_HAND)
def test_whatever_happens(steps: list[Step]) -> None:
    @in_virtual_time
    async def test() -> None:
        farm = Farm()
        await live(farm, steps)
        check(farm)
        await clean_up(farm)
        assert left(farm) == {}

    test()
