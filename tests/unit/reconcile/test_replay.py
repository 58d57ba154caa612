"""Whatever happens, the events that were told are what `status` shows as attached."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from hotplugd.app.event_documents import FIELDS
from hotplugd.app.event_views import attached
from hotplugd.model.entry import MARK_NODE, is_ours
from hotplugd.model.ports import Refused, Unreachable
from hotplugd.model.values import Device, Entry, InstanceName
from hotplugd.plan.identity import identity
from tests.support.devices import ALL, BOX, all_with, box, console, gpu, phone, rule, ruleset
from tests.support.virtual import at, in_virtual_time, later
from tests.unit.reconcile.bench import Bench, fail, recover

OTHER = InstanceName("default", "other")
DEVICES = [console(1), console(2), phone(1), *gpu(1)]
RULES = [
    ALL,
    all_with("share: true, mode: '0600'"),
    ruleset(rule("{subsystem: '*'}", "{to: other}")),
    ruleset(rule("{subsystem: tty}", "{to: [box, other], share: true}")),
    ruleset(rule("{subsystem: '*'}", "{to: nowhere}")),
    ruleset(rule("{subsystem: '*'}", None)),
    ruleset(),
]
Shown = dict[tuple[str, str], tuple[str, str, str]]
Step = Callable[["World"], Awaitable[None] | None]


class World:
    """A bench, and how often each device was plugged in."""

    def __init__(self, *, dry_run: bool = False) -> None:
        self.bench = Bench(box(), box(name="other"), dry_run=dry_run)
        self.born = 1

    def again(self, device: Device) -> Device:
        self.born += 1
        slot = device.slot.rpartition("-")[0]
        above = device.parent
        if above is not None and above.slot:
            above = replace(above, slot=f"{above.slot.rpartition('-')[0]}-{self.born}")
        return replace(device, slot=f"{slot}-{self.born}", parent=above)

    def told(self) -> Shown:
        """What the events say is attached."""
        return {
            key: (str(each["device"]), str(each["identity"]), str(each["rule"]))
            for key, each in attached(self.bench.logged.entries).items()
        }

    def shown(self) -> Shown:
        """What `status` shows as attached; of a GPU's nodes, which are one entry, the first."""
        found: Shown = {}
        for each in self.bench.reconciler.attachments():
            want = each.want
            told = str(want.device), identity(want.device), want.rule.name
            found.setdefault((str(want.instance), each.entry.name), told)
        return found


def plug(number: int) -> Step:
    return lambda world: world.bench.reconciler.device(world.again(DEVICES[number]))


def pull(number: int) -> Step:
    return lambda world: world.bench.reconciler.no_device(DEVICES[number].syspath)


def flap(number: int) -> Step:
    def step(world: World) -> None:
        pull(number)(world)
        plug(number)(world)

    return step


def reload(number: int) -> Step:
    return lambda world: world.bench.reconciler.set_rules(RULES[number])


def listing(*numbers: int) -> Step:
    def step(world: World) -> None:
        world.bench.reconciler.listed_devices([world.again(DEVICES[each]) for each in numbers], [])

    return step


def starts(name: InstanceName, *, running: bool) -> Step:
    def step(world: World) -> None:
        if name in world.bench.instances:
            world.bench.change(name, running=running)
            world.bench.reconciler.restarted(name)

    return step


def deleted(name: InstanceName) -> Step:
    def step(world: World) -> None:
        world.bench.instances.pop(name, None)
        world.bench.inside.pop(name, None)
        world.bench.reconciler.refresh(name)

    return step


def made(name: InstanceName) -> Step:
    def step(world: World) -> None:
        if name not in world.bench.instances:
            world.bench.instances[name] = replace(box(), id=name)
            world.bench.inside[name] = {}
            world.bench.reconciler.refresh(name)

    return step


def edited(name: InstanceName, *, away: bool) -> Step:
    """Somebody takes entries of ours out, or changes them."""

    def step(world: World) -> None:
        if name not in world.bench.instances:
            return
        kept: dict[str, Entry] = {}
        for each in world.bench.instances[name].entries.values():
            if not is_ours(each):
                kept[each.name] = each
            elif not away:
                kept[each.name] = Entry(each.name, {**each.config, "mode": "0111", MARK_NODE: "edited"})
        world.bench.change(name, entries=kept)
        world.bench.reconciler.updated(name)

    return step


def lost_inside(name: InstanceName) -> Step:
    def step(world: World) -> None:
        world.bench.inside.get(name, {}).clear()
        world.bench.reconciler.look_again(name)

    return step


def refused(world: World) -> None:
    fail(world.bench, Refused("it does not fit"), asking=False)


def away(world: World) -> None:
    fail(world.bench, Unreachable("no answer"), asking=True)


async def back(world: World) -> None:
    recover(world.bench)
    await world.bench.reconciler.listed_instances(world.bench.instances.values())


NUMBERS = range(len(DEVICES))
NAMES = (BOX, OTHER)
STEPS = st.sampled_from(
    [
        *(do(number) for do in (plug, pull, flap) for number in NUMBERS),
        *map(reload, range(len(RULES))),
        listing(),
        listing(0, 2),
        *(do(name) for do in (deleted, made, lost_inside) for name in NAMES),
        *(starts(name, running=running) for name in NAMES for running in (True, False)),
        *(edited(name, away=gone) for name in NAMES for gone in (True, False)),
        refused,
        away,
        back,
        back,
    ]
)


@settings(max_examples=300)
@given(
    st.lists(st.tuples(STEPS, st.sampled_from([0.0, 0.01, 0.3, 20.0])), max_size=12),
    st.sampled_from([0.0, 0.02]),
    st.booleans(),
)
def test_the_stream_replays_into_what_status_shows(
    steps: list[tuple[Step, float]], takes: float, dry_run: bool
) -> None:
    @in_virtual_time
    async def test() -> None:
        world = World(dry_run=dry_run)
        world.bench.takes = takes
        await world.bench.start(DEVICES[0], DEVICES[2])
        for do, pause in steps:
            if (done := do(world)) is not None:
                await done
            await later(pause)
            await world.bench.reconciler.settled()
            assert world.told() == world.shown()
        await back(world)
        await at(10_000)
        known = {*FIELDS, "log_level"}
        assert {key for each in world.bench.logged.entries for key in each} <= known
        assert world.told() == world.shown()

    test()
