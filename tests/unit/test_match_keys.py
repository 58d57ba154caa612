"""A match key is one row: whatever depends on keys has one that is made up here, and only here."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from hotplugd.app.device_documents import ValuesJson, device_json, explain_json
from hotplugd.app.snapshot import Fate
from hotplugd.app.udev_ignore import ignore_rules
from hotplugd.cli.devices import columns
from hotplugd.cli.explain import show
from hotplugd.model.values import Device
from hotplugd.plan.desired import wants
from hotplugd.rulefile.grammar import Grammar
from hotplugd.rulefile.json_schema import schema
from hotplugd.rulefile.load import Loaded, parse
from hotplugd.rulefile.reference import reference
from hotplugd.rules.keys import GROUPS, KEYS, Form, MatchKey
from tests.support.devices import plugged
from tests.unit.devices import PHONE

SLOT = MatchKey(
    "rack_slot",
    lambda device: (slot,) if (slot := device.properties.get("RACK_SLOT", "")) else (),
    "The slot of the rack that the device is in.",
    Form.NUMBER,
    udev="ENV{RACK_SLOT}",
    rank=0,
    column=True,
    place=True,
    aliases=("shelf",),
)
REGISTRY = (*KEYS, SLOT)
GRAMMAR = Grammar.of(REGISTRY)
RACKED = replace(PHONE, properties={**PHONE.properties, "RACK_SLOT": "00a7"})


def load(match: str, to: str = "box") -> Loaded:
    return parse(f"rules: [{{name: x, match: {match}, attach: {{to: '{to}'}}}}]", "x", grammar=GRAMMAR)


def complaint(match: str, to: str = "box") -> tuple[str, str]:
    (error,) = load(match, to).errors
    return error.message, error.hint


def test_rules_match_by_the_new_key() -> None:
    loaded = load("{rack_slot: 00A7}")
    assert loaded.diagnostics == ()
    assert loaded.rules.decide(RACKED) is not None
    assert loaded.rules.decide(PHONE) is None
    (verdict,) = loaded.rules.explain(PHONE)
    assert str(verdict.failed) == "rack_slot: wants '00a7', has none"


def test_the_index_files_rules_under_the_new_key() -> None:
    rules = load("{rack_slot: 00a7}").rules
    assert list(rules.index.candidates(RACKED)) == [0]
    assert list(rules.index.candidates(PHONE)) == []


def test_the_new_key_is_a_place() -> None:
    assert [rule.names_serial() for rule in load("{serial: A}").rules.rules] == [True]
    assert [rule.names_serial() for rule in load("{serial: A, rack_slot: 00a7}").rules.rules] == [False]
    assert [rule.names_serial() for rule in load("{serial: A}", "c-{rack_slot}").rules.rules] == [False]


def test_a_wrong_value_of_the_new_key_is_an_error() -> None:
    assert complaint("{rack_slot: a7}") == ("'a7' is not four hex digits", "did you mean '00a7'?")


@pytest.mark.parametrize("name", ["rack_slto", "Rack-Slot", "shelf"])
def test_another_spelling_of_the_new_key_has_a_hint(name: str) -> None:
    assert complaint(f"{{{name}: 00a7}}") == (f"unknown key '{name}'", "did you mean 'rack_slot'?")


def test_the_new_key_in_another_mapping_has_a_hint() -> None:
    (error,) = parse(
        "rules: [{name: x, match: {serial: A}, attach: {to: b, rack_slot: 00a7}}]", "x", grammar=GRAMMAR
    ).errors
    assert error.hint == "`rack_slot` goes under `match`"


def test_templates_take_the_new_key() -> None:
    loaded = load("{vendor_id: 18d1}", "slot-{rack_slot}")
    assert loaded.diagnostics == ()
    wanted = wants(loaded.rules, plugged(RACKED, 189, 1))
    assert [want.instance.name for want in wanted.wants] == ["slot-00a7"]
    assert complaint("{vendor_id: 18d1}", "c-{rack_slt}")[1] == "did you mean '{rack_slot}'?"
    colons = Grammar.of((replace(SLOT, form=Form.MAC),))
    (error,) = parse(
        "rules: [{name: x, match: {rack_slot: '*'}, attach: {to: 'c-{rack_slot}'}}]", "x", grammar=colons
    ).errors
    assert error.message == "'{rack_slot}' has colons, which no instance's name can have"


def test_contradictions_of_the_new_key_are_warned_of() -> None:
    loaded = load("{rack_slot: 00a7, any: [{rack_slot: 00a8}]}")
    assert [one.severity for one in loaded.diagnostics] == ["warning"]


def test_the_json_schema_has_the_new_key() -> None:
    definitions = json.loads(json.dumps(schema(GRAMMAR)))["definitions"]
    own = definitions["match"]["properties"]["rack_slot"]
    assert own["description"] == SLOT.about
    assert own["anyOf"][0]["pattern"] == "^([0-9A-Fa-f]{4}|.*[*?\\[|].*)$"


def test_devices_shows_the_new_key() -> None:
    head, row = columns([(RACKED, None)], REGISTRY)
    assert dict(zip(head, row, strict=True))["rack_slot"] == "00a7"
    found = {**device_json(RACKED, None, REGISTRY)}
    assert found["rack_slot"] == "00a7"
    assert "rack_slot" not in device_json(PHONE, None, REGISTRY)


def test_explain_shows_the_new_key(capsys: pytest.CaptureFixture[str]) -> None:
    rules = load("{rack_slot: 00a7}").rules
    fate = Fate(wants(rules, RACKED), (), (), ())
    document = explain_json(RACKED, rules.explain(RACKED), fate, [], {}, REGISTRY)
    show(document, REGISTRY)
    shown = capsys.readouterr().out
    assert "  rack_slot: 00a7\n" in shown
    assert "rule x (x:1): matches" in shown


def test_udev_rules_have_the_new_key() -> None:
    text = ignore_rules(load("{rack_slot: 00a7}").rules, usb=True)
    assert 'ENV{RACK_SLOT}=="00a7|0x00a7"' in text


def test_the_reference_page_has_the_new_key() -> None:
    (line,) = [line for line in reference(GRAMMAR).splitlines() if line.startswith("| `rack_slot` ")]
    assert line.split(" | ")[1:] == [SLOT.about, "four hex digits", "`ENV{RACK_SLOT}`", "yes", "yes", "no |"]


@pytest.mark.parametrize("form", Form)
def test_a_key_of_any_form_works_everywhere(form: Form) -> None:
    """Also without a name of udev's, an index and a column."""
    bare = MatchKey("bare", lambda device: (device.kernel,), "About it.", form)
    grammar = Grammar.of((*KEYS, bare))
    loaded = parse("rules: [{name: x, match: {bare: '*'}, attach: {to: b}}]", "x", grammar=grammar)
    assert loaded.diagnostics == ()
    assert loaded.rules.decide(RACKED) is not None
    assert "bare" not in ignore_rules(loaded.rules, usb=True)
    assert "bare" in reference(grammar)
    assert "bare" in json.dumps(schema(grammar))


def test_names_of_keys_are_unique() -> None:
    names = [key.name for key in (*KEYS, *GROUPS)]
    aliases = [alias for key in (*KEYS, *GROUPS) for alias in key.aliases]
    assert len({*names, *aliases}) == len(names) + len(aliases)
    ranks = [key.rank for key in KEYS if key.rank is not None]
    assert len(set(ranks)) == len(ranks)


def test_the_type_of_json_names_every_key() -> None:
    types = ValuesJson.__annotations__
    assert set(types) == {key.name for key in (*KEYS, *GROUPS)}
    listed = {name for name, kind in types.items() if "list" in str(kind)}
    assert listed == {key.name for key in KEYS if key.listed}


def test_every_key_reads_a_device_that_says_nothing() -> None:
    for key in KEYS:
        assert key.values(Device("/sys/x", "", "")) == ()
