"""Devices that belong to somebody already, by entries that are not ours."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hotplugd.model.problem import Problem
from hotplugd.model.values import Device, Entry, Instance
from hotplugd.plan.desired import wants
from hotplugd.plan.ownership import Owners, withheld
from tests.support.devices import (
    ALL,
    all_with,
    box,
    console,
    disk,
    entry,
    gpu,
    interface,
    pci,
    phone,
    rule,
    ruleset,
)

Config = dict[str, str]

CABLE, PHONE, NIC, PCI = console(1), phone(1), interface(), pci()
CARD, _ = gpu()
ADDRESS = "0000:01:00.0"
FOREIGN = "its entry 'theirs', which is not ours"

# A device, an entry of somebody's by which they have it, and the kind of their instance.
HELD: dict[str, tuple[Device, Config, str]] = {
    "unix-char": (CABLE, {"type": "unix-char", "source": "/dev/ttyUSB1"}, "container"),
    "unix-block": (disk(), {"type": "unix-block", "source": "/dev/zram0"}, "container"),
    "unix-hotplug": (CABLE, {"type": "unix-hotplug", "vendorid": "0403"}, "container"),
    "disk": (disk(), {"type": "disk", "source": "/dev/zram0", "path": "/srv"}, "virtual-machine"),
    "usb": (PHONE, {"type": "usb"}, "container"),
    "usb of a machine": (PHONE, {"type": "usb", "vendorid": "18d1"}, "virtual-machine"),
}
# The same, of what only one can have.
ALONE: dict[str, tuple[Device, Config, str]] = {
    "nic": (NIC, {"type": "nic", "nictype": "physical", "parent": "enp1s0"}, "container"),
    "macvlan": (NIC, {"type": "nic", "nictype": "macvlan", "parent": "enp1s0"}, "virtual-machine"),
    "infiniband": (NIC, {"type": "infiniband", "nictype": "physical", "parent": "enp1s0"}, "container"),
    "pci": (PCI, {"type": "pci", "address": ADDRESS}, "virtual-machine"),
    "a card of a pci": (NIC, {"type": "pci", "address": ADDRESS}, "virtual-machine"),
}


def owners(*instances: Instance) -> Owners:
    found = Owners()
    for each in instances:
        found.learned(each.id, each)
    return found


def other(
    config: Config,
    kind: str = "container",
    *,
    inherited: bool = False,
    running: bool = True,
    name: str = "other",
) -> Instance:
    theirs = Entry("theirs", config)
    made = box(() if inherited else [theirs], [theirs] if inherited else (), name=name, running=running)
    return replace(made, kind="virtual-machine") if kind == "virtual-machine" else made


def said(
    device: Device, *instances: Instance, attached: bool = False, attach: str = "{to: box}"
) -> list[Problem]:
    """What is said of a device that a rule takes; it goes where that says."""
    before = wants(ruleset(rule("{subsystem: '*'}", attach)), device)
    found = withheld(before, owners(*instances), attached=attached)
    assert found.wants == before.wants
    return list(found.problems)


def kept(device: Device, *instances: Instance) -> Problem:
    """What is said of a device that a rule takes, and that goes nowhere."""
    found = withheld(wants(ALL, device), owners(*instances))
    assert found.wants == ()
    (problem,) = found.problems
    return problem


@pytest.mark.parametrize("inherited", [False, True], ids=["own", "inherited"])
@pytest.mark.parametrize(("device", "config", "kind"), [*HELD.values(), *ALONE.values()], ids=[*HELD, *ALONE])
def test_what_somebody_has_is_left_alone_and_it_is_a_problem(
    device: Device, config: Config, kind: str, *, inherited: bool
) -> None:
    problem = kept(device, other(config, kind, inherited=inherited))
    assert problem.message.startswith(f"it belongs to other by {FOREIGN}; take that out")
    assert not problem.guard
    assert problem.message.endswith("; the entry comes from a profile") is inherited
    assert ("`share: true`" in problem.message) is (device not in (NIC, PCI))


@pytest.mark.parametrize("inherited", [False, True], ids=["own", "inherited"])
@pytest.mark.parametrize(("device", "config", "kind"), [*HELD.values(), *ALONE.values()], ids=[*HELD, *ALONE])
def test_what_is_attached_and_somebody_has_too_is_a_problem(
    device: Device, config: Config, kind: str, *, inherited: bool
) -> None:
    (problem,) = said(device, other(config, kind, inherited=inherited), attached=True)
    assert problem.message.startswith(f"it is in box, and other has it too, by {FOREIGN}; take that out")
    assert not problem.guard
    assert problem.message.endswith("; the entry comes from a profile") is inherited
    assert ("`share: true`" in problem.message) is (device not in (NIC, PCI))


@pytest.mark.parametrize("attached", [False, True])
@pytest.mark.parametrize(("device", "config", "kind"), HELD.values(), ids=HELD)
def test_who_does_not_run_keeps_nothing_from_others_and_explain_says_what_comes(
    device: Device, config: Config, kind: str, *, attached: bool
) -> None:
    (problem,) = said(device, other(config, kind, running=False), attached=attached)
    assert problem.message == f"other, which does not run, gets it too once it starts, by {FOREIGN}"
    assert problem.guard


@pytest.mark.parametrize("attached", [False, True])
@pytest.mark.parametrize(("device", "config", "kind"), ALONE.values(), ids=ALONE)
def test_who_could_not_start_without_it_is_a_problem(
    device: Device, config: Config, kind: str, *, attached: bool
) -> None:
    (problem,) = said(device, other(config, kind, running=False), attached=attached)
    assert problem.message == (
        "other, which does not run, cannot start while it is in box: "
        f"it needs it for {FOREIGN}; take that out"
    )
    assert not problem.guard


@pytest.mark.parametrize(
    "away", [{"here": False}, {"known": False, "here": False}], ids=["member", "unknown"]
)
@pytest.mark.parametrize(("device", "config", "kind"), [*HELD.values(), *ALONE.values()], ids=[*HELD, *ALONE])
def test_who_is_on_another_member_has_nothing_of_this_host(
    device: Device, config: Config, kind: str, away: dict[str, bool]
) -> None:
    for running in (True, False):
        there = replace(other(config, kind, running=running), **away)  # type: ignore[arg-type]
        assert said(device, there) == []
        assert said(device, there, attached=True) == []


def test_whatever_others_call_their_entry_can_be_shown() -> None:
    theirs = Entry("\x1b[2J\n", {"type": "usb"})
    for running in (True, False):
        whose = box([theirs], name="other", running=running)
        found = withheld(wants(ALL, PHONE), owners(whose)).problems + tuple(said(PHONE, whose, attached=True))
        assert all("'\\x1b[2J\\x0a'" in each.message for each in found)


def test_what_is_ours_is_nobodys() -> None:
    assert said(CABLE, box([entry(CABLE)], name="other")) == []


class TestShared:
    def test_what_may_be_shared_is_not_left_alone_and_nothing_is_said(self) -> None:
        for running in (True, False):
            theirs = other({"type": "usb"}, running=running)
            for attached in (True, False):
                assert said(PHONE, theirs, attached=attached, attach="{to: box, share: true}") == []

    def test_a_gpu_may_be_unless_the_rule_says_otherwise(self) -> None:
        theirs = other({"type": "gpu", "pci": ADDRESS})
        assert said(CARD, theirs) == []
        assert said(CARD, theirs, attached=True) == []
        alone = wants(all_with("share: false"), CARD)
        assert withheld(alone, owners(theirs)).wants == ()
        assert withheld(alone, owners(theirs), attached=True).problems

    def test_an_interface_may_not_whatever_the_rule_says(self) -> None:
        theirs = other({"type": "nic", "nictype": "physical", "parent": "enp1s0"})
        assert withheld(wants(all_with("share: true"), NIC), owners(theirs)).wants == ()


class TestInTheSameInstance:
    @pytest.mark.parametrize("running", [True, False])
    def test_what_it_has_by_another_entry_is_not_put_in_again(self, *, running: bool) -> None:
        problem = kept(PHONE, other({"type": "usb"}, name="box", running=running))
        assert problem.message.startswith(f"it belongs to box by {FOREIGN}")
        assert not problem.guard

    def test_it_is_found_behind_others(self) -> None:
        takes = {"type": "usb"}
        everybody = [other(takes, name=name, running=False) for name in ("a", "box", "c")]
        assert kept(PHONE, *everybody).message.startswith("it belongs to box")
        (problem,) = said(PHONE, *everybody, attached=True)
        assert problem.message.startswith("box, which does not run, has it twice once it starts")

    def test_what_it_has_twice_is_a_problem(self) -> None:
        (problem,) = said(PHONE, other({"type": "usb"}, name="box"), attached=True)
        assert problem.message == f"box has it twice, by our entry and by {FOREIGN}; take that out"

    def test_what_it_will_have_twice_is_one_too(self) -> None:
        (problem,) = said(PHONE, other({"type": "usb"}, name="box", running=False), attached=True)
        assert problem.message == (
            "box, which does not run, has it twice once it starts, "
            f"by our entry and by {FOREIGN}; take that out"
        )
        assert not problem.guard

    @pytest.mark.parametrize("running", [True, False])
    def test_two_paths_to_one_device_are_none(self, *, running: bool) -> None:
        theirs = {"type": "unix-char", "source": "/dev/ttyUSB1", "path": "/dev/console7"}
        assert said(CABLE, other(theirs, name="box", running=running), attached=True) == []

    def test_one_of_another_is_found_beside_it(self) -> None:
        theirs = {"type": "unix-char", "source": "/dev/ttyUSB1", "path": "/dev/console7"}
        (problem,) = said(CABLE, other(theirs, name="box"), other(theirs), attached=True)
        assert "other has it too" in problem.message

    def test_all_that_a_rule_names_are_named(self) -> None:
        attach = "{to: [box, den]}"
        (problem,) = said(PHONE, other({"type": "usb"}), attached=True, attach=attach)
        assert problem.message.startswith("it is in box and den, and other has it too")
        (problem,) = said(PHONE, other({"type": "usb"}, name="den"), attached=True, attach=attach)
        assert problem.message.startswith("den has it twice")


NODE: Config = {"type": "unix-char", "source": "/dev/ttyUSB1"}


class TestLearning:
    def test_owners_go_with_their_entry_their_instance_and_its_place(self) -> None:
        found, theirs = Owners(), other(NODE)
        assert found.learned(theirs.id, theirs)
        assert not found.learned(theirs.id, theirs)
        for after in (replace(theirs, entries={}), None, replace(theirs, here=False)):
            assert found.learned(theirs.id, after)
            assert list(found.now(CABLE)) == []
            assert found.learned(theirs.id, theirs)
            assert len(list(found.now(CABLE))) == 1

    def test_they_are_for_later_while_their_instance_does_not_run(self) -> None:
        found, theirs = Owners(), other(NODE)
        found.learned(theirs.id, theirs)
        assert found.learned(theirs.id, replace(theirs, running=False))
        assert (len(list(found.now(CABLE))), len(list(found.later(CABLE)))) == (0, 1)
        assert found.learned(theirs.id, theirs)
        assert (len(list(found.now(CABLE))), len(list(found.later(CABLE)))) == (1, 0)

    def test_what_one_alone_can_have_stays_through_a_restart(self) -> None:
        nic = Entry("nic", {"type": "nic", "nictype": "physical", "parent": "enp1s0"})
        theirs = box([nic, Entry("theirs", NODE)], name="other")
        found = owners(theirs)
        assert found.has_alone(theirs)
        stopped = replace(theirs, running=False)
        assert found.learned(theirs.id, stopped, restarts=True) == {("char", "/dev/ttyUSB1")}
        assert (len(list(found.now(NIC))), len(list(found.now(CABLE)))) == (1, 0)
        assert found.learned(theirs.id, stopped) == {("nic", "enp1s0")}
        assert (len(list(found.now(NIC))), len(list(found.later(NIC)))) == (0, 1)
        assert not found.has_alone(theirs)

    def test_a_node_is_nothing_that_one_alone_has_but_a_gpu_of_a_machine_is(self) -> None:
        theirs = other(NODE)
        assert not owners(theirs).has_alone(theirs)
        for kind in ("container", "virtual-machine"):
            theirs = other({"type": "gpu"}, kind)
            assert owners(theirs).has_alone(theirs) is (kind == "virtual-machine")

    def test_an_entry_that_is_called_otherwise_is_news(self) -> None:
        found, theirs = Owners(), other(NODE)
        found.learned(theirs.id, theirs)
        renamed = replace(theirs, entries={"new": Entry("new", NODE)})
        assert found.learned(theirs.id, renamed)
        assert [each.entry for each in found.now(CABLE)] == ["new"]

    def test_one_of_two_holders_is_enough(self) -> None:
        one, two = other(NODE), other(NODE, name="third")
        found = owners(one, two)
        found.learned(one.id, None)
        assert [each.instance for each in found.now(CABLE)] == [two.id]

    def test_many_who_take_the_same_go_one_by_one(self) -> None:
        everybody = [other({"type": "usb"}, name=f"c{number}") for number in range(10_000)]
        found = owners(*everybody)
        assert len(list(found.now(PHONE))) == len(everybody)
        for each in reversed(everybody):
            assert found.learned(each.id, None)
        assert list(found.now(PHONE)) == []
