"""Where devices are, and where they should be and are not."""

from __future__ import annotations

from hotplugd.app.device_status import device_statuses
from tests.support.devices import phone, rule, ruleset

RULES = ruleset(
    rule("{serial: R5C001}", "{to: [a, b], share: true}", "both"),
    rule("{serial: R5C002}", None, "none"),
)


def test_each_device_has_its_rule_and_the_instances_that_have_it_and_that_should() -> None:
    ones = [phone(1), phone(2), phone(3)]
    found = device_statuses(RULES, ones, {phone(1).node: ["a"], phone(3).node: ["c"]})
    assert [(each.device, each.rule_name, each.instances, each.missing) for each in found] == [
        (ones[0], "both", ("a",), ("b",)),
        (ones[1], "none", (), ()),
        (ones[2], None, ("c",), ()),
    ]
