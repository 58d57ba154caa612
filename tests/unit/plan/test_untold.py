"""Others' entries by which any device of the host may be inside: they are told of."""

from __future__ import annotations

import pytest

from hotplugd.model.values import Entry, Instance
from hotplugd.plan.foreign_entries import untold
from hotplugd.plan.planner import plan_instance
from tests.support.devices import BOX, box

CHAR = "unix-char"
# Measured on LXD 5.0.2: each is /dev/x inside, as the host has it.
ANYWHERE = [
    "/dev/fd/../root/dev/x",
    "/dev/../proc/self/root/dev/x",
    "/dev/../tmp/../dev/x",
    "/dev/./fd/../root/dev/x",
    "//dev//fd/3",
    "/dev/fd/3",
    "/dev/shm/x",
    "/devx/../dev/x",
    "/devices/x",
]
SOMEWHERE = [
    "/dev/x", "dev/x", "/dev/./x", "/dev//x", "/dev/serial/by-id/x..y", "/dev/char/188:1",
    "/dev/hotplugd/x.r", "/dev/fdx", "/dev/shmx",
]  # fmt: skip


def entry(name: str = "theirs", **config: str) -> Entry:
    return Entry(name, config)


def told(instance: Instance) -> list[str]:
    return [each.message for each in plan_instance(BOX, instance, (), None).problems]


@pytest.mark.parametrize("source", ANYWHERE)
@pytest.mark.parametrize("key", ["source", "path"])
@pytest.mark.parametrize("kind", [CHAR, "unix-block"])
def test_a_source_that_leads_anywhere_is_told_of(kind: str, key: str, source: str) -> None:
    (message,) = told(box([entry(type=kind, **{key: source})]))
    assert message.startswith(f"box has an entry 'theirs' with the source '{source}', which may lead to")


@pytest.mark.parametrize("source", SOMEWHERE)
def test_one_that_names_a_node_is_not(source: str) -> None:
    assert told(box([entry(type=CHAR, source=source)])) == []


@pytest.mark.parametrize("source", ANYWHERE[:6])
def test_a_disk_may_lead_there_too(source: str) -> None:
    assert untold(entry(type="disk", source=source.replace("//dev", "/dev", 1)), "virtual-machine")


@pytest.mark.parametrize("source", ["/srv/../x", "/home/x", "x", "", "/dev/disk/by-id/x"])
def test_a_folder_is_no_device(source: str) -> None:
    assert not untold(entry(type="disk", source=source, path="/x"), "container")


def test_by_its_number_it_is_told() -> None:
    assert told(box([entry(type=CHAR, source=ANYWHERE[0], major="188", minor="1")])) == []


def test_who_does_not_run_has_nothing() -> None:
    assert told(box([entry(type=CHAR, source=ANYWHERE[0])], running=False)) == []


def test_a_thousand_are_told_of_together() -> None:
    many = [entry(f"theirs{number}", type=CHAR, source=ANYWHERE[0]) for number in range(1000)]
    found = told(box(many))
    assert len(found) == 11
    assert found[-1] == "box has 1000 entries of which nobody can tell what they take"
