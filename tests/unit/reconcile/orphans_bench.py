"""A server that forgets entries and leaves their nodes inside."""

from __future__ import annotations

from collections.abc import Sequence

from hotplugd.model.entry import name_for, slot_of, target_of
from hotplugd.model.ports import LeftBehind, Refused, ServerError
from hotplugd.model.values import Device, Devnum, Entry, Instance, InstanceName, Node
from hotplugd.rules.ruleset import RuleSet
from tests.support.devices import ALL, BOX, all_with, console, entry, rule, ruleset
from tests.support.virtual import at
from tests.unit.reconcile.bench import Bench, Request

ONE, TWO, BAD = console(1), console(2), console(3)
NOBODY = ruleset(rule("{subsystem: '*'}", None))


class Files(Bench):
    """Knows which entries have files of nodes at which paths: of two at one path the server mounts the first
    alone, and unmounts with the last; it makes no file twice, nor watches for an entry twice. (What LXD does
    not take away any more after the latter, this does: test_lost_update knows.)

    (LXD: device/device_utils_unix.go, `unixDeviceSetup` and `unixDeviceRemove`.)
    """

    def __init__(self, *instances: Instance, rules: RuleSet = ALL, dry_run: bool = False) -> None:
        super().__init__(*instances, rules=rules, dry_run=dry_run)
        self.files: set[tuple[str, str]] = set()
        self.seals.files = lambda: {entry for entry, _ in self.files}

    def _do(self, name: InstanceName, request: Request) -> None:
        before = dict(self.inside[name])
        found = {each.name for each in request.put if (each.name, target_of(each)) in self.files}
        if found - self.instances[name].entries.keys():
            raise LeftBehind("it has left something of an earlier try behind", frozenset(found))
        for each in request.put:
            if each.name not in self.instances[name].entries and each.name in {
                which for which, _ in self.files
            }:
                # Too late: it has mounted this one, too.
                self.files.add((each.name, target_of(each)))
                self.inside[name].setdefault(target_of(each), Node(devnum_of(each), 0o660))
                raise Refused("Watch already exists", frozenset([each.name]), half=True)
        old = {each.name for each in request.put} & self.instances[name].entries.keys()
        super()._do(name, request)
        self.inside[name] = before
        self._away({*request.remove, *old})
        for each in request.put:
            mounted = any(path == target_of(each) for _, path in self.files)
            self.files.add((each.name, target_of(each)))
            if not mounted:
                self.inside[name][target_of(each)] = Node(devnum_of(each), 0o660)

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


def in_turn() -> RuleSet:
    """Each console goes to the same place, while it is the only one."""
    return all_with("path: /dev/lab")


def noted(bench: Bench) -> Entry:
    """An entry that was being put in when another hotplugd ended, and that the server did not write down."""
    one = entry(ONE)
    bench.before[BOX] = {one.name: one}
    bench.notes[BOX] = {one.name}
    node = Node(ONE.devnum, 0o660)
    bench.halves[target_of(one)] = (one.name, node)
    bench.inside.setdefault(BOX, {})[target_of(one)] = node
    return one


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
