"""Pools with fewer devices than they should have."""

from __future__ import annotations

from hotplugd.pools.devices import PoolDevice, PoolDevices
from hotplugd.pools.expected import empty_places, too_few
from hotplugd.rulefile.load import parse
from hotplugd.rules.ruleset import RuleSet
from tests.unit.devices import usb


def rules(expect: int, match: str) -> RuleSet:
    loaded = parse(
        f"pools: {{android: {{instances: 'job-*', expect: {expect}}}}}\n"
        "hubs: {shelf: {path: 'pci-0000:00:14.0-usb-0:1', ports: {1: '1', 2: '2', 3: '3'}}}\n"
        f"rules: [{{name: phones, match: {match}, attach: {{pool: android}}}}]",
        "x",
    )
    assert not loaded.errors, loaded.errors[0].render()
    return loaded.rules


def devices(*ports: str) -> PoolDevices:
    found = PoolDevices()
    for port in ports:
        found.put(PoolDevice(port, "android", usb(f"1-1.{port}", properties={"ID_PATH": _path(port)})))
    return found


def _path(port: str) -> str:
    return f"pci-0000:00:14.0-usb-0:1.{port}"


def test_fewer_than_expected_is_a_problem_that_names_the_empty_ports() -> None:
    shelf = rules(3, "{location: 'shelf/*'}")
    (problem,) = too_few(shelf, devices("2"))
    assert (
        problem.message
        == "pool 'android' has 1 device, and should have 3; nothing of it is in shelf/1, shelf/3"
    )
    assert [*too_few(shelf, devices("1", "2", "3"))] == []
    assert empty_places(shelf, "android", devices()) == ["shelf/1", "shelf/2", "shelf/3"]


def test_without_locations_there_are_no_places_to_name() -> None:
    (problem,) = too_few(rules(2, "{serial: '*'}"), devices("2"))
    assert problem.message == "pool 'android' has 1 device, and should have 2"


def test_a_pool_without_a_number_expects_nothing() -> None:
    loaded = parse("pools: {android: {instances: a}}", "x")
    assert [*too_few(loaded.rules, PoolDevices())] == []
