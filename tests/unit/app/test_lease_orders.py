"""What people ask about leases: release, move, cordon, uncordon and drain, and what comes of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hotplugd.app.by_hand import ByHand
from hotplugd.app.control_request import ControlRequest, Forbidden
from hotplugd.app.device_request import DeviceRequest
from hotplugd.app.endpoints import CORDON
from hotplugd.app.event_views import Filter
from hotplugd.app.grants import ROOT, Allowed, Grant
from hotplugd.app.lease_orders import LeaseOrders
from hotplugd.app.lease_targets import Target, meant, see_granted
from hotplugd.app.peer import Peer
from hotplugd.app.pool_documents import LeaseOrderJson
from hotplugd.app.refusal import Refusal
from hotplugd.app.state_file import StateFile
from hotplugd.model.values import InstanceName
from hotplugd.pools.cordons import NO_CORDONS
from hotplugd.pools.flaps import Quarantine
from hotplugd.rulefile.load import parse
from hotplugd.rules.pattern import Pattern
from tests.support.devices import box, phone
from tests.support.virtual import in_virtual_time
from tests.unit.reconcile.bench import Bench
from tests.unit.reconcile.test_leases import deleted, job, made, once_each, places, rules

ME = Peer(0, 0)
RULES = rules("instances: 'job-*', keep: 10m")
_PHONES = "rules: [{name: phones, match: {vendor_id: 18d1}, attach: {pool: android}}]"


class Here:
    """The disk answers at once."""

    async def call(self, work: Callable[[], object], _: float) -> object:
        return work()


class Desk:
    """Someone at the control socket of a farm."""

    def __init__(self, bench: Bench, folder: Path) -> None:
        self.bench = bench
        self.path = folder / "state.json"
        session: Any = SimpleNamespace(reconciler=bench.reconciler, rules=RULES)
        threads: Any = Here()
        log: Any = bench.reconciler._ports.log
        self._by_hand = ByHand(log, lambda: None)
        self._by_hand._threads = self._by_hand.kept._threads = threads
        self._orders = LeaseOrders(log, lambda: session, self._by_hand)

    async def start(self, *numbers: int) -> None:
        await self._by_hand.load(self.path, "start")
        self.bench.applied = lambda _: once_each(self.bench)
        await self.bench.start(*map(phone, numbers))

    async def ask(
        self, verb: str, device: str, grant: Grant = ROOT, peer: Peer = ME, **words: object
    ) -> LeaseOrderJson:
        told = {"device": device, "real": device, "project": "default", **words}
        order: Any = next(work for each, work in self._orders.handlers.items() if each.name == verb)
        found: Any = await order(ControlRequest(peer, grant, {}, json.dumps(told)))
        return found  # type: ignore[no-any-return]

    def events(self, *names: str) -> list[Any]:
        return self.bench.events(*names)

    def state(self, number: int) -> str:
        leasing = self.bench.reconciler.assignments.leases.leasing
        return leasing.state(leasing.key_of(phone(number)))


@in_virtual_time
async def _tested(test: Callable[..., Any], folder: Path, bench: Callable[[], Bench]) -> None:
    await test(Desk(bench(), folder))


def on_farm(*jobs: int, text: str = "android") -> Callable[[Any], Callable[[Path], None]]:
    def wrap(test: Any) -> Callable[[Path], None]:
        def run(tmp_path: Path) -> None:
            _tested(test, tmp_path, lambda: Bench(*(job(number, text) for number in jobs), rules=RULES))

        run.__name__ = test.__name__
        return run

    return wrap


@on_farm(1, 2)
async def test_what_is_released_goes_to_whoever_waits(desk: Desk) -> None:
    await desk.start(1)
    desk.bench.takes = 0.5
    answer = await desk.ask("lease-release", "R5C001")
    assert (answer["taken"], answer["done"]) == (True, True)
    assert answer["message"].endswith("is leased to job-1 no more; job-2 has the lease now")
    assert [each["instance"] for each in answer["leases"]] == ["job-1"]
    assert places(desk.bench) == {"job-2": ["1-1"]}
    (asked,) = desk.events("lease-release.asked")
    assert (asked["identity"], asked["instance"], asked["uid"]) == ("serial:R5C001", "job-1", 0)
    assert [each["why"] for each in desk.events("lease.over")] == [f"released by {asked['by']}"]
    # Its claim waits behind the others.
    await made(desk.bench, job(3))
    await desk.ask("lease-release", "R5C001")
    assert places(desk.bench) == {"job-1": ["1-1"]}


@on_farm(1, 2)
async def test_each_order_is_an_event_with_who_gave_it_and_so_is_its_refusal(desk: Desk) -> None:
    await desk.start(1)
    farm = Grant((Allowed("farm", ("lease", "cordon"), (Pattern.of("job-*"),)),))
    orders: tuple[tuple[str, dict[str, Any]], ...] = (
        ("lease-move", {"instance": "job-2"}),
        ("lease-release", {}),
        ("cordon", {}),
        ("uncordon", {}),
        ("drain", {"yes": True}),
    )
    for verb, words in orders:
        assert (await desk.ask(verb, "R5C001", farm, Peer(0, 1000), **words))["taken"]
        assert not (await desk.ask(verb, "R5C009", farm, Peer(0, 1000), **words))["taken"]
        (asked,) = desk.events(f"{verb}.asked")
        (refused,) = desk.events(f"{verb}.refused")
        assert {each["uid"] for each in (asked, refused)} == {1000}
        assert all(each["by"].startswith("uid 1000") for each in (asked, refused))


@on_farm(1, 2)
async def test_an_instance_that_is_cordoned_keeps_what_it_has_and_gets_nothing_more(desk: Desk) -> None:
    await desk.start(1)
    for each in ("job-1", "job-2"):
        assert (await desk.ask("cordon", each, reason="upgrade"))["done"]
    await desk.bench.plug(phone(2))
    assert places(desk.bench) == {"job-1": ["1-1"]}
    assert (await desk.ask("uncordon", "job-2"))["done"]
    assert places(desk.bench) == {"job-1": ["1-1"], "job-2": ["1-2"]}


@on_farm(1)
async def test_where_nobody_waits_it_stays_and_that_is_said(desk: Desk) -> None:
    await desk.start(1)
    answer = await desk.ask("lease-release", "R5C001")
    assert "has it again: no other waits for it" in answer["message"]
    assert (places(desk.bench), len(desk.bench.requests)) == ({"job-1": ["1-1"]}, 1)


@on_farm(1)
async def test_the_lease_of_an_absent_phone_is_released_by_its_serial(desk: Desk) -> None:
    await desk.start(1)
    desk.bench.reconciler.no_device(phone(1).syspath)
    await desk.bench.reconciler.settled()
    answer = await desk.ask("lease-release", "R5C001")
    assert answer["done"]
    await desk.bench.plug(phone(2))
    assert places(desk.bench) == {"job-1": ["1-2"]}


@on_farm(1, 2)
async def test_a_lease_moves_once_the_device_is_out_of_its_holder(desk: Desk) -> None:
    await desk.start(1)
    desk.bench.takes = 1.0
    answer = await desk.ask("lease-move", "R5C001", instance="job-2")
    assert (answer["done"], places(desk.bench)) == (True, {"job-2": ["1-1"]})
    assert desk.bench.times[-1] - desk.bench.times[-2] == 1.0
    told = desk.events("lease.over", "lease.given")
    assert [(each["event"], each["instance"]) for each in told[1:]] == [
        ("lease.over", "job-1"),
        ("lease.given", "job-2"),
    ]
    again = await desk.ask("lease-move", "R5C001", instance="job-2")
    assert (again["taken"], again["message"]) == (
        False,
        "/dev/bus/usb/001/001 is leased to job-2 already",
    )


@on_farm(1)
async def test_it_moves_to_nobody_who_has_not_asked_for_it(desk: Desk) -> None:
    await desk.start(1)
    await made(desk.bench, job(2, None), job(3, "android serial=X"), job(4, "android count=2"))
    for number, why in ((2, "it has no claim"), (3, "phone: unsatisfiable"), (4, "lacks 2"), (9, "no claim")):
        answer = await desk.ask("lease-move", "R5C001", instance=f"job-{number}")
        assert not answer["taken"]
        assert why in answer["message"]
    assert (places(desk.bench), len(desk.events("lease-move.refused"))) == ({"job-1": ["1-1"]}, 4)


@on_farm(1, 2)
async def test_what_may_still_be_open_is_not_moved(desk: Desk) -> None:
    await desk.start(1)
    await made(desk.bench, job(2, None))
    desk.bench.revoker.open["1-1"] = "it is open in adb (process 7 in job-1)"
    await deleted(desk.bench, 1)
    assert desk.state(1) == "releasing"
    await made(desk.bench, job(3))
    for to in ("job-2", "job-3"):
        answer = await desk.ask("lease-move", "R5C001", instance=to)
        assert (answer["taken"], "is not out of the instance that had it" in answer["message"]) == (
            False,
            True,
        )
    assert places(desk.bench) == {}


@on_farm(1)
async def test_a_cordoned_device_is_given_to_nobody_else(desk: Desk) -> None:
    await desk.start(1)
    answer = await desk.ask("cordon", "R5C001", reason="broken screen")
    assert (answer["done"], answer["more"]) == (True, ["job-1 keeps /dev/bus/usb/001/001"])
    (kept,) = StateFile(desk.path).read().cordons
    assert (kept.kind, kept.name, kept.reason, kept.by.uid) == ("device", "serial:R5C001", "broken screen", 0)
    await made(desk.bench, job(2))
    await deleted(desk.bench, 1)
    assert (places(desk.bench), desk.state(1)) == ({}, "cordoned")
    refused = await desk.ask("lease-move", "R5C001", instance="job-2")
    assert "broken screen" in refused["message"]
    assert (await desk.ask("uncordon", "R5C001"))["done"]
    assert (places(desk.bench), StateFile(desk.path).read().cordons) == ({"job-2": ["1-1"]}, NO_CORDONS)


@on_farm()
async def test_what_was_cordoned_by_udevs_form_of_a_serial_number_can_be_uncordoned(desk: Desk) -> None:
    await desk.start()
    await desk.bench.plug(phone(serial="AB_CD"))
    await desk.ask("cordon", "AB_CD")
    desk.bench.reconciler.no_device(phone().syspath)
    await desk.bench.plug(phone(serial="AB CD", born=2))
    assert desk.state(1) == "cordoned"
    assert (await desk.ask("uncordon", "AB CD"))["done"]
    assert (desk.state(1), StateFile(desk.path).read().cordons) == ("free", NO_CORDONS)


@on_farm(1, 2, 3)
async def test_a_drain_says_first_what_it_would_end(desk: Desk) -> None:
    await desk.start(1, 2)
    answer = await desk.ask("drain", "job-1")
    assert (answer["taken"], answer["more"]) == (False, ["job-1: /dev/bus/usb/001/001"])
    assert "cordons it and ends 1 lease; repeat with --yes" in answer["message"]
    assert places(desk.bench) == {"job-1": ["1-1"], "job-2": ["1-2"]}
    answer = await desk.ask("drain", "job-1", yes=True, reason="upgrade")
    assert (answer["done"], places(desk.bench)) == (True, {"job-2": ["1-2"], "job-3": ["1-1"]})
    await desk.ask("drain", "R5C002", yes=True)
    assert (places(desk.bench), desk.state(2)) == ({"job-3": ["1-1"]}, "cordoned")
    (told,) = [
        each
        for each in desk.bench.reconciler.assignments.leases.leasing.allocation.claims
        if each.asking.instance.name == "job-1"
    ]
    assert told.reason.endswith("(root): upgrade")
    assert (await desk.ask("uncordon", "job-1"))["done"]


@on_farm(1, 2)
async def test_a_pool_is_drained_with_what_is_plugged_in_later(desk: Desk) -> None:
    await desk.start(1)
    answer = await desk.ask("drain", "android")
    assert (answer["taken"], answer["more"]) == (False, ["job-1: /dev/bus/usb/001/001"])
    assert answer["message"].startswith("draining pool android cordons it and ends 1 lease")
    answer = await desk.ask("drain", "android", yes=True, reason="new image")
    assert (answer["done"], answer["message"]) == (True, "pool android is cordoned, and 1 lease ended")
    await desk.bench.plug(phone(2))
    assert (places(desk.bench), desk.state(1), desk.state(2)) == ({}, "cordoned", "cordoned")
    (asked,) = desk.events("drain.asked")
    assert asked["pool"] == "android"
    (kept,) = StateFile(desk.path).read().cordons
    assert str(kept) == f"cordoned with pool android by {kept.by}: new image"
    assert (await desk.ask("uncordon", "android"))["done"]
    assert sorted(places(desk.bench)) == ["job-1", "job-2"]
    assert StateFile(desk.path).read().cordons == NO_CORDONS


@on_farm(1)
async def test_all_of_a_pool_is_given_again_by_uncordon(desk: Desk) -> None:
    await desk.start(1)
    quarantines = desk.bench.reconciler.assignments.leases.quarantines
    quarantines.restore([Quarantine("serial:R5C001", "android", "", 6, 60.0, "", 600.0)])
    await desk.bench.reconciler.settled()
    assert (await desk.ask("uncordon", "android"))["done"]
    assert places(desk.bench) == {"job-1": ["1-1"]}


@on_farm(1)
async def test_an_absent_device_of_a_pool_is_given_again_by_uncordon_too(desk: Desk) -> None:
    """Whoever may ask that for the pool may ask it for what was the pool's when it was pulled."""
    every = Grant((Allowed("farm", ("cordon",), (Pattern.of("job-*"),)),))
    await desk.start(1)
    leases = desk.bench.reconciler.assignments.leases
    one = Quarantine("serial:R5C002", "android", "", 6, 60.0, "", 600.0)
    leases.quarantines.restore([one, replace(one, key="serial:R5C003", pool="other")])
    await desk.bench.reconciler.settled()
    assert (await desk.ask("uncordon", "android", every, Peer(1, 1000)))["done"]
    assert leases.unwell() == ["serial:R5C003"]


@on_farm(1)
async def test_an_instance_that_is_called_as_a_pool_is_meant_and_not_the_pool(desk: Desk) -> None:
    await desk.start(1)
    await made(desk.bench, box(name="android"))
    quarantines = desk.bench.reconciler.assignments.leases.quarantines
    quarantines.restore([Quarantine("serial:R5C001", "android", "", 6, 60.0, "", 600.0)])
    await desk.bench.reconciler.settled()
    assert (await desk.ask("cordon", "android"))["message"] == "android is cordoned"
    answer = await desk.ask("uncordon", "android")
    assert (answer["done"], answer["message"]) == (True, "android is not cordoned any more")
    assert not (await desk.ask("uncordon", "android"))["taken"]
    assert places(desk.bench) == {}


@on_farm(1)
async def test_one_device_of_a_pool_is_released_not_all(desk: Desk) -> None:
    await desk.start(1)
    for verb in ("lease-release", "lease-move"):
        answer = await desk.ask(verb, "android", instance="job-1")
        assert not answer["taken"]
        assert answer["message"].startswith("android is a pool; name one of its devices")


@on_farm(1)
async def test_what_is_asked_about_a_device_is_in_its_history(desk: Desk) -> None:
    await desk.start(1)
    await desk.ask("lease-release", "R5C001")
    await desk.ask("lease-move", "R5C001", instance="job-1")
    await desk.ask("cordon", "R5C001", reason="broken screen")
    await desk.ask("drain", "R5C001", yes=True)
    await desk.ask("uncordon", "R5C001")
    told = desk.events("lease-release.asked", "cordon.asked", "drain.asked")
    assert [(each["identity"], each["serial"], each["port"], each["pool"]) for each in told] == [
        ("serial:R5C001", "R5C001", "1-1", "android")
    ] * 3
    names = [each["event"] for each in desk.bench.logged.entries if Filter("", "R5C001").meets(each)]
    assert [each for each in names if each.endswith((".asked", ".refused")) and each != "device.asked"] == [
        "lease-release.asked",
        "lease-move.refused",
        "cordon.asked",
        "drain.asked",
        "uncordon.asked",
    ]
    await desk.ask("cordon", "job-1")
    assert desk.events("cordon.asked")[-1]["instance"] == "job-1"


@on_farm(1)
async def test_what_is_drained_and_hangs_is_releasing(desk: Desk) -> None:
    await desk.start(1)
    desk.bench.hanging_requests.add(InstanceName("default", "job-1"))
    answer = await desk.ask("drain", "R5C001", yes=True)
    assert (answer["done"], desk.state(1)) == (False, "releasing")


@on_farm(1)
async def test_what_nobody_is_called_is_refused(desk: Desk) -> None:
    await desk.start(1)
    for verb in ("lease-release", "lease-move", "cordon", "drain", "uncordon"):
        answer = await desk.ask(verb, "nothing", instance="job-1")
        assert not answer["taken"]
        assert len(desk.events(f"{verb}.refused")) == 1
    order: Any = desk._orders.handlers[CORDON]
    with pytest.raises(ValueError, match="object"):
        await order(ControlRequest(ME, ROOT, {}, "[]"))


@on_farm(1)
async def test_a_restart_finds_what_is_cordoned(desk: Desk) -> None:
    await desk.start()
    await desk.bench.plug(phone(1))
    await desk.ask("drain", "R5C001", yes=True)
    other = Desk(Bench(job(1), rules=RULES), desk.path.parent)
    other._orders._session = lambda: SimpleNamespace(reconciler=other.bench.reconciler)  # type: ignore[assignment,return-value]
    await other._by_hand.load(desk.path, "start")
    other._orders.loaded()
    await other.bench.start(phone(1))
    assert (places(other.bench), other.state(1)) == ({}, "cordoned")


@on_farm(1, 2)
async def test_a_grant_holds_for_the_instances_that_it_names(desk: Desk) -> None:
    await desk.start(1)
    own = Grant((Allowed("farm", ("lease", "cordon"), (Pattern.of("job-1"),)),))
    every = Grant((Allowed("farm", ("cordon",), (Pattern.of("job-*"),)),))
    for verb, device, grant, words in (
        ("lease-move", "R5C001", own, {"instance": "job-2"}),
        ("lease-release", "R5C001", every, {}),
        ("cordon", "job-2", own, {}),
        ("cordon", "R5C001", own, {}),
        ("cordon", "android", own, {}),
        ("drain", "R5C001", own, {"yes": True}),
    ):
        with pytest.raises(Forbidden):
            await desk.ask(verb, device, grant, **words)
    assert len(desk.events("cordon.refused")) == 3
    assert places(desk.bench) == {"job-1": ["1-1"]}
    assert (await desk.ask("cordon", "job-1", own))["done"]
    assert (await desk.ask("cordon", "R5C001", every))["done"]
    assert (await desk.ask("cordon", "android", every))["done"]
    assert (await desk.ask("lease-release", "R5C001", own))["done"]
    assert places(desk.bench) == {}


@on_farm(1, 2)
async def test_a_grant_holds_for_the_pools_that_it_names(desk: Desk) -> None:
    await desk.start(1)

    def may(*pools: str) -> Grant:
        return Grant((Allowed("farm", ("lease", "cordon"), pools=frozenset(pools)),))

    every: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("cordon", "R5C001", {}),
        ("cordon", "android", {}),
        ("drain", "R5C001", {"yes": True}),
        ("lease-release", "R5C001", {}),
        ("lease-move", "R5C001", {"instance": "job-2"}),
    )
    for verb, device, words in every:
        with pytest.raises(Forbidden, match=r"is of pool android|you may not cordon"):
            await desk.ask(verb, device, may("ios"), **words)
    # It may have devices of any pool.
    with pytest.raises(Forbidden, match="is of no pool alone"):
        await desk.ask("cordon", "job-1", may("android"))
    assert places(desk.bench) == {"job-1": ["1-1"]}
    assert (await desk.ask("lease-move", "R5C001", may("ios", "android"), instance="job-2"))["done"]
    for verb, device, words in every[:3]:
        assert (await desk.ask(verb, device, may("android"), **words))["done"]
    assert places(desk.bench) == {}


@on_farm(1)
async def test_what_is_in_quarantine_is_given_again_by_uncordon(desk: Desk) -> None:
    await desk.start(1)
    quarantines = desk.bench.reconciler.assignments.leases.quarantines
    quarantines.restore([Quarantine("serial:R5C001", "android", "", 6, 60.0, "", 600.0)])
    await desk.bench.reconciler.settled()
    assert places(desk.bench) == {}
    answer = await desk.ask("uncordon", "R5C001")
    assert (answer["done"], answer["message"]) == (True, "R5C001 is not kept from claims any more")
    assert places(desk.bench) == {"job-1": ["1-1"]}
    assert not (await desk.ask("uncordon", "R5C001"))["taken"]


@on_farm(1)
async def test_a_pattern_that_is_too_long_is_no_location(desk: Desk) -> None:
    await desk.start(1)
    hubs = SimpleNamespace(locations=("rack/1",), location=lambda _: "rack/1")
    session: Any = desk._orders._session()
    session.rules = SimpleNamespace(hubs=hubs, rules=())
    words = DeviceRequest.of(json.dumps({"device": "rack/*"}))
    assert meant(session, words).kind == "location"
    with pytest.raises(Refusal):
        meant(session, replace(words, device="*" * 2000 + "1"))


@on_farm(1)
async def test_what_somebody_else_cordoned_stays_theirs(desk: Desk) -> None:
    await desk.start(1)
    member, every = Peer(1, 1000), Grant((Allowed("farm", ("cordon",), (Pattern.of("job-*"),)),))
    await desk.ask("cordon", "R5C001", reason="broken screen")
    for verb in ("cordon", "drain"):
        answer = await desk.ask(verb, "R5C001", every, member, yes=True)
        assert answer["done"]
        told = "was cordoned by uid 0 (root): broken screen; that stays, and only they or root may end it"
        assert verb != "cordon" or answer["message"] == f"/dev/bus/usb/001/001 {told}"
        (kept,) = StateFile(desk.path).read().cordons
        assert (kept.by.uid, kept.reason) == (0, "broken screen")
    with pytest.raises(Forbidden, match="somebody else cordoned"):
        await desk.ask("uncordon", "R5C001", every, member)
    assert (places(desk.bench), desk.state(1)) == ({}, "cordoned")


def test_a_location_is_a_matter_of_all_pools(tmp_path: Path) -> None:
    def found(pools: str) -> Any:
        text = f"pools: {{android: {{instances: 'job-*'}}{pools}}}\n{_PHONES}"
        loaded = parse(text, "x")
        assert not loaded.errors, loaded.errors[0].render()
        leasing = SimpleNamespace(
            rules=loaded.rules, devices={"serial:R5C001": SimpleNamespace(pool="android")}
        )
        leases = SimpleNamespace(leases=SimpleNamespace(leasing=leasing))
        return SimpleNamespace(reconciler=SimpleNamespace(assignments=leases))

    every = Grant((Allowed("farm", ("cordon",), (Pattern.of("job-*"),)),))
    place = Target("location", "rack/*", "location rack/*", ("serial:R5C001",))
    see_granted("cordon", found(""), place, (), every)
    with pytest.raises(Forbidden, match="every instance that any pool admits"):
        see_granted("cordon", found(", cameras: {instances: db}"), place, (), every)
    # A device that is absent may be another pool's.
    device = replace(place, kind="device", keys=("serial:R5C001", "serial:R5C002"))
    with pytest.raises(Forbidden, match="every instance that its pool admits"):
        see_granted("cordon", found(""), device, (), every)
