"""A farm in virtual time, to which people, phones and servers do what they may do."""

from __future__ import annotations

from dataclasses import replace

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
from hotplugd.rules.ruleset import RuleSet
from tests.support.devices import box, phone, plugged
from tests.support.virtual import at, now
from tests.unit import devices as made_up
from tests.unit.reconcile.bench import Bench, Request
from tests.unit.reconcile.test_by_hand import decided, override
from tests.unit.reconcile.test_edl import at_port, edl
from tests.unit.reconcile.test_leases import job, rules
from tests.unit.reconcile.test_leases_at_random import had, name

ZOO = InstanceName("default", "zoo")
ROOT = Asker(0, "root")
CLAIMS = ("android", "android count=2", "android serial=R5C001", "android serial=R5C00[12]")
READY = "ready: {command: [/opt/check], within: 30s, every: 5s}, flap: {count: 3, within: 60s}"
FILES = "leases_file: /run/phones.json"
PLAIN = rules(attach="{to: zoo}")
RULES = (
    rules(f"instances: 'job-*', keep: 60s, {READY}, {FILES}", attach="{pool: android, with: tty}"),
    rules(f"instances: 'job-*', {READY}"),
    rules(
        f"instances: 'job-*', keep_stopped: true, {FILES}",
        attach="{pool: android, with: tty, group: plugdev}",
    ),
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
        # Whether another hotplugd has the lock of pools.
        self.locked = False
        self.in_edl: set[int] = set()
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
        self.trouble: set[str] = set()
        self._new(Bench(box(name="zoo"), rules=self.rules))

    def _new(self, bench: Bench) -> None:
        self.bench = bench
        bench.patience, bench.edited, bench.groups = 100_000, True, {"plugdev": 46}
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
            ended = before == request.instance or slot in self.revoked
            assert ended or not usb, f"{before} may have it open"
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
        self.devices[number] = one = at_port(phone(number, born=born), number)
        self.modems[number] = plugged(made_up.tty(one, f"ttyACM{number}"), 166, number, born)
        for each in sorted((one, self.modems[number]), key=str, reverse=born % 2 == 0):
            self.bench.reconciler.device(each)

    def edl(self, number: int, born: int) -> None:
        """A phone is in emergency download mode; of each third one nobody hears that it went before."""
        number = number or 1
        if born % 3:
            self.pull(number, born)
        self.modems.pop(number, None)
        self.devices[number] = one = edl(number, born)
        self.in_edl.add(number)
        if born % 3:
            self.bench.reconciler.device(one)
        else:
            self.bench.reconciler.listed_devices(self._all(), [])

    def unheard(self, number: int, born: int) -> None:
        """As `plug`, but nobody hears of it before all devices are listed."""
        number = number or 1
        self.devices[number] = one = at_port(phone(number, born=born), number)
        self.modems[number] = plugged(made_up.tty(one, f"ttyACM{number}"), 166, number, born)
        self.in_edl.discard(number)
        self.bench.reconciler.listed_devices(self._all(), [])

    def pull(self, number: int, _: int) -> None:
        self.in_edl.discard(number)
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
            made = job(number, self.texts[number], created=f"2026-11-27T18:00:{born:02}")
            self._change(number, replace(made, started=f"at {born}"))

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
            self._change(
                other, replace(actual, id=name(other), running=False, created=f"2026-11-27T18:00:{born:02}")
            )

    def withdraw(self, number: int, _: int) -> None:
        if (actual := self.bench.instances.get(name(number))) is not None:
            self.texts.pop(number, None)
            self._change(number, replace(actual, claims={"phone": "none"}))

    def stop(self, number: int, born: int) -> None:
        """Somebody stops it, or it stops by itself: then it may be about to start again."""
        if name(number) in self.bench.instances:
            self.bench.end(name(number))
            self.bench.reconciler.refresh(name(number), "asked" if born % 2 else "own")

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
        self.bench.reconciler.set_rules(self.served)

    @property
    def served(self) -> RuleSet:
        return self.rules.without_leases() if self.locked else self.rules

    def lock(self, *_: int) -> None:
        """Another hotplugd gets the lock, or leaves it."""
        self.locked = not self.locked
        self.bench.reconciler.set_rules(self.served)

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
            rules=self.rules.without_leases(),
            kept=before.lease_keeper.kept if kept is None else kept,
        )
        bench.instances, bench.links, bench.alone = before.instances, before.links, before.alone
        bench.kept.start(before.kept)
        self._new(bench)
        # As a session does it, which has the lock or not by then.
        bench.reconciler.set_rules(self.served)
        bench.reconciler.listed_devices(self._all(), [])
        await at(now() + 0.05)
        await bench.start(*self._all())
        for slot in sorted(bench.links - {each.slot for each in self._all()}):
            bench.reconciler.left_over(slot)

    def may_be_given(self, port: int) -> bool:
        key = f"serial:R5C{port:03}"
        cordoned = self.cordons.get("device", key) or self.cordons.get("location", f"1-{port}")
        return cordoned is None and port not in self.in_edl and self.leases.leasing.health(key).state != "bad"

    def had(self) -> dict[int, set[int]]:
        return had(self.bench, self.devices)
