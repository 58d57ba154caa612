"""What a virtual machine has by its PCI device: away, not unplugged, and not asked for while that runs."""

from __future__ import annotations

from dataclasses import replace

from hotplugd.model.entry import MARK_SEEN
from hotplugd.model.ports import Refused, Unreachable
from hotplugd.model.server_traits import NO_TRAITS, ServerTraits
from hotplugd.model.values import Device, Entry, Instance, InstanceName
from hotplugd.rules.ruleset import RuleSet
from tests.support.devices import BOX, box, entry, gpu, interface, pci, phone, rule, ruleset
from tests.support.virtual import at, in_virtual_time, now
from tests.unit.reconcile.bench import Bench, Request

HOTPLUG = ServerTraits(usb_by_number=True, plugs_pci=True)
PCI = pci()
CARD, RENDER = gpu()
TAKEN = replace(PCI, driver="vfio-pci")
CARDS = ruleset(rule("{subsystem: drm, parent: {driver: some}}", "{to: box, force: true}"))
BY_DRIVER = ruleset(rule("{subsystem: pci, driver: some}", "{to: box, as: pci, force: true}"))
NICS = ruleset(rule("{subsystem: net}", "{to: box, force: true}"))
OFF = ruleset(rule("{subsystem: '*'}", None))
REFUSED = "Failed to stop device: Device cannot be stopped when instance is running"


def machine(*entries: Entry, running: bool = True, server: ServerTraits = HOTPLUG) -> Instance:
    return replace(box(entries, running=running), kind="virtual-machine", server=server)


def with_gpu(running: bool = False, rules: RuleSet = CARDS) -> Bench:
    """A virtual machine whose server takes no GPU out of it while it runs."""
    bench = Bench(machine(running=running), rules=rules)

    def judge(_: Request) -> None:
        if bench.instances[BOX].running:
            raise Refused(REFUSED)

    bench.judge = judge
    return bench


def start(bench: Bench, *made: Device) -> None:
    """The virtual machine starts: its server has Linux take the PCI device from its driver."""
    for each in made:
        bench.reconciler.no_device(each.syspath)
    bench.reconciler.device(replace(PCI, driver=""))
    bench.reconciler.device(TAKEN)
    bench.change(BOX, running=True)
    bench.reconciler.refresh(BOX)


async def stop(bench: Bench, *made: Device) -> None:
    """The virtual machine stops, and the driver has its device back, of which it makes what it did."""
    bench.change(BOX, running=False)
    bench.reconciler.restarted(BOX)
    await bench.plug(PCI, *made)


async def running() -> Bench:
    bench = with_gpu()
    await bench.start(PCI, CARD, RENDER)
    assert len(bench.requests) == 1
    start(bench, RENDER, CARD)
    await at(600)
    return bench


@in_virtual_time
async def test_a_gpu_that_went_to_a_virtual_machine_is_not_unplugged() -> None:
    bench = await running()
    assert len(bench.requests) == 1
    assert bench.verified() == {"/dev/dri/card1": None, "/dev/dri/renderD128": None}
    assert bench.told() == []
    assert bench.looks == []


@in_virtual_time
async def test_its_nodes_are_known_again_once_the_virtual_machine_stops() -> None:
    bench = await running()
    # udevd makes nodes anew, with other numbers.
    card, render = gpu(born=7)
    parent = replace(PCI)
    await stop(bench, *(replace(each, parent=parent) for each in (card, render)))
    await at(1200)
    assert len(bench.requests) == 1
    assert bench.verified() == {"/dev/dri/card1": None, "/dev/dri/renderD128": None}
    assert bench.reconciler.devices == 3
    start(bench, card, render)
    await at(1800)
    assert len(bench.requests) == 1
    assert bench.told() == []


@in_virtual_time
async def test_one_whose_hardware_is_pulled_is_gone() -> None:
    bench = await running()
    bench.reconciler.no_device(PCI.syspath)
    await at(700)
    assert bench.reconciler.devices == 0
    # Its server would refuse: nothing is asked for before the virtual machine stops.
    assert len(bench.requests) == 1
    (told,) = bench.told()
    assert "its server can take a gpu out only while it does not; stop it" in told
    bench.change(BOX, running=False)
    bench.reconciler.refresh(BOX)
    await at(800)
    assert [len(each.remove) for each in bench.requests] == [0, 1]
    assert bench.told() == []


@in_virtual_time
async def test_a_daemon_that_starts_finds_it_by_its_entry() -> None:
    before = await running()
    bench = Bench(*before.instances.values(), rules=CARDS)
    await bench.start(TAKEN)
    await at(1200)
    assert bench.requests == []
    assert bench.verified() == {"/dev/dri/card1": None}
    assert bench.told() == []
    await stop(bench, CARD, RENDER)
    await at(1300)
    assert bench.requests == []
    assert bench.verified() == {"/dev/dri/card1": None, "/dev/dri/renderD128": None}


@in_virtual_time
async def test_one_that_no_rule_wants_any_more_stays_until_it_can_go() -> None:
    bench = await running()
    bench.reconciler.set_rules(OFF)
    await at(700)
    assert len(bench.requests) == 1
    (told,) = bench.told()
    assert told.startswith("no rule puts its device here any more; box is a virtual machine that runs")
    await stop(bench, CARD, RENDER)
    await at(800)
    assert [len(each.remove) for each in bench.requests] == [0, 1]


async def slow_start(bench: Bench, *made: Device) -> None:
    """The virtual machine takes a minute to start, since all of its memory is pinned for the device."""
    for each in made:
        bench.reconciler.no_device(each.syspath)
    bench.reconciler.device(replace(PCI, driver=""))
    bench.reconciler.device(TAKEN)
    await at(now() + 60)
    bench.change(BOX, running=True)
    bench.reconciler.refresh(BOX)
    await at(now() + 600)


async def starting_with_an_interface() -> Bench:
    """A virtual machine whose server has taken the device of its interface, and that does not run yet."""
    nic = interface(above=PCI)
    bench = Bench(machine(running=False), rules=NICS)
    await bench.start(PCI, nic)
    bench.reconciler.no_device(nic.syspath)
    bench.reconciler.device(TAKEN)
    return bench


class TestWhileItStarts:
    """A virtual machine has its PCI device long before its server says that it runs."""

    @in_virtual_time
    async def test_a_gpu_is_not_unplugged(self) -> None:
        bench = with_gpu()
        await bench.start(PCI, CARD, RENDER)
        await slow_start(bench, RENDER, CARD)
        assert len(bench.requests) == 1
        assert bench.verified() == {"/dev/dri/card1": None, "/dev/dri/renderD128": None}
        assert bench.told() == []

    @in_virtual_time
    async def test_nor_is_a_pci_device(self) -> None:
        bench = Bench(machine(running=False), rules=BY_DRIVER)
        await bench.start(PCI)
        await slow_start(bench)
        assert len(bench.requests) == 1
        assert bench.verified() == {"0000:01:00.0": None}

    @in_virtual_time
    async def test_nor_is_an_interface(self) -> None:
        nic = interface(above=PCI)
        bench = Bench(machine(running=False), rules=NICS)
        await bench.start(PCI, nic)
        await slow_start(bench, nic)
        assert len(bench.requests) == 1
        assert bench.verified() == {"enp1s0": None}

    @in_virtual_time
    async def test_nor_is_what_goes_into_one_that_runs_slowly(self) -> None:
        nic = interface(above=PCI)
        for rules, made in ((BY_DRIVER, ()), (NICS, (nic,))):
            bench = Bench(machine(), rules=rules)
            await bench.start()
            bench.takes = 60
            for each in (PCI, *made):
                bench.reconciler.device(each)
            await at(now() + 1)
            for each in made:
                bench.reconciler.no_device(each.syspath)
            bench.reconciler.device(TAKEN)
            await at(now() + 30)
            assert bench.reconciler.devices == 1 + len(made)
            await at(now() + 600)
            assert len(bench.requests) == 1
            assert list(bench.verified().values()) == [None]
            assert bench.events("device.gone") == []

    @in_virtual_time
    async def test_one_that_no_machine_starts_with_in_ten_minutes_is_gone(self) -> None:
        bench = await starting_with_an_interface()
        await at(590)
        assert len(bench.requests) == 1
        await at(620)
        assert [len(each.remove) for each in bench.requests] == [0, 1]

    @in_virtual_time
    async def test_what_its_driver_has_back_without_it_is_gone(self) -> None:
        bench = await starting_with_an_interface()
        await at(60)
        bench.reconciler.device(PCI)
        await at(90)
        assert [len(each.remove) for each in bench.requests] == [0, 1]


@in_virtual_time
async def test_one_that_leaves_while_nothing_starts_is_gone() -> None:
    bench = with_gpu()
    await bench.start(PCI, CARD, RENDER)
    bench.reconciler.no_device(CARD.syspath)
    bench.reconciler.no_device(RENDER.syspath)
    await at(60)
    assert bench.reconciler.devices == 1
    assert [len(each.remove) for each in bench.requests] == [0, 1]


@in_virtual_time
async def test_what_is_made_of_it_for_containers_is_gone_from_them() -> None:
    both = ruleset(rule("{subsystem: drm}", "{to: [box, other], force: true}"))
    other = InstanceName("default", "other")
    bench = Bench(machine(running=False), box(name="other"), rules=both)

    def glance(_: InstanceName) -> None:
        raise Unreachable("the bench has no nodes of GPUs")

    bench.glance = glance
    await bench.start(PCI, CARD, RENDER)
    assert bench.ours(other) == bench.ours()
    start(bench, RENDER, CARD)
    await at(60)
    assert bench.ours(other) == set()
    assert len(bench.ours()) == 1


class TestByItsDriver:
    """A rule that takes the PCI device by a driver that it has not, while it is in the virtual machine."""

    async def there(self, bench: Bench) -> None:
        await bench.start(PCI)
        start(bench)
        await at(600)

    @in_virtual_time
    async def test_it_stays_there(self) -> None:
        bench = Bench(machine(), rules=BY_DRIVER)
        await self.there(bench)
        assert len(bench.requests) == 1
        assert bench.verified() == {"0000:01:00.0": None}
        assert bench.told() == []
        assert bench.reconciler.devices == 1

    @in_virtual_time
    async def test_a_listing_changes_nothing(self) -> None:
        bench = Bench(machine(), rules=BY_DRIVER)
        await self.there(bench)
        bench.reconciler.listed_devices([TAKEN], [])
        await at(1200)
        assert len(bench.requests) == 1
        assert bench.verified() == {"0000:01:00.0": None}

    @in_virtual_time
    async def test_a_daemon_that_starts_leaves_it_there(self) -> None:
        before = Bench(machine(), rules=BY_DRIVER)
        await self.there(before)
        bench = Bench(*before.instances.values(), rules=BY_DRIVER)
        await bench.start(TAKEN)
        await at(1200)
        assert bench.requests == []
        assert bench.verified() == {"0000:01:00.0": None}
        assert bench.reconciler.devices == 1
        bench.reconciler.set_rules(OFF)
        await at(1300)
        assert [len(each.remove) for each in bench.requests] == [1]

    @in_virtual_time
    async def test_one_that_does_not_get_its_driver_back_is_what_it_is_then(self) -> None:
        bench = Bench(machine(), rules=BY_DRIVER)
        await self.there(bench)
        bench.change(BOX, running=False)
        bench.reconciler.restarted(BOX)
        await at(700)
        assert bench.reconciler.devices == 1
        # No rule takes it with that driver.
        assert [len(each.remove) for each in bench.requests] == [0, 1]
        await bench.plug(PCI)
        await at(800)
        assert bench.ours() != set()

    @in_virtual_time
    async def test_one_that_had_that_driver_before_is_on_the_host(self) -> None:
        bench = Bench(machine(), rules=ruleset(rule("{subsystem: pci}", "{to: box, as: pci, force: true}")))
        await bench.start(TAKEN)
        await at(60)
        again = Bench(*bench.instances.values(), rules=OFF)
        await again.start(TAKEN)
        await at(120)
        assert [len(each.remove) for each in again.requests] == [1]

    @in_virtual_time
    async def test_its_interface_is_away_with_it(self) -> None:
        rules = ruleset(rule("{subsystem: net}", "{to: box, as: pci, force: true}"))
        nic = interface(above=PCI)
        bench = Bench(machine(), rules=rules)
        await bench.start(PCI, nic)
        start(bench, nic)
        await at(600)
        assert len(bench.requests) == 1
        assert bench.verified() == {"enp1s0": None}
        await stop(bench, replace(nic, slot=f"{nic.slot}1"))
        await at(700)
        assert len(bench.requests) == 1
        assert bench.reconciler.devices == 2


@in_virtual_time
async def test_where_pci_devices_do_not_go_out_of_what_runs_nothing_is_asked_for() -> None:
    bench = Bench(machine(running=False, server=NO_TRAITS), rules=BY_DRIVER)
    await bench.start(PCI)
    start(bench)
    await at(60)
    bench.reconciler.set_rules(OFF)
    await at(120)
    assert len(bench.requests) == 1
    assert "can take a pci out only while it does not" in bench.told()[0]


@in_virtual_time
async def test_an_entry_that_says_something_else_has_nothing_of_others() -> None:
    before = await running()
    (made,) = before.instances[BOX].entries.values()
    for said in ("", "[]", '{"syspath": "/etc"}', made.config[MARK_SEEN].replace("01:00.0", "02:00.0")):
        forged = Entry(made.name, {**made.config, MARK_SEEN: said})
        bench = Bench(machine(forged), rules=CARDS)
        await bench.start(TAKEN)
        await at(5000)
        assert bench.requests == []
        assert bench.verified() == {}
        assert "stop it" in bench.told()[0]


@in_virtual_time
async def test_nobody_looks_into_a_virtual_machine_and_nothing_is_wrong_with_that() -> None:
    one = phone(1)
    numbered = replace(one, properties={**one.properties, "BUSNUM": "001", "DEVNUM": "017"})
    bench = Bench(machine(), rules=ruleset(rule("{serial: '*'}", "{to: box}")))
    await bench.start(numbered)
    bench.reconciler.look_again(BOX)
    bench.reconciler.look_everywhere()
    await at(600)
    assert bench.looks == []
    assert bench.verified() == {one.node: None}
    assert bench.told() == []
    assert entry(one).name in bench.ours()
