"""A rule that is switched off is checked and shown, and takes nothing."""

from __future__ import annotations

from hotplugd.app.udev_ignore import ignore_rules
from hotplugd.rulefile.load import Loaded, parse
from tests.unit.devices import CABLE, CONSOLE


def load(*rules: str) -> Loaded:
    return parse("rules:\n" + "".join(f"  - {{{each}}}\n" for each in rules), "f")


OFF = "name: off, description: For the lab., enabled: false, match: {vendor_id: 0403}, attach: {to: a}"
ON = "name: on, match: {vendor_id: 0403, serial: A50285BI}, attach: {to: b}"


def test_it_takes_no_device_and_the_next_one_does() -> None:
    taken = load(OFF, ON).rules.decide(CABLE)
    assert taken is not None
    assert taken.rule.name == "on"
    assert load(OFF).rules.decide(CABLE) is None
    assert load(OFF.replace("false", "true")).rules.decide(CABLE) is not None


def test_it_takes_nothing_along() -> None:
    with_tty = OFF.replace("{to: a}", "{to: a, with: tty}")
    assert load(with_tty).rules.decide(CONSOLE) is None
    assert load(with_tty.replace("false", "true")).rules.decide(CONSOLE) is not None


def test_it_is_explained_and_the_next_ones_too() -> None:
    verdicts = load(OFF, ON).rules.explain(CABLE)
    assert [(each.rule.name, each.rule.enabled, each.failed) for each in verdicts] == [
        ("off", False, None),
        ("on", True, None),
    ]
    assert verdicts[0].rule.description == "For the lab."


def test_it_hides_no_rule_and_is_not_hidden() -> None:
    assert load(OFF, ON).diagnostics == ()
    assert load(ON.replace(", serial: A50285BI", ""), OFF).diagnostics == ()
    assert [each.message for each in load(OFF.replace("false", "true"), ON).diagnostics] == [
        "rule 'on' can never be reached: rule 'off' takes all its devices"
    ]


def test_its_mistakes_are_told_all_the_same() -> None:
    assert load(OFF.replace("0403", "x")).errors


def test_the_hosts_software_is_not_told_to_leave_its_devices() -> None:
    assert "0403" not in ignore_rules(load(OFF).rules, usb=True)
    assert "0403" in ignore_rules(load(OFF.replace("false", "true")).rules, usb=True)
