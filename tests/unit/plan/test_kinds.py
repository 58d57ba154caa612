"""What a device goes in as, by what it is, what the rule says and what the instance is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from hotplugd.model.entry import MARK_SEEN, MARK_SLOT, MARK_VERSION, age_of, name_for
from hotplugd.model.nic_snapshot import recall, remember
from hotplugd.model.server_traits import NO_TRAITS, ServerTraits
from hotplugd.model.values import Device, Entry, Inside, Instance, Node
from hotplugd.plan.change import Barred, Plan
from hotplugd.plan.desired import wants
from hotplugd.plan.planner import plan_instance
from tests.support.devices import (
    ALL,
    BOX,
    all_with,
    box,
    channel,
    console,
    disk,
    gpu,
    interface,
    pci,
    phone,
    rule,
    ruleset,
)

NIC = interface()
CARD, RENDER = gpu()
VETH = Device("/sys/devices/virtual/net/veth1", "net", "veth1", slot="n-1a2b3c4d-77-77")
EVERY_TRAIT = ServerTraits(True, True, True, True)
NUMBERED = {"BUSNUM": "001", "DEVNUM": "017"}
IDS = {"vendorid": "18d1", "productid": "4ee7"}


def usb() -> Device:
    one = phone(1)
    return replace(one, properties={**one.properties, **NUMBERED})


def plan(instance: Instance, *devices: Device, attach: str = "", inside: Inside | None = None) -> Plan:
    rules = all_with(attach) if attach else ALL
    found = [want for device in devices for want in wants(rules, device).wants]
    return plan_instance(BOX, instance, found, inside)


def machine(*entries: Entry, running: bool = True, server: ServerTraits = EVERY_TRAIT) -> Instance:
    return replace(box(entries, running=running), kind="virtual-machine", server=server)


def body(entry: Entry) -> Mapping[str, str]:
    """What of an entry is the server's."""
    return {key: text for key, text in entry.config.items() if not key.startswith("user.")}


# What is plugged, where, with which `attach`, and the entry without its marks.
BODIES: dict[str, tuple[Device, Instance, str, dict[str, str]]] = {
    "an interface": (
        NIC,
        box(),
        "",
        {"type": "nic", "nictype": "physical", "parent": "enp1s0", "name": "enp1s0"},
    ),
    "a named interface": (
        NIC,
        box(),
        "name: lan0",
        {"type": "nic", "nictype": "physical", "parent": "enp1s0", "name": "lan0"},
    ),
    "a GPU": (CARD, box(), "", {"type": "gpu", "gputype": "physical", "pci": "0000:01:00.0"}),
    "a render node": (RENDER, box(), "", {"type": "gpu", "gputype": "physical", "pci": "0000:01:00.0"}),
    "a GPU with a mode": (
        CARD,
        box(),
        "mode: '0660', gid: 44",
        {"type": "gpu", "gputype": "physical", "pci": "0000:01:00.0", "mode": "0660", "gid": "44"},
    ),
    "a headless GPU": (
        pci(2),
        box(),
        "as: gpu",
        {"type": "gpu", "gputype": "physical", "pci": "0000:02:00.0"},
    ),
    "an interface in a machine": (
        NIC,
        machine(),
        "",
        {"type": "nic", "nictype": "physical", "parent": "enp1s0", "name": "enp1s0"},
    ),
    "a USB device in a machine": (
        usb(),
        machine(),
        "",
        {"type": "usb", "busnum": "1", "devnum": "17", **IDS, "required": "false"},
    ),
    "an interface of a USB device in a machine": (
        channel(0),
        machine(),
        "",
        {"type": "nic", "nictype": "physical", "parent": "can0", "name": "can0"},
    ),
    "a USB device whose number is none": (
        replace(usb(), properties={"BUSNUM": "-1", "DEVNUM": "--flag"}),
        machine(),
        "",
        {"type": "usb", "busnum": "0", "devnum": "0", **IDS, "required": "false"},
    ),
    "a PCI device in a machine": (pci(), machine(), "", {"type": "pci", "address": "0000:01:00.0"}),
    "a PCI device in a machine that does not run": (
        pci(),
        machine(running=False, server=NO_TRAITS),
        "",
        {"type": "pci", "address": "0000:01:00.0"},
    ),
    "a GPU in a machine that does not run": (
        CARD,
        machine(running=False),
        "",
        {"type": "gpu", "gputype": "physical", "pci": "0000:01:00.0"},
    ),
}


@pytest.mark.parametrize(("device", "instance", "attach", "expected"), BODIES.values(), ids=BODIES)
def test_what_goes_in_is_what_the_server_calls_it(
    device: Device, instance: Instance, attach: str, expected: dict[str, str]
) -> None:
    found = plan(instance, device, attach=attach)
    assert found.problems == ()
    assert [(each.action, body(each.entry)) for each in found.changes] == [("add", expected)]
    then = replace(instance, entries={found.changes[0].entry.name: found.changes[0].entry})
    again = plan(then, device, attach=attach)
    assert again.changes == ()
    assert len(again.attachments) == 1


def test_an_entry_without_ids_stays_as_it_is() -> None:
    (added,) = plan(machine(), usb()).changes
    config = {key: text for key, text in added.entry.config.items() if key not in IDS}
    assert len(config) == len(added.entry.config) - 2
    assert plan(machine(replace(added.entry, config=config)), usb()).changes == ()


def test_ids_that_no_server_takes_are_left_out() -> None:
    odd = replace(usb(), attrs={**usb().attrs, "idVendor": "18D1\n"})
    (added,) = plan(machine(), odd).changes
    assert IDS.keys().isdisjoint(added.entry.config)


# What is plugged, where, with which `attach`, and what is said.
BARRED: dict[str, tuple[Device, Instance, str, str]] = {
    "a PCI device in a container": (pci(), box(), "", "PCI devices go into virtual machines alone"),
    "a tty in a machine": (console(), machine(), "", "only those of USB devices can go into one"),
    "a disk in a machine": (disk(), machine(), "", "only those of USB devices can go into one"),
    "a USB device where they cannot be told apart": (
        usb(),
        machine(server=NO_TRAITS),
        "",
        "cannot tell one USB device from another",
    ),
    "a PCI device in a machine that runs": (
        pci(),
        machine(server=ServerTraits(usb_by_number=True)),
        "",
        "can give it a pci only while it does not",
    ),
    "a veth in a machine": (VETH, machine(), "", "no veth, dummy, VLAN or the like"),
    "a veth in a machine that does not run": (VETH, machine(running=False), "", "only those of PCI and USB"),
    "a GPU in a machine that runs": (CARD, machine(), "", "can give it a gpu only while it does not"),
}


@pytest.mark.parametrize(("device", "instance", "attach", "said"), BARRED.values(), ids=BARRED)
def test_what_cannot_go_there_is_said(device: Device, instance: Instance, attach: str, said: str) -> None:
    found = plan(instance, device, attach=attach)
    assert found.changes == ()
    assert said in found.problems[0].message


# What is plugged, what the rule says, and what is said.
UNFIT: dict[str, tuple[Device, str, str]] = {
    "no node": (replace(pci(), subsystem="usb"), "", "it has no device node"),
    "no interface": (console(), "as: nic", "`as: nic` is for network interfaces"),
    "an interface that stays": (replace(NIC, slot=""), "", "in the network namespace in which it was made"),
    "no GPU": (console(), "as: gpu", "it is none"),
    "a GPU's path": (CARD, "path: /dev/dri/card7", "has no `path` inside"),
    "a tty's name": (console(), "name: eth0", "`name` is for network interfaces"),
    "a display behind USB": (
        replace(CARD, parent=replace(phone(), parent=pci())),
        "as: gpu",
        "it is none",
    ),
}


@pytest.mark.parametrize(("device", "attach", "said"), UNFIT.values(), ids=UNFIT)
def test_what_does_not_fit_the_device_is_said(device: Device, attach: str, said: str) -> None:
    found = wants(all_with(attach) if attach else ALL, device)
    assert found.wants == ()
    assert said in found.problems[0].message


class TestSharing:
    TWO = "{to: [box, other]}"

    @pytest.mark.parametrize(
        ("device", "more", "said"),
        [
            (NIC, "", "one instance at a time"),
            (NIC, ", share: true", "one instance at a time"),
            (pci(), "", "one instance at a time"),
            (disk(), "", "`share: true` in the rule"),
            (CARD, ", share: false", "`share: false`"),
        ],
    )
    def test_what_cannot_be_shared_goes_nowhere(self, device: Device, more: str, said: str) -> None:
        found = wants(ruleset(rule("{subsystem: '*'}", "{to: [box, other]" + more + "}")), device)
        assert found.wants == ()
        assert said in found.problems[0].message

    @pytest.mark.parametrize(("device", "more"), [(CARD, ""), (console(), ""), (disk(), ", share: true")])
    def test_what_can_be_shared_goes_to_all(self, device: Device, more: str) -> None:
        found = wants(ruleset(rule("{subsystem: '*'}", "{to: [box, other]" + more + "}")), device)
        assert [str(want.instance) for want in found.wants] == ["box", "other"]


AS_ONE = (
    "it goes into box with /dev/dri/card1, as one GPU with one owner and mode, which rule 'card' says; take "
    "`as: gpu` out of both rules, and each node goes in as its rule says"
)


class TestGpu:
    def seen(self, *nodes: Device) -> Inside:
        return Inside(
            nodes={each.node: Node(each.devnum, 0o660) if each in nodes else None for each in (CARD, RENDER)}
        )

    def entry(self) -> Entry:
        return plan(box(), CARD, RENDER).changes[0].entry

    def test_what_version_1_attached_stays_under_its_name(self) -> None:
        (new,) = plan(box(), CARD).changes
        before = name_for("p-0000:01:00.0-1")
        marks = {MARK_VERSION: "1", MARK_SLOT: "p-0000:01:00.0-1"}
        old = Entry(before, {**new.entry.config, **marks})
        found = plan(box([old]), CARD, RENDER)
        assert found.changes == ()
        assert {each.entry.name for each in found.attachments} == {before} != {new.entry.name}
        other = plan(box([old]), *gpu(1, born=2))
        assert [(each.action, each.entry.name == before) for each in other.changes] == [
            ("add", False),
            ("remove", True),
        ]

    def test_what_version_1_attached_stays_under_its_name_when_a_rule_changes_it(self) -> None:
        (new,) = plan(box(), CARD).changes
        marks = {MARK_VERSION: "1", MARK_SLOT: "p-0000:01:00.0-1"}
        old = Entry(name_for("p-0000:01:00.0-1"), {**new.entry.config, **marks})
        (change,) = plan(box([old]), CARD, attach="mode: '0600'").changes
        assert (change.action, change.entry.name) == ("update", old.name)
        assert plan(box([change.entry]), CARD, attach="mode: '0600'").changes == ()

    def test_what_no_start_was_possible_with_stays_out_under_either_name(self) -> None:
        found = wants(ALL, CARD).wants
        for slot in ("p-0000:01:00.0-1", found[0].slot):
            name = name_for(slot)
            barred = {name: Barred(Entry(name, {"type": "gpu"}), "it cannot be started with it")}
            for running in (False, True):
                there = box(running=running)
                made = plan_instance(BOX, there, found, None, unstartable=barred)
                assert bool(made.changes) is running
                assert bool(made.problems) is not running

    @pytest.mark.parametrize("slot", ["p-0000:02:00.0-1", "p-0000:01:00.0-2", "n-1-1", "", "-", "x" * 999])
    def test_one_whose_mark_names_another_device_is_put_in_anew(self, slot: str) -> None:
        (new,) = plan(box(), CARD).changes
        edited = Entry(new.entry.name, {**new.entry.config, MARK_SLOT: slot})
        (change,) = plan(box([edited]), CARD).changes
        assert (change.action, change.entry) == ("remove", edited)
        assert change.why == "its marks name another device, and it has to be put in anew"

    def test_card_and_render_node_are_one_entry(self) -> None:
        found = plan(box(), RENDER, CARD)
        assert [each.device for each in found.changes] == ["/dev/dri/card1"]

    def test_both_nodes_are_looked_for(self) -> None:
        found = plan(box([self.entry()]), CARD, RENDER, inside=self.seen(CARD, RENDER))
        assert found.changes == ()
        assert {str(each.want.device): each.verified for each in found.attachments} == {
            "/dev/dri/card1": True,
            "/dev/dri/renderD128": True,
        }

    def test_one_whose_node_is_missing_is_taken_out_to_be_put_in_again(self) -> None:
        found = plan(box([self.entry()]), CARD, RENDER, inside=self.seen(CARD))
        assert [(each.action, each.why) for each in found.changes] == [
            ("remove", "node /dev/dri/renderD128 is missing inside, and it has to be put in anew")
        ]

    def test_its_entry_waits_while_udevd_has_not_said_what_it_is(self) -> None:
        instance = box([self.entry()])
        bare = replace(CARD, parent=None, slot="", devnum=None)
        assert plan_instance(BOX, instance, [], None, [bare], set()).changes == ()
        other = replace(bare, syspath=bare.syspath.replace("01:00.0", "02:00.0"))
        assert len(plan_instance(BOX, instance, [], None, [other], set()).changes) == 1

    def test_of_rules_with_two_modes_the_second_is_a_problem(self) -> None:
        both = ruleset(
            rule("{subsystem: drm, kernel: 'card*'}", "{to: box, as: gpu, mode: '0660'}", name="card"),
            rule("{subsystem: drm}", "{to: box, as: gpu, mode: '0666'}", name="render"),
        )
        found = [want for device in (CARD, RENDER) for want in wants(both, device).wants]
        made = plan_instance(BOX, box(), found, None)
        assert [each.entry.config["mode"] for each in made.changes] == ["0660"]
        assert [(each.device, each.rule, each.message) for each in made.problems] == [
            (
                "/dev/dri/renderD128",
                "render",
                AS_ONE,
            )
        ]
        nodes = {CARD.node: Node(CARD.devnum, 0o660), RENDER.node: Node(RENDER.devnum, 0o660)}
        there = plan_instance(BOX, box([made.changes[0].entry]), found, Inside(nodes=nodes))
        assert there.problems == made.problems
        assert [each.verified for each in there.attachments] == [True, True]

    def test_two_of_them_are_two_entries(self) -> None:
        found = plan(box(), *gpu(1), *gpu(2))
        assert [body(each.entry)["pci"] for each in found.changes] == ["0000:01:00.0", "0000:02:00.0"]


class TestPartsOfAGpu:
    """Where rules tell its nodes apart each goes in as its rule says."""

    def of(self, *rules: str) -> dict[str, Mapping[str, str]]:
        both = ruleset(*rules)
        found = [want for device in (CARD, RENDER) for want in wants(both, device).wants]
        made = plan_instance(BOX, box(), found, None)
        assert not made.problems
        return {each.device: body(each.entry) for each in made.changes}

    def test_each_has_the_owner_and_the_mode_of_its_rule(self) -> None:
        found = self.of(
            rule("{subsystem: drm, kernel: 'card*'}", "{to: box, gid: 44, mode: '0660'}", name="card"),
            rule("{subsystem: drm, kernel: 'renderD*'}", "{to: box, gid: 105, mode: '0666'}", name="render"),
        )
        said = {node: (each["type"], each["path"], each["gid"], each["mode"]) for node, each in found.items()}
        assert said == {
            "/dev/dri/card1": ("unix-char", "/dev/dri/card1", "44", "0660"),
            "/dev/dri/renderD128": ("unix-char", "/dev/dri/renderD128", "105", "0666"),
        }

    @pytest.mark.parametrize(
        "match",
        [
            "{subsystem: drm, kernel: 'renderD*'}",
            "{subsystem: drm, not: {kernel: 'card*'}}",
            "{any: [{subsystem: drm, kernel: 'renderD*'}, {subsystem: tty}]}",
        ],
    )
    def test_a_rule_for_the_render_node_alone_leaves_the_card_on_the_host(self, match: str) -> None:
        assert list(self.of(rule(match, "{to: box}"))) == ["/dev/dri/renderD128"]

    def test_a_card_that_a_rule_ignores_stays_on_the_host(self) -> None:
        found = self.of(
            rule("{subsystem: drm, kernel: 'card*'}", None, name="card"),
            rule("{subsystem: drm}", "{to: box}"),
        )
        assert list(found) == ["/dev/dri/renderD128"]

    @pytest.mark.parametrize(
        "match",
        [
            "{subsystem: drm}",
            "{subsystem: drm, path: 'pci-*'}",
            "{subsystem: drm, property: {ID_PATH: 'pci-*'}}",
            "{subsystem: drm, parent: {subsystem: pci, kernel: '0000:01:*', attr: {vendor: '0x8086'}}}",
        ],
    )
    def test_what_is_the_same_for_all_nodes_tells_none_apart(self, match: str) -> None:
        others = rule("{subsystem: tty, kernel: ttyUSB0}", "{to: box}", name="tty")
        assert not ruleset(rule(match, "{to: box}"), others).parts_gpus

    def test_as_gpu_says_that_the_whole_goes_in(self) -> None:
        (entry,) = self.of(rule("{subsystem: drm, kernel: card1}", "{to: box, as: gpu}")).values()
        assert entry["type"] == "gpu"

    def test_several_containers_may_have_one(self) -> None:
        found = wants(
            ruleset(rule("{subsystem: drm, kernel: 'renderD*'}", "{to: [box, other]}")), RENDER
        ).wants
        assert [str(want.instance) for want in found] == ["box", "other"]
        assert all(want.kind.shared for want in found)

    def test_none_goes_into_a_machine(self) -> None:
        found = wants(ruleset(rule("{subsystem: drm, kernel: 'renderD*'}", "{to: box}")), RENDER).wants
        made = plan_instance(BOX, machine(), found, None)
        assert "write `as: gpu`" in made.problems[0].message


class TestInterfaces:
    ENTRY = plan(box(), NIC).changes[0].entry
    AWAY = replace(NIC, away=True)

    def test_one_that_is_away_counts_as_there(self) -> None:
        found = plan(box([self.ENTRY]), self.AWAY, inside=Inside(interfaces=frozenset({"lo", "enp1s0"})))
        assert found.changes == ()
        assert [each.verified for each in found.attachments] == [True]
        assert found.problems == ()

    def test_one_that_is_nowhere_is_a_problem_and_no_request(self) -> None:
        found = plan(box([self.ENTRY]), self.AWAY, inside=Inside(interfaces=frozenset({"lo"})))
        assert found.changes == ()
        assert [each.verified for each in found.attachments] == [False]
        assert "renamed inside, or its hardware is gone" in found.problems[0].message

    def test_one_that_is_on_the_host_though_it_should_be_inside_is_put_in_anew(self) -> None:
        found = plan(box([self.ENTRY]), NIC, inside=Inside(interfaces=frozenset({"lo"})))
        assert [each.action for each in found.changes] == ["remove"]

    def test_its_entry_waits_while_udevd_has_not_said_what_it_is(self) -> None:
        stopped = box([self.ENTRY], running=False)
        bare = replace(NIC, slot="", parent=None)
        assert plan_instance(BOX, stopped, [], None, [bare], set()).changes == ()
        assert len(plan_instance(BOX, stopped, [], None, [], set()).changes) == 1

    def test_nothing_is_said_before_somebody_looked(self) -> None:
        found = plan(box([self.ENTRY]), NIC, inside=Inside())
        assert found.changes == ()
        assert [each.verified for each in found.attachments] == [False]

    def test_it_waits_until_the_instance_that_has_it_lets_go(self) -> None:
        found = plan(box(), self.AWAY)
        assert found == Plan()

    def test_a_name_that_another_entry_has_is_not_taken(self) -> None:
        theirs = Entry("eth", {"type": "nic", "nictype": "bridged", "parent": "br0", "name": "enp1s0"})
        found = plan(box([theirs]), NIC)
        assert found.changes == ()
        assert "belongs to its entry 'eth', which is not ours" in found.problems[0].message

    @pytest.mark.parametrize("age", ["9" * 5000, "x", ""])
    def test_a_slot_without_an_age_is_the_youngest(self, age: str) -> None:
        assert age_of(f"n-1-{age}") >= age_of("n-1-" + "9" * 18)

    def test_a_slot_of_halves_of_characters_has_a_name_like_any_other(self) -> None:
        assert name_for("n-\ud800-7") != name_for("n-\ud801-7")

    def test_what_is_remembered_is_what_was(self) -> None:
        assert self.ENTRY.config[MARK_SEEN] == remember(NIC)
        found = recall(self.ENTRY)
        assert found == replace(NIC, away=True, parent=None)
        assert found is not None
        assert name_for(found.slot) == self.ENTRY.name

    @pytest.mark.parametrize(
        "mark",
        [
            "",
            "nonsense",
            "[]",
            "{}",
            '{"syspath": 1}',
            "[" * 100_000,
            remember(replace(NIC, syspath="/etc/passwd")),
            remember(replace(NIC, syspath="/sys/devices/../../etc")),
            remember(replace(NIC, syspath="/sys/devices/net/..")),
            remember(replace(NIC, syspath="/sys/devices/a\0b")),
            remember(replace(NIC, syspath="/sys/devices/\ud800")),
            remember(NIC).replace('"attrs":{', '"attrs":[').replace("}}", "]}"),
            remember(NIC).replace('"1"', "1"),
        ],
    )
    def test_a_mark_that_makes_no_sense_is_no_device(self, mark: str) -> None:
        broken = Entry(self.ENTRY.name, {**self.ENTRY.config, MARK_SEEN: mark})
        assert recall(broken) is None
