"""Every target, with what it starts from and with bytes of Hypothesis's; and whether it finds anything."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hotplugd.app import event_buffer, event_stream, lease_orders, record, state_file
from hotplugd.container import inject_helper, root, uevent_message
from hotplugd.hooks import command_input
from hotplugd.host import device_reader, properties, sysfs
from hotplugd.model import entry, nic_snapshot
from hotplugd.model.values import Device
from hotplugd.plan import desired, foreign_entries
from hotplugd.plan.kinds.nic import Nic
from hotplugd.plan.kinds.node import NodeKind
from hotplugd.pools import claims as pool_claims
from hotplugd.pools import leasing
from hotplugd.pools.allocate import Allocation, allocate
from hotplugd.rulefile import cases, validate_hubs
from hotplugd.rules import hubs as rule_hubs
from hotplugd.rules import match, ruleset
from hotplugd.server import connection, update
from tests.fuzz.targets import TARGETS

_EXAMPLES = 150
_MOST = 4000
# How long one takes says nothing on a machine that others use too.
_SETTINGS = settings(
    max_examples=_EXAMPLES, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)


@pytest.mark.parametrize("name", TARGETS)
def test_what_must_hold_holds_for_what_it_starts_from(name: str) -> None:
    for seed in TARGETS[name].seeds:
        TARGETS[name].run(seed)


@pytest.mark.parametrize("name", TARGETS)
def test_what_must_hold_holds_for_any_bytes(name: str) -> None:
    @_SETTINGS
    @given(st.binary(max_size=500))
    def check(data: bytes) -> None:
        TARGETS[name].run(data)

    check()


def test_the_shares_are_percents_of_all() -> None:
    assert sum(each.share for each in TARGETS.values()) == 100


def _run_all(name: str, cases: Iterable[bytes]) -> None:
    for case in cases:
        TARGETS[name].run(case)


def _same(text: str) -> str:
    return text


def _always(*_: object) -> bool:
    return True


def _greedy(*asked: Any) -> Allocation:
    """An allocation in which whoever has the first device has all of them."""
    made = allocate(*asked)
    first = next(iter(made.leases.values()), None)
    every = {each.key: first for each in asked[0]} if first is not None else {}
    return replace(made, leases=every)


class _All:
    def __contains__(self, _: object) -> bool:
        return True


def _any_slot(device: Device, _: object, *, listing: bool) -> str:
    return device.properties.get("HOTPLUGD_SLOT", "")


_STRICT = {**vars(os), "fsdecode": bytes.decode}


def _attribute(syspath: str, name: str) -> str | None:
    path = Path(syspath, name)
    return path.read_text("utf-8").rstrip() if path.is_file() else None


# A defect, put in by hand, and who has to find it.
DEFECTS: dict[str, tuple[str, object, str, object]] = {
    "a pattern's text is shown as it is": ("rule-words", match, "printable", _same),
    "a device's text is shown as it is": ("devices", match, "printable", _same),
    "any name is an instance's": ("devices", desired, "is_instance_name", _always),
    "any path is a node's": ("devices", NodeKind, "target_fault", lambda *_: ""),
    "any path is a link's": ("devices", desired, "_bad_link", lambda *_: ""),
    "any name is an interface's": ("devices", Nic, "target_fault", lambda *_: ""),
    "the matcher and the explanation differ": ("rule-bytes", ruleset.RuleSet, "explain", lambda *_: ()),
    "any text is a slot": ("device-bytes", device_reader, "node_slot", _any_slot),
    "a property has to be UTF-8": ("device-bytes", properties, "os", SimpleNamespace(**_STRICT)),
    "what follows a device's name is the kernel's": ("device-bytes", properties, "_SURE", _All()),
    "an attribute has to be UTF-8": ("device-bytes", sysfs, "attribute", _attribute),
    "what cannot be read is empty": ("device-bytes", sysfs, "attribute", lambda *_: ""),
    "every entry is ours": ("plans", entry, "is_ours", _always),
    "every entry of the server's is ours": ("answers", update, "is_ours", _always),
    "an error's text is taken for one": ("answers", connection, "said_by", str),
    "any property is told": ("uevents", uevent_message, "is_fit", _always),
    "any path is remembered": ("plans", nic_snapshot, "_is_a_path", _always),
    "a log's fields are logged as they are": ("log", event_stream, "plain", _same),
    "the host's own namespace is spoken into": ("injections", inject_helper, "_inject", lambda *_: None),
    "any name is a claim's": ("claims", pool_claims, "_NAME", re.compile(".*", re.DOTALL)),
    "a claim asks for any number": ("claims", pool_claims, "_number", lambda *_: 1000),
    "a claim's text is shown as it is": ("claims", pool_claims, "quoted", _same),
    "one claim gets every device": ("leases", leasing, "allocate", _greedy),
    "an entry's source is shown as it is": ("selectors", foreign_entries, "quoted", _same),
    "any path is a port's": ("hubs", validate_hubs, "below", lambda _: None),
    "every device is in one port": (
        "hubs",
        rule_hubs,
        "sockets",
        lambda _: ("pci-0000:00:14.0-usb-0:1.4.2",),
    ),
    "any text is given to a command": ("hooks", command_input, "_text", str),
    "any word may become an option": ("hooks", command_input, "_END_OF_OPTIONS", "{serial}"),
    "a test's text is shown as it is": ("rule-tests", cases, "quoted", _same),
    "a record loses what udev says": ("records", record, "_texts", lambda _: {}),
    "a record loses the interfaces": ("records", record, "_descriptors", lambda _: None),
    "a broken state file ends the daemon": ("state-file", state_file, "Broken", ValueError),
    "any cursor is before all events": ("cursors", event_buffer.EventBuffer, "_number", lambda *_: -1),
    "a group may end any lease": ("orders", lease_orders, "see_granted", lambda *_: None),
    "any number is a user's": ("users", root, "_LARGEST_ID", 1 << 40),
}


@pytest.mark.parametrize(("name", "where", "what", "instead"), DEFECTS.values(), ids=DEFECTS)
def test_a_defect_is_found(
    name: str, where: object, what: str, instead: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(where, what, instead)
    random = Random(1)
    cases = (*TARGETS[name].seeds, *(random.randbytes(300) for _ in range(_MOST)))
    with pytest.raises((AssertionError, TypeError, ValueError, UnicodeError, RecursionError)):
        _run_all(name, cases)
