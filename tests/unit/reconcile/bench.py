"""A reconciler in virtual time, and a scripted server that writes down when it was asked for what."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog

from hotplugd.model.entry import is_ours, is_path, name_for, slot_of, target_of
from hotplugd.model.nic_slot import above_of, read
from hotplugd.model.nic_snapshot import left_from
from hotplugd.model.ports import Busy, Changed, Gone, Refused, ServerError, Unreachable
from hotplugd.model.uevent import Uevent
from hotplugd.model.values import Device, Devnum, Entry, Inside, Instance, InstanceName, Interface, Link, Node
from hotplugd.plan.kinds.kind import Want
from hotplugd.pools.away_leases import NOTHING_KEPT, KeptLeases
from hotplugd.reconcile.ports import Ports
from hotplugd.reconcile.reconciler import Reconciler
from hotplugd.rules.ruleset import RuleSet
from tests.support.devices import ALL, BOOT, BOX, box
from tests.support.virtual import later, now
from tests.unit.reconcile.logged import Logged
from tests.unit.reconcile.scripted_inside import ScriptedFiles
from tests.unit.reconcile.scripted_leases import UPTIME, ScriptedLeaseKeeper
from tests.unit.reconcile.scripted_records import ScriptedDatabase, ScriptedRecordNotes
from tests.unit.reconcile.scripted_revoker import ScriptedRevoker
from tests.unit.reconcile.scripted_seals import ScriptedSeals


@dataclass(frozen=True, slots=True)
class Request:
    """One request to change an instance, when it came and which entries it names."""

    at: float
    instance: str
    put: tuple[Entry, ...] = ()
    remove: tuple[str, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        return frozenset({each.name for each in self.put} | set(self.remove))


class ScriptedLinks:
    """The links that are noted."""

    def __init__(self) -> None:
        self.links: dict[InstanceName, dict[str, Link]] = {}
        self._before: set[InstanceName] = set()

    def start(self, before: ScriptedLinks) -> None:
        """What another noted is read."""
        self.links = before.links
        self._before = set(self.links)

    def names(self) -> set[InstanceName]:
        return self._before

    def take(self, name: InstanceName) -> Mapping[str, Link]:
        taken = self.links.get(name, {}) if name in self._before else {}
        self._before.discard(name)
        return taken

    def note(self, name: InstanceName, links: Mapping[str, Link]) -> None:
        self.links.pop(name, None)
        if links:
            self.links[name] = dict(links)


class Bench(ScriptedFiles):
    """The world around one reconciler.

    instances  as the server has them; `inside` what their nodes are; both change by requests
    judge      raises what a request fails with
    answer     raises what asking for an instance fails with
    unclear    raises what taking away what is left fails with
    glance     raises what a look fails with
    deaf       raises what a telling fails with
    applied    called when a request was done, before it is answered
    asleep     for how long the host slept, which the loop's clock does not count
    takes      how long a request takes, `looking` how long a look and `telling` how long a telling takes, in
               seconds; those of instances in `hanging_requests`, `hanging_looks` and `hanging_tellings` never
               end
    patience   how many requests may come before it is a defect
    requests   what the server was asked to change, `gets` when it was asked for which instance
    looks      when somebody looked into which instance at how many paths
    heard      what those inside were told: when it was asked for, where, and of which path and slot
    folders    which interface is inside under a name, and `veiled` instances show no sysfs inside
    pulled     the slots of interfaces whose hardware went while they were in an instance; of the others
               `restored` gives what there is above them; `short` where no file can be opened to see that
    halves     nodes inside of entries that the server did not get to write down, by path
    nowhere    links that are somewhere else once they were made
    unlinked   raises what making or taking away a link inside fails with
    used       what the host does with devices, by syspath, `asking` how long it takes to ask and
               `asked` when it was asked of which, `unsure` when it was known that it cannot be told
    kept       the links that are noted
    before     what was being put in when another ended, and `notes` the names of what is, by instance
    edited     whether others edit instances so fast that hotplugd may write what is there already
    links      which slots have links, and `alone` those of which one instance has the device alone;
               `unlinkable` and `unmakeable` slots fail, and another hotplugd has `locked` ones
    """

    def __init__(
        self,
        *instances: Instance,
        rules: RuleSet = ALL,
        dry_run: bool = False,
        kept: KeptLeases = NOTHING_KEPT,
    ) -> None:
        self.lease_keeper = ScriptedLeaseKeeper(kept, self._write)
        self.instances = {each.id: each for each in instances or [box()]}
        self.inside: dict[InstanceName, dict[str, Node]] = {
            name: {target_of(each): _node(each) for each in instance.entries.values() if is_ours(each)}
            for name, instance in self.instances.items()
            if instance.running
        }
        self.folders: dict[tuple[InstanceName, str], Interface] = {}
        self.veiled: set[InstanceName] = set()
        for name, instance in self.instances.items():
            self._puts(name, instance.entries.values())
        self.users: dict[str, int | None] = {}
        self.groups: dict[str, int | None] = {}
        self.judge: Callable[[Request], None] = lambda _: None
        self.answer: Callable[[object], None] = lambda _: None
        self.unclear: Callable[[Sequence[Entry]], None] = lambda _: None
        self.glance: Callable[[InstanceName], None] = lambda _: None
        self.applied: Callable[[Request], None] = lambda _: None
        self.deaf: Callable[[Uevent], None] = lambda _: None
        self.hanging_tellings: set[InstanceName] = set()
        self.telling = 0.0
        self.heard: list[tuple[float, str, str, str, str]] = []
        self.hanging_requests: set[InstanceName] = set()
        self.hanging_looks: set[InstanceName] = set()
        self.takes, self.asleep = 0.0, 0.0
        self.looking = 0.0
        self.patience, self.edited = 1000, False
        self.requests: list[Request] = []
        self.gets: list[tuple[float, str]] = []
        self.looks: list[tuple[float, str, tuple[str, ...]]] = []
        self.journal: list[str] = []
        self.links, self.alone = set[str](), set[str]()
        self.unmakeable: set[str] = set()
        self.unlinkable, self.locked = set[str](), set[str]()
        self.halves: dict[str, tuple[str, Node]] = {}
        self.nowhere: set[str] = set()
        self.unlinked: Callable[[str], None] = lambda _: None
        self.pulled: set[str] = set()
        self.short = False
        self.restored: Callable[[Device], Device] = lambda device: device
        self.before: dict[InstanceName, dict[str, Entry]] = {}
        self.notes: dict[InstanceName, set[str]] = {}
        self.used: dict[str, str] = {}
        self.asking = 0.0
        self.asked: list[tuple[float, str]] = []
        self.unsure: list[float] = []
        super().__init__()
        self.kept = ScriptedLinks()
        self.database = ScriptedDatabase()
        self.record_notes = ScriptedRecordNotes()
        self.seals, self.revoker = ScriptedSeals(), ScriptedRevoker()
        self.logged = Logged()
        self._busy: set[InstanceName] = set()
        log: Any = structlog.wrap_logger(None, [self.logged], structlog.make_filtering_bound_logger(0))
        self.reconciler = Reconciler(
            Ports(
                self,
                self.commands,
                self,
                self,
                self.database,
                self,
                self.seals,
                self.revoker,
                self,
                self.kept,
                self.record_notes,
                self.restore,
                log,
                lambda: f"at {now()}",
                self.in_use,
                lambda: self.unsure.append(now()),
                self.lease_keeper,
                lambda: UPTIME + now() + self.asleep,
                self.trusted_file,
                dry_run,
                BOOT,
            ),
            rules,
        )

    async def start(self, *devices: Device, unprocessed: Sequence[Device] = ()) -> None:
        """List devices and instances, and let everything settle."""
        self.reconciler.listed_devices(devices, unprocessed)
        await self.reconciler.listed_instances(self.instances.values())
        await self.reconciler.settled()

    async def plug(self, *devices: Device) -> None:
        """Plug devices and let everything settle."""
        for device in devices:
            self.reconciler.device(device)
        await self.reconciler.settled()

    async def in_use(self, want: Want) -> str:
        """What the host does with a device that is about to be put in."""
        self.asked.append((now(), want.device.kernel))
        await later(self.asking)
        return self.used.get(want.device.syspath, "")

    def restore(self, device: Device) -> Device | None:
        """An interface that is away, where its hardware is still there."""
        if self.short:
            raise OSError(errno.EMFILE, "Too many open files")
        return self.restored(device) if device.slot not in self.pulled else None

    # --- what tests do to the world ---------------------------------------------------------------------

    def change(self, name: InstanceName, **changes: Any) -> None:
        """Somebody else changes the instance."""
        self.instances[name] = replace(self.instances[name], **changes)

    def begin(self, name: InstanceName) -> None:
        """Somebody starts the instance: its server makes the nodes of its entries."""
        if not (instance := self.instances[name]).running:
            self.inside[name] = {target_of(each): _node(each) for each in instance.entries.values()}
            self.change(name, running=True, started=f"at {now()}")

    def end(self, name: InstanceName) -> None:
        """Somebody stops the instance; hotplugd sees that its init has ended."""
        if self.instances[name].running:
            self.change(name, running=False)
            self.inside[name] = {}
            self.seals.ended(name)
            self.reconciler.restarted(name)

    def unmount(self, device: Device, name: InstanceName = BOX) -> None:
        """Somebody unmounts the device's node inside; the kernel tells."""
        del self.inside[name][device.node]
        self.reconciler.look_again(name)

    # --- what tests look at -----------------------------------------------------------------------------

    @property
    def times(self) -> list[float]:
        """When requests came."""
        return [each.at for each in self.requests]

    @property
    def changes(self) -> list[Request]:
        """The requests that name any entry: others say anew what is leased."""
        return [each for each in self.requests if each.names]

    @property
    def sizes(self) -> list[tuple[float, int]]:
        """When requests came, and how many entries each names."""
        return [(each.at, len(each.names)) for each in self.requests]

    def ours(self, name: InstanceName = BOX) -> set[str]:
        """The names of our entries in the instance."""
        return {each.name for each in self.instances[name].entries.values() if is_ours(each)}

    def verified(self) -> dict[str, bool | None]:
        """What is attached, and whether it was seen inside."""
        return {str(each.want.device): each.verified for each in self.reconciler.attachments()}

    def told(self) -> list[str]:
        """What the reconciler has for problems."""
        return [each.message for each in self.reconciler.problems()]

    def events(self, *names: str) -> list[Any]:
        """What was logged under these names."""
        return [each for each in self.logged.entries if each["event"] in names]

    @staticmethod
    async def _while(name: InstanceName, hanging: set[InstanceName], seconds: float) -> None:
        if name in hanging:
            await asyncio.Event().wait()
        await later(seconds)

    def _write(self, kept: KeptLeases) -> None:
        self.journal.append(f"wrote {len(kept.away)} away")

    # --- Server -----------------------------------------------------------------------------------------

    async def get(self, name: InstanceName) -> Instance:
        self.gets.append((now(), str(name)))
        when_asked = self.instances.get(name)
        await later(self.takes)
        self.answer(name)
        if when_asked is None:
            raise Gone(f"there is no {name}")
        return when_asked

    async def apply(
        self,
        name: InstanceName,
        put: Sequence[Entry],
        remove: Sequence[str],
        sealed: Instance | None = None,
        leases: str | None = None,
    ) -> Instance:
        request = Request(now(), str(name), tuple(put), tuple(remove))
        self.requests.append(request)
        self.journal.append(f"request +{len(put)} -{len(remove)}")
        assert len(self.requests) <= self.patience, "a busy loop"
        assert name not in self._busy
        assert self.edited or request.names or leases != self.instances[name].leases
        assert all(slot_of(each) in self.links for each in put if "source" in each.config)
        self._busy.add(name)
        try:
            await self._while(name, self.hanging_requests, self.takes)
            self.judge(request)
            if name not in self.instances:
                raise Gone(f"there is no {name}")
            self._check(name, request, sealed)
            self._do(name, request)
            self.change(name, leases=self.instances[name].leases if leases is None else leases)
            self.applied(request)
            return self.instances[name]
        finally:
            self._busy.discard(name)

    async def clear(self, name: InstanceName, left: Sequence[Entry]) -> None:
        self.journal.append(f"clear {len(left)}")
        assert len(self.journal) <= self.patience, "a busy loop"
        assert self.instances[name].here
        await self._while(name, set(), self.takes)
        self.answer(name)
        self.unclear(left)
        names = {each.name for each in left}
        for each in [path for path, (entry, _) in self.halves.items() if entry in names]:
            self.inside[name].pop(each, None)
            del self.halves[each]

    async def link(self, name: InstanceName, path: str, target: str) -> None:
        self.journal.append(f"link {path} -> {target}")
        self.unlinked(path)
        self.inside[name].pop(path, None)
        if target and path not in self.nowhere:
            self.inside[name][path] = Node(None, 0o777, target)

    def _check(self, name: InstanceName, request: Request, sealed: Instance | None) -> None:
        """The ETag: it is another once what was stopped starts, and the same after a restart."""
        assert sealed is not None, "the server cannot know which nodes were sealed"
        instance = self.instances[name]
        if instance.has_other_nodes(sealed, request.names):
            if not sealed.has_nodes or sealed.entries != instance.entries:
                raise Changed(f"{name} was started meanwhile")
            self.seals.escape(name, request.names & instance.entries.keys())

    def _do(self, name: InstanceName, request: Request) -> None:
        entries = dict(self.instances[name].entries)
        if not entries.keys() >= set(request.remove):
            raise Busy(f"{name} has lost an entry meanwhile")
        self.seals.see(self.instances[name], {each.name for each in request.put}, {*request.remove})
        nodes = self.inside.setdefault(name, {})
        for gone in request.remove:
            assert is_ours(entries[gone])
            nodes.pop(target_of(entries.pop(gone)), None)
        for each in request.put:
            if (old := entries.get(each.name)) is not None:
                assert is_ours(old)
                nodes.pop(target_of(old), None)
            entries[each.name] = each
            self.seals.made(name, each.name)
            if self.instances[name].running:
                nodes[target_of(each)] = _node(each)
        self._puts(name, request.put)
        self.change(name, entries=entries)

    def _puts(self, name: InstanceName, entries: Iterable[Entry]) -> None:
        """The interfaces of these entries are inside now, as far as they say which they are."""
        for each in entries:
            if (slot := read(slot_of(each))) is not None and each.config.get("type") == "nic":
                found = Interface(above_of(left_from(each)), slot.above, slot.own)
                self.folders[name, target_of(each)] = found

    # --- Inspector --------------------------------------------------------------------------------------

    async def look(
        self, name: InstanceName, paths: Sequence[str], interfaces: Sequence[str] | None = None
    ) -> Inside:
        self.looks.append((now(), str(name), tuple(paths)))
        if name not in self.instances or not self.instances[name].running:
            raise Unreachable("it has no init")
        inside = self.inside.setdefault(name, {})
        seen = {path: inside.get(path) for path in paths}
        await self._while(name, self.hanging_looks, self.looking)
        self.glance(name)
        names = frozenset(place for place in inside if not is_path(place))
        folders = {each: self.folders[name, each] for each in names if (name, each) in self.folders}
        shown = {"lo": Interface("/sys/devices/virtual", 1, 1), **folders} if name not in self.veiled else {}
        users, groups = dict(self.users), dict(self.groups)
        return Inside(seen, users, groups, names, folders=shown if interfaces is not None else None)

    # --- Injector ---------------------------------------------------------------------------------------

    async def inject(self, name: InstanceName, uevent: Uevent) -> Uevent:
        assert self.instances[name].running
        asked = now()
        await self._while(name, self.hanging_tellings, self.telling)
        self.deaf(uevent)
        self.heard.append((asked, str(name), uevent.action, uevent.path, uevent.device.slot))
        return replace(uevent, kernel=f"kernel of {uevent.device.slot}") if uevent.action == "add" else uevent

    # --- Slots ------------------------------------------------------------------------------------------

    def make(self, device: Device, *, alone: bool = False) -> None:
        if device.slot in self.unmakeable:
            raise OSError("it leads elsewhere")
        self.links.add(device.slot)
        if alone:
            self.alone.add(device.slot)

    def was_alone(self, slot: str) -> bool:
        return slot in self.alone

    def was_made(self, slot: str) -> bool:
        return slot in self.links

    def cut(self, slot: str) -> None:
        if slot in self.links:
            self.journal.append(f"cut {slot}")

    def remove(self, slot: str) -> bool:
        if slot in self.unlinkable:
            raise OSError("it cannot be removed")
        entries = [each for instance in self.instances.values() for each in instance.entries]
        assert name_for(slot) not in entries, "the server may hang when a link goes that it watches"
        if slot in self.locked:
            return False
        self.journal.append(f"unlink {slot}")
        self.links.discard(slot)
        return True

    # --- Notes ------------------------------------------------------------------------------------------

    def names(self) -> list[InstanceName]:
        return list(self.before)

    def take(self, name: InstanceName) -> Mapping[str, Entry]:
        return self.before.pop(name, {})

    def note(self, name: InstanceName, entries: Sequence[Entry]) -> None:
        self.notes[name] = {each.name for each in entries}


def refuse(bench: Bench, device: Device, *, blame: bool) -> None:
    """Have the server refuse every request with this device in it."""
    name = name_for(device.slot)

    def judge(request: Request) -> None:
        if name in request.names:
            raise Refused("it does not fit", frozenset([name]) if blame else frozenset())

    bench.judge = judge


def fail(bench: Bench, error: ServerError, *, asking: bool) -> None:
    """Have every request fail, and also asking for the instance."""

    def judge(_: object) -> None:
        raise error

    bench.judge = judge
    if asking:
        bench.answer = judge


def recover(bench: Bench) -> None:
    """Have nothing fail any more."""
    bench.judge = lambda _: None
    bench.answer = lambda _: None


def names(devices: Iterable[Device]) -> set[str]:
    """The names of the devices' entries."""
    return {name_for(each.slot) for each in devices}


def _node(of: Entry) -> Node:
    if "source" not in of.config:
        return Node(None, 0)
    kind, major, minor, *_ = slot_of(of).split("-")
    devnum = Devnum("block" if kind == "b" else "char", int(major), int(minor))
    return Node(devnum, int(of.config.get("mode", "0660"), 8))
