"""What members of a group may not decide by hand: about what others lease, decided, or have a part of."""

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
from hotplugd.app.grants import ROOT, Allowed, Grant
from hotplugd.app.peer import Peer
from hotplugd.model.values import Device, Instance
from hotplugd.rulefile.load import parse
from hotplugd.rules.pattern import Pattern
from hotplugd.rules.ruleset import RuleSet
from tests.support.devices import box, phone
from tests.support.virtual import in_virtual_time
from tests.unit.app.test_lease_orders import Here
from tests.unit.reconcile.bench import Bench
from tests.unit.reconcile.test_leases import job

ME, OTHER = Peer(1, 1000), Peer(1, 1001)


def granted(*names: str) -> Grant:
    return Grant((Allowed("farm", ("attach", "detach", "undo"), tuple(map(Pattern.of, names))),))


def loaded(text: str) -> RuleSet:
    found = parse(text, "x")
    assert not found.errors, found.errors[0].render()
    return found.rules


class Desk:
    """Someone at the control socket."""

    def __init__(self, rules: RuleSet, folder: Path, *instances: Instance) -> None:
        self.bench = Bench(*instances, rules=rules)
        session: Any = SimpleNamespace(
            reconciler=self.bench.reconciler,
            rules=rules,
            set_overrides=self.bench.reconciler.set_overrides,
            connected=True,
            instance=self.bench.get,
            used=self.bench.in_use,
        )
        threads: Any = Here()
        log: Any = self.bench.reconciler._ports.log
        self.by_hand = ByHand(log, lambda: session)
        self.by_hand._threads = self.by_hand.kept._threads = threads
        self._folder = folder

    async def start(self, *devices: Device) -> None:
        await self.by_hand.load(self._folder / "state.json", "start")
        await self.bench.start(*devices)

    async def ask(self, what: str, device: Device, grant: Grant, peer: Peer = ME, to: str = "") -> bool:
        words = {"device": device.node, "instance": to}
        answer = await getattr(self.by_hand, what)(ControlRequest(peer, grant, {}, json.dumps(words)))
        return bool(answer["taken"])


def in_time(test: Any) -> Callable[[Path], None]:
    def run(tmp_path: Path) -> None:
        in_virtual_time(test)(tmp_path)

    run.__name__ = test.__name__
    return run


@in_time
async def test_what_another_has_leased_and_not_attached_is_not_taken(folder: Path) -> None:
    rules = loaded(
        "pools: {android: {instances: 'job-*', keep: 10m}}\n"
        "rules: [{name: phones, match: {vendor_id: 18d1}, attach: {pool: android}}]"
    )
    desk = Desk(rules, folder, job(1), job(2, None))
    await desk.start()
    await desk.bench.plug(phone(1))
    desk.bench.reconciler.no_device(phone(1).syspath)
    await desk.bench.reconciler.settled()
    desk.bench.reconciler.device(phone(1))
    for what, to in (("attach", "job-2"), ("detach", "")):
        with pytest.raises(Forbidden, match="also concerns job-1"):
            await desk.ask(what, phone(1), granted("job-2"), to=to)


@in_time
async def test_what_others_decided_is_not_decided_again(folder: Path) -> None:
    desk = Desk(loaded("rules: [{name: p, match: {vendor_id: 18d1}, attach: {to: [box]}}]"), folder, box())
    await desk.start(phone(1))
    assert await desk.ask("detach", phone(1), ROOT, Peer(0, 0))
    for what in ("attach", "detach", "undo"):
        with pytest.raises(Forbidden, match="only root may undo it"):
            await desk.ask(what, phone(1), granted("*"), to="box")
    assert await desk.ask("undo", phone(1), ROOT, Peer(0, 0))
    assert await desk.ask("detach", phone(1), granted("*"))
    assert await desk.ask("detach", phone(1), granted("*"))
    with pytest.raises(Forbidden, match="only root may undo it"):
        await desk.ask("attach", phone(1), granted("*"), OTHER, to="box")
    assert await desk.ask("undo", phone(1), granted("*"))


@in_time
async def test_what_hangs_from_a_device_is_not_detached_with_it_from_others(folder: Path) -> None:
    usb = phone(1)
    tty = replace(
        usb, syspath=f"{usb.syspath}/1-1:1.0/tty/ttyACM0", subsystem="tty", devtype="", kernel="ttyACM0",
        node="/dev/ttyACM0", parent=usb,
    )  # fmt: skip
    rules = loaded(
        "rules: [{name: t, match: {subsystem: tty}, attach: {to: db}},"
        " {name: u, match: {vendor_id: 18d1, subsystem: usb}, attach: {to: box}}]"
    )
    desk = Desk(rules, folder, box(), box(name="db"))
    await desk.start(usb, tty)
    assert desk.bench.ours()
    with pytest.raises(Forbidden, match="also concerns db"):
        await desk.ask("detach", usb, granted("box"))
    assert await desk.ask("detach", usb, granted("box", "db"))
