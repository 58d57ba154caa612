"""Which instance has a device that left the host, where a look inside was sooner than the kernel's event."""

from __future__ import annotations

from hotplugd.model.values import InstanceName
from hotplugd.reconcile.moved_devices import MovedDevices
from tests.support.devices import BOX, interface
from tests.support.virtual import in_virtual_time

NIC = interface()
OTHER = InstanceName("default", "other")
ENTRY = "hp-0123456789abcdef"


@in_virtual_time
async def test_what_was_seen_inside_before_the_event_is_that_instances() -> None:
    moved = MovedDevices(lambda _: None)
    moved.expect(NIC.slot, BOX, ENTRY)
    moved.leave(NIC)
    assert (moved.holder(NIC.slot), moved.of(BOX), moved.unheld()) == (BOX, {NIC.slot: ENTRY}, [])


@in_virtual_time
async def test_what_a_later_look_does_not_show_is_not_that_instances() -> None:
    moved = MovedDevices(lambda _: None)
    moved.expect(NIC.slot, BOX, ENTRY)
    moved.expect_nothing(BOX)
    away = moved.leave(NIC)
    assert (moved.holder(NIC.slot), dict(moved.of(BOX)), moved.unheld()) == (None, {}, [away])


@in_virtual_time
async def test_a_look_into_another_instance_says_nothing_of_it() -> None:
    moved = MovedDevices(lambda _: None)
    moved.expect(NIC.slot, BOX, ENTRY)
    moved.expect_nothing(OTHER)
    moved.leave(NIC)
    assert moved.holder(NIC.slot) == BOX


@in_virtual_time
async def test_one_that_came_back_or_went_before_the_event_is_nobodys() -> None:
    for end in (MovedDevices.back, lambda moved, device: moved.end(device.slot)):
        moved = MovedDevices(lambda _: None)
        moved.expect(NIC.slot, BOX, ENTRY)
        end(moved, NIC)
        moved.leave(NIC)
        assert moved.holder(NIC.slot) is None
