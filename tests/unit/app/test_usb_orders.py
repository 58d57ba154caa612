"""What people ask the daemon to do to USB itself: which port is meant, and what is refused."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from structlog.testing import LogCapture

from hotplugd.app import usb_orders
from hotplugd.app.command_json import UsbOrderJson
from hotplugd.app.control_request import ControlRequest, Forbidden
from hotplugd.app.endpoints import ENDPOINTS
from hotplugd.app.grants import ROOT, Allowed, Grant
from hotplugd.app.peer import Peer
from hotplugd.app.revoker import revoke
from hotplugd.app.usb_orders import UsbOrders
from hotplugd.host.usb_ports import UsbPort
from hotplugd.model.values import CANNOT_TELL, Device, InstanceName
from hotplugd.plan.about import spread
from hotplugd.rules.hubs import Hub, Hubs
from hotplugd.rules.pattern import Pattern
from tests.support.usb_tree import CONTROLLER, Sockets

TREE = Sockets(fast={"3": "1", "4": "2"})
HUBS = Hubs((Hub("shelf-1", (f"{CONTROLLER}-usb-0:3",), "", {"a": "1", "b": "2"}),))
ROOTS = [TREE.root(), TREE.root(fast=True)]
BOX = [TREE.plug("3", fast=fast, ports=4) for fast in (False, True)]
PHONE = TREE.plug("3.1", attrs={"serial": "R5C001"})
OTHER = TREE.plug("3.2", attrs={"serial": "KEYBOARD"})
ME = Peer(os.getpid(), os.geteuid())


class Lab:
    """A daemon whose rules take the phone, and which of instances has it; `asked` of the program."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.used: dict[str, str] = {}
        self.failed = ""
        self.grant = ROOT
        self.asked: list[tuple[object, ...]] = []
        self.logged = LogCapture()
        log: Any = structlog.wrap_logger(
            None,
            [lambda _, __, event: {**spread(event)}, self.logged],
            structlog.make_filtering_bound_logger(0),
        )
        self.devices = devices = {each.key: each for each in (*ROOTS, *BOX, PHONE, OTHER)}
        self.attach = SimpleNamespace(pool="android")
        job = InstanceName("default", "job-1")
        want = SimpleNamespace(device=PHONE, instance=job, attach=self.attach)
        taken = SimpleNamespace(device=PHONE, rule=SimpleNamespace(attach=True), override=None)
        reconciler = SimpleNamespace(
            inventory=SimpleNamespace(devices=devices, unprocessed={}, devices_listed=True),
            assignments=SimpleNamespace(wants={PHONE.key: taken}),
            attachments=lambda: [SimpleNamespace(want=want)] if PHONE.key in devices else [],
        )
        rules = SimpleNamespace(hubs=HUBS, rules=())
        session: Any = SimpleNamespace(reconciler=reconciler, rules=rules, host=SimpleNamespace(usb=self))
        # In the event loop of each question.
        self.make: Callable[[], UsbOrders] = lambda: UsbOrders(log, lambda: session)
        monkeypatch.setattr(usb_orders, "in_use", lambda device: self.used.get(device.kernel, ""))
        monkeypatch.setattr(usb_orders, "ports_of", self.ports_of)

    def ports_of(self, syspath: str) -> dict[int, UsbPort]:
        known = dict(TREE.ports(hub, fast=fast) for hub in ("", "3") for fast in (False, True))
        return known.get(syspath, {})

    async def reset(self, device: Device) -> str:
        self.asked.append(("reset", device.kernel))
        return self.failed

    async def switch(self, hub: str, port: int, what: str) -> str:
        self.asked.append((hub, port, what))
        return self.failed

    def ask(self, order: str, **words: object) -> UsbOrderJson:
        async def ask() -> UsbOrderJson:
            return await self.asks(self.make(), order, ME, words)

        return asyncio.run(ask())

    async def asks(self, of: UsbOrders, order: str, peer: Peer, words: Mapping[str, object]) -> UsbOrderJson:
        (row,) = [each for each in ENDPOINTS if each.name == order]
        asked: Any = of.handlers[row](ControlRequest(peer, self.grant, {}, json.dumps(words)))
        answer: UsbOrderJson = await asked
        return answer

    @property
    def events(self) -> Sequence[Mapping[str, Any]]:
        return self.logged.entries


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Lab:
    return Lab(monkeypatch)


@pytest.mark.parametrize("name", ["R5C001", PHONE.kernel, PHONE.syspath, "shelf-1/a"])
def test_a_device_is_reset_and_who_has_it_is_said(lab: Lab, name: str) -> None:
    answer = lab.ask("reset", device=name)
    assert (answer["done"], answer["message"].endswith("was reset; job-1 has it")) == (True, True)
    assert lab.asked == [("reset", PHONE.kernel)]
    (event,) = lab.events
    assert (event["event"], event["serial"], "by" in event) == ("reset.asked", "R5C001", True)


@pytest.mark.parametrize("name", ["shelf-1/a", PHONE.kernel])
def test_a_port_is_named_by_its_location_or_by_the_kernel(lab: Lab, name: str) -> None:
    answer = lab.ask("port", port=name, switch="cycle")
    assert answer["message"] == (
        "port shelf-1/a (1-3.1, 2-1.1) was switched off and on; 1 device went; job-1 has it"
    )
    assert lab.asked == [("1-3", 1, "cycle")]
    assert [(each["event"], each["location"], each["action"], each["uid"]) for each in lab.events] == [
        ("port.asked", "shelf-1/a", "cycle", ME.uid)
    ]


def test_a_port_of_a_controller_belongs_to_its_root_hub(lab: Lab) -> None:
    assert lab.ask("port", port="1-4", switch="off")["done"]
    assert lab.asked == [("usb1", 4, "off")]


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ("reset", {"device": "KEYBOARD"}),
        ("port", {"port": "shelf-1/b", "switch": "off"}),
        # What is behind the hub in it, too.
        ("port", {"port": "1-3", "switch": "cycle"}),
    ],
)
def test_what_no_rule_takes_goes_only_where_that_is_meant(
    lab: Lab, order: str, words: Mapping[str, object]
) -> None:
    answer = lab.ask(order, **words)
    assert (answer["taken"], lab.asked) == (False, [])
    assert answer["message"] == "no rule takes 1 device that would go or be reset; --yes does it:"
    assert len(answer["more"]) == 1
    assert "KEYBOARD" in answer["more"][0]
    assert [each["event"] for each in lab.events] == [f"{order}.refused"]
    assert lab.ask(order, **words, yes=True)["done"]


@pytest.mark.parametrize("used", ["sda1 is mounted on /srv", f"{CANNOT_TELL}: no such file"])
def test_what_the_host_uses_stays_whatever_is_said(lab: Lab, used: str) -> None:
    lab.used[PHONE.kernel] = used
    for order, words in (("reset", {"device": "R5C001"}), ("port", {"port": "1-3", "switch": "off"})):
        answer = lab.ask(order, **words, yes=True)
        assert (answer["taken"], used in answer["message"]) == (False, True)
    assert lab.asked == []
    # To switch one on takes nothing away.
    assert lab.ask("port", port="1-3", switch="on")["done"]


@pytest.mark.parametrize(
    ("order", "words", "message"),
    [
        ("reset", {"device": "NOBODY"}, "no device NOBODY is plugged in"),
        ("port", {"port": "shelf-1/z", "switch": "off"}, "no port shelf-1/z: expected a location"),
        ("port", {"port": "", "switch": "off"}, "no port "),
        ("port", {"port": "1-3", "switch": "burn"}, "expected on, off, cycle, and found 'burn'"),
    ],
)
def test_what_there_is_not_is_refused(
    lab: Lab, order: str, words: Mapping[str, object], message: str
) -> None:
    answer = lab.ask(order, **words)
    assert (answer["done"], answer["message"].startswith(message)) == (False, True), answer["message"]


@pytest.mark.parametrize(
    ("instances", "device", "port", "message"),
    [
        ("job-*", "R5C001", "shelf-1/a", ""),
        ("build-*", "R5C001", "shelf-1/a", "job-1 has .*, and you may not (reset|port) what it has"),
        ("*", "KEYBOARD", "shelf-1/b", "no instance has .*; only root may (reset|port) it"),
        # What is behind a hub is others', too.
        ("*", "KEYBOARD", "1-3", "no instance has .*"),
        ("*", "KEYBOARD", "1-4", "(no instance has .*|nothing that you may switch is in that port.*)"),
    ],
)
def test_a_group_may_only_touch_what_its_instances_have(
    lab: Lab, instances: str, device: str, port: str, message: str
) -> None:
    lab.grant = Grant((Allowed("farm", ("reset", "port"), (Pattern.of(instances),)),))
    for order, words in (("reset", {"device": device}), ("port", {"port": port, "switch": "on"})):
        if not message:
            assert lab.ask(order, **words)["done"]
            continue
        with pytest.raises(Forbidden, match=message):
            lab.ask(order, **words, yes=True)
        assert lab.events[-1]["event"] == f"{order}.refused"
        assert lab.asked == []


def test_a_group_may_only_touch_what_its_pools_gave(lab: Lab) -> None:
    def may(*pools: str) -> Grant:
        return Grant((Allowed("farm", ("reset", "port"), pools=frozenset(pools)),))

    orders = (("reset", {"device": "R5C001"}), ("port", {"port": "shelf-1/a", "switch": "cycle"}))
    for of, grant, why in (
        ("android", may("android"), ""),
        ("android", may("ios", "android"), ""),
        ("android", may("ios"), "is of pool android, for which you may not (reset|port)"),
        ("", may("android"), "is of no pool alone, for which you may not (reset|port)"),
    ):
        lab.attach.pool, lab.grant = of, grant
        for order, words in orders:
            if not why:
                assert lab.ask(order, **words)["done"]
                continue
            with pytest.raises(Forbidden, match=why):
                lab.ask(order, **words)


def test_who_has_switched_a_port_off_may_switch_it_on(lab: Lab) -> None:
    lab.grant = Grant((Allowed("farm", ("port",), (Pattern.of("job-*"),)),))
    other = Peer(ME.pid, ME.uid + 1000)

    async def ask() -> None:
        orders = lab.make()

        def switched(switch: str, peer: Peer = ME) -> Awaitable[UsbOrderJson]:
            return lab.asks(orders, "port", peer, {"port": "shelf-1/a", "switch": switch})

        assert (await switched("off"))["done"]
        del lab.devices[PHONE.key]
        for switch, peer in (("on", other), ("cycle", ME), ("off", ME)):
            with pytest.raises(Forbidden, match="only root may switch it"):
                await switched(switch, peer)
        assert (await switched("on"))["done"]
        # Once it is on, it is what it was.
        with pytest.raises(Forbidden, match="only root may switch it"):
            await switched("on")

    asyncio.run(ask())


def test_what_the_program_could_not_do_is_said(lab: Lab) -> None:
    lab.failed = "a request hangs in the kernel"
    answer = lab.ask("port", port="shelf-1/a", switch="off")
    assert answer["message"] == "port shelf-1/a (1-3.1, 2-1.1): a request hangs in the kernel"
    assert [each["event"] for each in lab.events] == ["port.asked", "port.refused"]


def revoked(device: Device, *, failed: str, held: str, used: str = "") -> tuple[str, Sequence[str]]:
    """What comes of revoking, and what was asked for."""
    asked: list[str] = []

    async def end(_: Device) -> str:
        asked.append("revoke")
        return failed

    async def who(_: Device) -> str:
        asked.append("held")
        return held

    async def how(_: Device) -> str:
        return used

    usb: Any = SimpleNamespace(revoke=end)
    return asyncio.run(revoke(usb, how, who, device)), asked


def test_a_usb_device_is_revoked_and_all_else_may_not_be_open(monkeypatch: pytest.MonkeyPatch) -> None:
    tty = Device("/sys/x/ttyUSB0", "tty", "ttyUSB0")
    assert revoked(PHONE, failed="", held="it is open") == ("", ["revoke"])
    assert revoked(tty, failed="", held="") == ("", ["held"])
    assert revoked(tty, failed="", held="it is open") == ("it is open", ["held"])
    # It has lost its driver on the way: nobody could use it.
    assert revoked(PHONE, failed="no", held="") == ("it could not be revoked: no", ["revoke"])
    monkeypatch.setattr("hotplugd.app.revoker.name_of_link", lambda _: "usb")
    assert revoked(PHONE, failed="no", held="") == ("", ["revoke", "held"])
    assert revoked(PHONE, failed="no", held="adb has it")[0] == "adb has it; it could not be revoked: no"


@pytest.mark.parametrize(
    ("used", "said"),
    [
        ("sdb1 is mounted at /mnt", "the host uses it: sdb1 is mounted at /mnt"),
        (f"{CANNOT_TELL}: no answer", f"{CANNOT_TELL}: no answer"),
    ],
)
def test_what_the_host_uses_by_now_is_not_revoked(used: str, said: str) -> None:
    assert revoked(PHONE, failed="", held="", used=used) == (said, [])
