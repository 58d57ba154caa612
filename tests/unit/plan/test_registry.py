"""A kind of device is one file and its place in the registry: a made-up one is seen everywhere."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest

from hotplugd.model.values import Device, Entry, Instance
from hotplugd.plan.desired import wants
from hotplugd.plan.kinds import registry
from hotplugd.plan.kinds.kind import CONTAINERS, EntrySelector, Facts, Kind, Reading, Want
from hotplugd.plan.ownership import Owners, withheld
from hotplugd.plan.planner import plan_instance
from hotplugd.rulefile.load import parse
from hotplugd.rules.ruleset import Attach
from tests.support.devices import BOX, box, console, rule, ruleset


def _selectors(config: Mapping[str, str]) -> Iterator[EntrySelector]:
    yield ("spoon", config["handle"])


def _facts(device: Device) -> Facts:
    return ((device.kernel,),) if device.subsystem == "cutlery" else None


class Spoon(Kind):
    """What nobody has."""

    name = "spoon"
    doc = "a spoon"
    subsystems = frozenset({"cutlery"})
    single = True
    readings = MappingProxyType({"spoon": Reading(CONTAINERS, _selectors)})
    facts = MappingProxyType({"spoon": _facts})

    def fault(self, device: Device) -> str:
        return "" if device.subsystem == "cutlery" else "`as: spoon` is for cutlery"

    def target(self, device: Device, attach: Attach, path: str) -> str:
        return f"drawer/{device.kernel}"

    def barred(self, want: Want, instance: Instance, actual: Entry | None) -> str:
        return "" if instance.kind == "container" else f"{instance.id} does not eat"

    def body(self, want: Want, instance: Instance, actual: Entry | None) -> dict[str, str]:
        return {"type": "spoon", "handle": want.device.kernel}


SPOON = Device("/sys/devices/drawer/spoon0", "cutlery", "spoon0", slot="s-1")
TO_BOX = rule("{subsystem: cutlery}", "{to: box}")


@pytest.fixture(autouse=True)
def made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "KINDS", (Spoon(), *registry.KINDS))


def test_a_device_goes_in_as_the_made_up_kind() -> None:
    (want,) = wants(ruleset(TO_BOX), SPOON).wants
    assert (want.kind.name, want.target) == ("spoon", "drawer/spoon0")
    (change,) = plan_instance(BOX, box(), [want], None).changes
    assert change.entry.config["type"] == "spoon"
    assert change.entry.config["handle"] == "spoon0"
    machine = replace(box(), kind="virtual-machine")
    assert [each.message for each in plan_instance(BOX, machine, [want], None).problems] == [
        f"{BOX} does not eat"
    ]


def test_rules_can_name_the_made_up_kind() -> None:
    (found,) = ruleset(rule("{subsystem: tty}", "{to: box, as: spoon}")).rules
    assert found.attach is not None
    assert [
        each.message
        for each in wants(ruleset(rule("{subsystem: tty}", "{to: box, as: spoon}")), console()).problems
    ] == ["`as: spoon` is for cutlery"]
    bad = parse("rules:\n" + rule("{subsystem: tty}", "{to: box, as: fork}"), "test.yaml")
    assert "spoon" in bad.errors[0].render()


def test_rules_cannot_share_what_is_single() -> None:
    bad = parse("rules:\n" + rule("{subsystem: cutlery}", "{to: [a, b]}"), "test.yaml")
    assert "such a device can be in one at a time" in bad.errors[0].render()


def test_entries_of_others_keep_the_made_up_kind() -> None:
    owners = Owners()
    theirs = box([Entry("theirs", {"type": "spoon", "handle": "spoon0"})], name="other")
    owners.learned(theirs.id, theirs)
    found = withheld(wants(ruleset(TO_BOX), SPOON), owners)
    assert found.wants == ()
    assert "which is not ours" in found.problems[0].message


def test_the_schema_names_the_made_up_kind() -> None:
    # Made when the module is imported, as in a program with one kind more.
    program = (
        "from hotplugd.plan.kinds import registry\n"
        "from tests.unit.plan.test_registry import Spoon\n"
        "registry.KINDS = (Spoon(), *registry.KINDS)\n"
        "import sys\n"
        "made = [name for name in sys.modules if name.startswith('hotplugd.rulefile')]\n"
        "for name in made: del sys.modules[name]\n"
        "from hotplugd.rulefile.json_schema import as_text\n"
        "print(as_text())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        check=True,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert "spoon" in json.dumps(json.loads(done.stdout))
