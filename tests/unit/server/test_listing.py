"""A listing is the same in whichever pieces it comes, and what is too large of it is left out."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hotplugd.model.claim_texts import CLAIM, LEASES
from hotplugd.server import listing
from hotplugd.server.listing import NoListing, elements

_TEXT = st.text('a"\\\n{}[],:é\U0001f4f1', max_size=8)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | _TEXT,
    lambda each: st.lists(each, max_size=3) | st.dictionaries(_TEXT, each, max_size=3),
    max_leaves=5,
)
_CONFIG = st.dictionaries(st.sampled_from(("user.a", "user.b", "volatile.last_state.power")), _VALUES)
_ITEM = st.fixed_dictionaries({"name": _TEXT, "devices": _VALUES, "config": _CONFIG, "x": _VALUES})
_ITEMS = st.lists(st.dictionaries(_TEXT, _VALUES, max_size=3) | _ITEM, max_size=4)


def body(metadata: object, *, ascii_only: bool = True) -> bytes:
    found = {"type": "sync", "status": '"Suc\\cess', "status_code": 200, "error": "", "metadata": metadata}
    return json.dumps(found, ensure_ascii=ascii_only).encode()


def pieces(raw: bytes, size: int) -> Iterator[bytes]:
    return (raw[at : at + size] for at in range(0, len(raw), size))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(items=_ITEMS, size=st.integers(1, 50), ascii_only=st.booleans(), least=st.integers(1, 50))
def test_it_is_what_json_makes_of_it(
    monkeypatch: pytest.MonkeyPatch, items: list[dict[str, Any]], size: int, ascii_only: bool, least: int
) -> None:
    monkeypatch.setattr(listing, "_LEAST", least)
    assert list(elements(pieces(body(items, ascii_only=ascii_only), size))) == items


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    items=st.lists(_ITEM, max_size=3),
    size=st.integers(1, 50),
    least=st.integers(1, 50),
    large=st.integers(0, 50),
)
def test_of_what_is_large_it_is_what_is_needed(
    monkeypatch: pytest.MonkeyPatch, items: list[dict[str, Any]], size: int, least: int, large: int
) -> None:
    monkeypatch.setattr(listing, "_LEAST", least)
    monkeypatch.setattr(listing, "_LARGE", large)
    found = list(elements(pieces(body(items), size)))
    for each, item in zip(found, items, strict=True):
        assert each["config"].keys() == item["config"].keys()
        if each != item:
            assert each == {
                "config": dict.fromkeys(item["config"], ""),
                "name": item["name"],
                "devices": item["devices"],
            }


@pytest.mark.parametrize("size", [7, 997, 65_536])
def test_of_a_large_instance_there_is_what_is_needed(size: int) -> None:
    config = {"user.x": 'é\\"\n' * 90_000, "volatile.last_state.power": "RUNNING"}
    devices = {'a\\"': {"type": "none", "user.x": "}]\\"}, "b": {}}
    large = {
        "config": config, "devices": devices, "ephemeral": False, "profiles": ["default"],
        "expanded_config": config, "expanded_devices": devices, "name": "large", "status": "Running",
        "type": "container", "nested": [[{}], 1.5],
    }  # fmt: skip
    raw = body([{"name": "a"}, large, {"name": "z"}], ascii_only=False)
    found = [dict(each) for each in elements(pieces(raw, size))]
    assert [each["name"] for each in found] == ["a", "large", "z"]
    assert found[1].pop("config").keys() == config.keys()
    assert found[1] == {key: large[key] for key in found[1]}
    assert found[1].keys() == {"devices", "expanded_devices", "name", "status", "type"}


@pytest.mark.parametrize(
    "devices",
    [{"a": {"user.x": "x" * 5000}}, {"a": [[]] * 200}, {f"e{n}": {"type": "none"} for n in range(70)}],
    ids=["long", "many parts", "many entries"],
)
def test_what_is_too_large_of_it_is_left_out(monkeypatch: pytest.MonkeyPatch, devices: object) -> None:
    monkeypatch.setattr(listing, "_LARGE", 1)
    monkeypatch.setattr(listing, "_MOST_PARTS", 300)
    monkeypatch.setattr(listing, "_LONGEST", {"devices": 4096, "name": 10})
    monkeypatch.setattr(listing, "_LEAST", 1)
    (found,) = elements(pieces(body([{"devices": devices, "name": "c1"}]), 100))
    assert found == {"name": "c1", "config": {}}


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"[]", b"{}", b"<html>", b'{"type": "sync"}', b'{"metadata": {}}', b'{"metadata": null}',
        b'{"metadata": [[]]}', b'{"metadata": [7]}', b'{"metadata": [{"a": 1}', b'{"metadata": [{"a": "',
        b'{"metadata": [{"a" 1}]}', b'{"metadata": [{"a": "\xff"}]}', b" " * 200_000,
        b'{"metadata": ["' + b"x" * 1_000_000, b'{"x": "' + b"x" * 200_000,
        b'{"metadata": [' + b"[" * 500_000, b'{"metadata": [' + b'{"a":' * 500_000,
    ],
)  # fmt: skip
def test_anything_else_is_none(raw: bytes) -> None:
    with pytest.raises((ValueError, RecursionError)):
        list(elements(pieces(raw, 65_536)))


def test_the_rest_is_read_so_that_the_connection_can_be_used_again() -> None:
    rest = iter((body([{"name": "a"}]), b" ", b" "))
    assert list(elements(rest)) == [{"name": "a"}]
    assert list(rest) == []


def test_small_pieces_cost_no_more_than_large_ones() -> None:
    raw = body([{"name": "c1", "config": {"user.x": "x" * 600_000}}])
    start = time.process_time()
    assert list(elements(pieces(raw, 1))) == [{"name": "c1", "config": {"user.x": ""}}]
    assert time.process_time() - start < 3


def test_what_breaks_off_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "_LARGE", 10)
    with pytest.raises(NoListing, match="breaks off"):
        list(elements(iter((b'{"metadata": [{"name": "a", "config": {"x": "' + b"y" * 100,))))


@pytest.mark.parametrize("size", [7, 997, 65_536])
def test_of_a_large_instance_the_claims_are_read(size: int) -> None:
    config = {"user.x": 'é"' * 90_000, f"{CLAIM}a": 'andr"oid', f"{CLAIM}long": "x" * 100_000, "user.y": "z"}
    large = {"name": "large", "config": {}, "expanded_config": config}
    ((found),) = elements(pieces(body([large], ascii_only=False), size))
    # One that is too long is no claim in either way.
    assert found["expanded_config"] == {f"{CLAIM}a": 'andr"oid', f"{CLAIM}long": ""}


@pytest.mark.parametrize("size", [1, 65_536])
def test_of_a_large_instance_is_read_what_it_says_of_leases(size: int) -> None:
    config = {"user.blob": "x" * 900_000, LEASES: '[{"a": 1}]', "user.z": "1"}
    ((found),) = elements(pieces(body([{"name": "large", "config": config}], ascii_only=False), size))
    assert found["config"] == {"user.blob": "", LEASES: '[{"a": 1}]', "user.z": ""}


def test_of_a_large_instance_so_many_claims_are_read() -> None:
    config = {f"{CLAIM}{number:06}": "android" for number in range(50_000)}
    ((found),) = elements(pieces(body([{"name": "large", "expanded_config": config}]), 65_536))
    assert len(found["expanded_config"]) == 1000
