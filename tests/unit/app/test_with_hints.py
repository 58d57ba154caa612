"""`with` that takes nothing along is told: what does not hang from the device is another."""

from __future__ import annotations

from hotplugd.app.with_hints import goes_in_whole, takes_nothing
from hotplugd.plan.desired import wants
from tests.support.devices import console, gpu, phone, rule, ruleset

CABLE = console(1)
PHONE = phone(1)


def told(attach: str | None, match: str = "{vendor_id: 18d1}") -> list[str]:
    (found,) = ruleset(rule(match, attach)).rules
    return takes_nothing(found, PHONE, [PHONE, CABLE])


def test_a_cable_beside_a_phone_does_not_go_along() -> None:
    (why,) = told("{to: box, with: [{match: {subsystem: tty, id: '0403:6001'}}]}")
    assert why.startswith(
        "nothing below /dev/bus/usb/001/001 meets `with: {subsystem: 'tty', id: '0403:6001'}` of rule 'r': "
    )


def test_each_item_that_takes_nothing_is_told() -> None:
    assert len(told("{to: box, with: [tty, sound]}")) == 2


def test_what_hangs_from_the_device_goes_along() -> None:
    (found,) = ruleset(rule("{vendor_id: 0403}", "{to: box, with: [tty, sound]}")).rules
    usb = CABLE.usb
    assert usb is not None
    (why,) = takes_nothing(found, usb, [PHONE, CABLE, usb])
    assert "subsystem: 'sound'" in why


def test_rules_without_it_or_for_others_say_nothing() -> None:
    assert told("{to: box}") == told(None) == told("{to: box, with: tty}", match="{serial: X}") == []


def test_a_node_of_a_gpu_that_goes_in_as_a_whole_goes_with_it() -> None:
    card, render = gpu()
    rules = ruleset(rule("{subsystem: drm, kernel: 'renderD*'}", "{to: box, as: gpu}"))
    others = [wants(rules, each) for each in (card, render)]
    assert goes_in_whole(card, others) == [
        "it goes into box all the same, with /dev/dri/renderD128: rule 'r' puts the whole GPU in (`as: gpu`)"
    ]
    assert goes_in_whole(gpu(2)[0], others) == []
    parted = ruleset(rule("{subsystem: drm, kernel: 'renderD*'}", "{to: box}"))
    assert goes_in_whole(card, [wants(parted, each) for each in (card, render)]) == []
