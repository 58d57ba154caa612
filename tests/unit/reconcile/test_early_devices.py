"""USB devices that go in before udevd has processed them, and what follows once it has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from hotplugd.model.entry import is_ours
from hotplugd.model.lease import Lease
from hotplugd.model.values import Device, Entry, Instance
from hotplugd.reconcile.early_devices import goes_early
from hotplugd.rulefile.load import parse
from hotplugd.rules.ruleset import RuleSet
from tests.support.devices import BOX, box, phone, rule, ruleset
from tests.support.virtual import at, in_virtual_time
from tests.unit.reconcile.bench import Bench

MODE = 'mode: "0660"'
PHONES = ruleset(rule("{vendor_id: 18d1}", f"{{to: box, {MODE}}}"))
LINKS = ruleset(rule("{vendor_id: 18d1}", f"{{to: box, {MODE}, link: by-id, udev: true}}"))
BY_MODEL = rule("{property: {ID_MODEL: Pixel}}", f"{{to: other, {MODE}}}", "pixels")


def early(device: Device) -> Device:
    """The device before udevd has processed it."""
    return replace(device, properties={}, early=True)


def says(device: Device, properties: Mapping[str, str]) -> Device:
    """The device once udevd has processed it, and says this of it."""
    return replace(device, properties={**device.properties, **properties})


async def bench(rules: RuleSet = PHONES) -> Bench:
    made = Bench(box(), box(name="other"), rules=rules)
    await made.start()
    return made


async def take(made: Bench, device: Device) -> bool:
    goes = goes_early(made.reconciler, early(device))
    if goes:
        made.reconciler.device(early(device))
    await made.reconciler.settled()
    return goes


@in_virtual_time
async def test_it_goes_in_at_once_and_nothing_changes_once_udevd_is_done() -> None:
    made = await bench()
    assert await take(made, phone())
    assert made.verified() == {"/dev/bus/usb/001/001": True}
    await made.plug(phone())
    assert len(made.requests) == 1
    assert made.verified() == {"/dev/bus/usb/001/001": True}
    assert made.told() == []


@in_virtual_time
async def test_what_udevd_says_follows_without_taking_the_node_out() -> None:
    made = await bench(LINKS)
    device = says(phone(), {"DEVLINKS": "/dev/phones/by-id/usb-Pixel", "ID_MODEL": "Pixel"})
    assert await take(made, device)
    await at(10)
    assert (made.heard, made.kept.links) == ([], {})
    assert not made.database.kept.get(BOX)
    await made.plug(device)
    await at(20)
    assert len(made.requests) == 1
    assert [each[3] for each in made.heard] == ["/dev/bus/usb/001/001"]
    assert list(made.kept.links[BOX]) == ["/dev/phones/by-id/usb-Pixel"]
    assert [each.device for each in made.database.kept[BOX].values()] == [device]


@in_virtual_time
async def test_those_inside_are_told_once_udevd_is_done() -> None:
    made = await bench()
    await take(made, phone())
    await at(10)
    assert made.heard == []
    await made.plug(phone())
    await at(20)
    assert [each[2:4] for each in made.heard] == [("add", "/dev/bus/usb/001/001")]


@in_virtual_time
async def test_what_is_not_known_yet_waits() -> None:
    made = await bench(ruleset(BY_MODEL, rule("{vendor_id: 18d1}", f"{{to: box, {MODE}}}")))
    assert not await take(made, phone())
    assert made.requests == []
    await made.plug(says(phone(), {"ID_MODEL": "Pixel"}))
    assert [each.instance for each in made.requests] == ["other"]


@in_virtual_time
async def test_nothing_goes_in_before_all_was_listed() -> None:
    made = Bench(rules=PHONES)
    assert not goes_early(made.reconciler, early(phone()))
    made.reconciler.listed_devices([], [])
    assert not goes_early(made.reconciler, early(phone()))


@in_virtual_time
async def test_one_in_whose_place_another_is_known_waits() -> None:
    made = await bench()
    await made.plug(phone())
    assert not goes_early(made.reconciler, early(phone(born=2)))


@in_virtual_time
async def test_one_that_goes_before_udevd_is_done_goes_out() -> None:
    made = await bench()
    await take(made, phone())
    made.reconciler.no_device(phone().syspath)
    await made.reconciler.settled()
    assert made.ours() == set()


@in_virtual_time
async def test_a_guard_rail_holds_as_ever() -> None:
    made = await bench()
    hub = replace(phone(), attrs={**phone().attrs, "bDeviceClass": "09"})
    await take(made, hub)
    assert made.requests == []


@in_virtual_time
async def test_new_rules_that_ask_what_udevd_says_have_it_wait() -> None:
    made = await bench()
    await take(made, phone())
    made.reconciler.set_rules(ruleset(BY_MODEL, rule("{vendor_id: 18d1}", f"{{to: box, {MODE}}}")))
    await made.reconciler.settled()
    assert made.ours() == set()
    await made.plug(says(phone(), {"ID_MODEL": "Pixel"}))
    assert [each.instance for each in made.requests] == ["box", "box", "other"]


@in_virtual_time
async def test_another_verdict_once_udevd_is_done_takes_it_out_and_is_said() -> None:
    """It cannot be: here sysfs says another vendor by then."""
    made = await bench(
        ruleset(
            rule("{vendor_id: 18d1}", f"{{to: box, {MODE}}}"),
            rule("{id: 'dead:*'}", f"{{to: other, {MODE}}}", "d"),
        )
    )
    await take(made, phone())
    await made.plug(replace(phone(), attrs={**phone().attrs, "idVendor": "dead"}))
    assert (made.ours(), len(made.instances[box(name="other").id].entries)) == (set(), 1)
    assert [each.partition(" before")[0] for each in made.told()] == ["it was put into box"]


@in_virtual_time
async def test_two_phones_that_come_back_with_each_others_numbers_go_where_they_belong() -> None:
    rules = ruleset(
        rule("{serial: R5C001}", f"{{to: box, {MODE}}}", "one"),
        rule("{serial: R5C002}", f"{{to: other, {MODE}}}", "two"),
    )
    made = await bench(rules)
    one, two = phone(1), phone(2)
    await made.plug(one, two)
    for each in (one, two):
        made.reconciler.no_device(each.syspath)
    again = [
        replace(one, node=two.node, devnum=two.devnum, slot=phone(2, born=11).slot),
        replace(two, node=one.node, devnum=one.devnum, slot=phone(1, born=12).slot),
    ]
    for each in again:
        assert await take(made, each)
    await made.plug(*again)

    def nodes(entries: Mapping[str, Entry]) -> list[str]:
        return [entry.config["path"] for entry in entries.values()]

    assert nodes(made.instances[BOX].entries) == [two.node]
    assert nodes(made.instances[box(name="other").id].entries) == [one.node]
    assert made.told() == []


def job(number: int, text: str) -> Instance:
    return replace(box(name=f"job-{number}"), claims={"phone": text}, created=f"2026-{number}")


def pool(attach: str = "pool: android") -> RuleSet:
    loaded = parse(
        "pools: {android: {instances: 'job-*', keep: 60s}}\n"
        f"rules: [{{name: phones, match: {{vendor_id: 18d1}}, attach: {{{attach}, {MODE}}}}}]",
        "x",
    )
    assert not loaded.errors, loaded.errors[0].render()
    return loaded.rules


async def farm(*texts: str, rules: RuleSet | None = None) -> Bench:
    jobs = [job(number, text) for number, text in enumerate(texts)]
    made = Bench(*jobs, rules=rules if rules is not None else pool())
    await made.start()
    return made


def holders(made: Bench) -> list[str]:
    """The instances that have an entry of ours."""
    return [
        name.name for name, instance in made.instances.items() if any(map(is_ours, instance.entries.values()))
    ]


@in_virtual_time
async def test_a_device_of_a_pool_goes_in_at_once_and_stays() -> None:
    made = await farm("android", "android")
    assert await take(made, phone())
    assert holders(made) == ["job-0"]
    await made.plug(says(phone(), {"ID_PATH": "pci-0-usb-0:1"}))
    assert len(made.requests) == 1
    assert [each["event"] for each in made.events("lease.given", "lease.over", "lease.away")] == [
        "lease.given"
    ]
    assert made.told() == []


@in_virtual_time
async def test_a_leased_phone_comes_back_to_its_instance_at_once() -> None:
    made = await farm("android", "android")
    await made.plug(phone())
    made.reconciler.no_device(phone().syspath)
    await made.reconciler.settled()
    again = phone(born=2)
    assert await take(made, again)
    await made.plug(again)
    assert holders(made) == ["job-0"]
    assert made.verified() == {"/dev/bus/usb/001/001": True}


@in_virtual_time
async def test_one_that_a_claim_asks_udev_about_waits() -> None:
    made = await farm("android path=pci-*", "android")
    assert not await take(made, phone())
    await made.plug(says(phone(), {"ID_PATH": "pci-0-usb-0:1"}))
    assert holders(made) == ["job-0"]


@in_virtual_time
async def test_rules_that_make_it_wait_have_it_given_to_nobody_meanwhile() -> None:
    made = await farm("android", "android")
    await take(made, phone())
    made.reconciler.set_rules(pool("pool: android, link: '/dev/{path}'"))
    await made.reconciler.settled()
    assert holders(made) == []
    await made.plug(says(phone(), {"ID_PATH": "pci-0-usb-0:1"}))
    assert holders(made) == ["job-0"]
    assert made.told() == []


@in_virtual_time
async def test_a_lease_that_moves_while_udevd_is_busy_is_no_other_verdict() -> None:
    made = await farm("android", "android")
    await take(made, phone())
    made.reconciler.assignments.leases.move("serial:R5C001", Lease(job(1, "").id, "phone"), "asked")
    await made.plug(phone())
    assert holders(made) == ["job-1"]
    assert made.told() == []
