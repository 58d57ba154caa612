"""Which devices are phones in emergency download mode, and which phone one is."""

from __future__ import annotations

from dataclasses import replace

from hotplugd.model.lease import Lease
from hotplugd.model.values import Device, InstanceName
from hotplugd.pools.allocate import Asking, allocate
from hotplugd.pools.away_leases import Away, AwayLeases, Moment
from hotplugd.pools.claims import claims_of
from hotplugd.pools.devices import PoolDevice, PoolDevices
from hotplugd.pools.edl import MODES, mode, why_not_given
from hotplugd.rules.keys import KEYS
from hotplugd.rules.pattern import Pattern
from hotplugd.rules.pools import Pool
from tests.unit.devices import tty, usb

LEASE = Lease(InstanceName("default", "job-1"), "phone")


def edl(port: str = "1", **attrs: str) -> Device:
    made = usb(f"1-{port}", "05c6", "9008", "", attrs=attrs)
    return replace(made, properties={**made.properties, "ID_PATH": f"pci-0000:00:14.0-usb-0:{port}"})


def away(device: Device, key: str = "serial:R5C001", pool: str = "android") -> Away:
    return Away.of(key, LEASE, PoolDevice(key, pool, device), Moment())


def fast(port: str, peer: str = "") -> Device:
    """A phone on the controller's bus for USB 3, which numbers its ports by itself."""
    root = replace(usb("usb2", "1d6b", "0003", ""), attrs={"idProduct": "0003"})
    made = usb(f"2-{port}", "18d1", "4ee7", "R5C001", attrs={"peer": peer} if peer else {})
    properties = {**made.properties, "ID_PATH": f"pci-0000:00:14.0-usb-0:{port}"}
    return replace(made, properties=properties, parent=replace(root, properties={}, parent=None))


def of(*absent: Away) -> AwayLeases:
    found = AwayLeases()
    for each in absent:
        found.restore(each)
    return found


def test_they_are_known_by_their_numbers() -> None:
    assert mode(edl()) == MODES["05c6:9008"]
    assert all(mode(usb("1-1", number[:4], number[5:], "")) for number in MODES)
    assert mode(usb("1-1", "18d1", "4ee7", "")) == ""
    # What hangs from one is a device like others.
    assert mode(tty(edl())) == ""


def test_it_is_given_to_nobody() -> None:
    assert why_not_given(edl(), known=True) == "it is in Qualcomm's emergency download mode (EDL)"
    assert "nobody knows which phone it is" in why_not_given(edl(), known=False)
    assert why_not_given(usb(), known=False) == ""


def test_it_is_the_leased_phone_that_was_the_last_one_in_its_socket() -> None:
    was = usb("1-1", "18d1", "4ee7", "R5C001", properties={"ID_PATH": "pci-0000:00:14.0-usb-0:1"})
    known = of(away(was))
    assert known.phone_at(edl("1"), "android", (), {}, {}) == "serial:R5C001"
    assert known.phone_at(edl("2"), "android", (), {}, {}) == ""
    assert known.phone_at(edl("1"), "another", (), {}, {}) == ""
    # Two were the last ones there: one was pulled, the other one as well.
    assert of(away(was), away(was, "serial:R5C002")).phone_at(edl("1"), "android", (), {}, {}) == ""
    # One that went a moment ago, and one of before a restart.
    assert of().phone_at(edl("1"), "android", (away(was),), {}, {}) == "serial:R5C001"
    went = {"serial:R5C001": PoolDevice("serial:R5C001", "android", was)}
    assert of().phone_at(edl("1"), "android", (), went, {"serial:R5C001": LEASE}) == "serial:R5C001"
    assert of().phone_at(edl("1"), "android", (), went, {}) == ""


def test_a_phone_of_usb_3_was_in_the_socket_that_its_port_names_as_its_peer() -> None:
    """EDL is USB 2 alone. Both buses count their ports from 1, and udev's paths do not tell them apart."""
    assert of(away(fast("1"))).phone_at(edl("1"), "android", (), {}, {}) == ""
    assert of(away(fast("5", "1-1"))).phone_at(edl("1"), "android", (), {}, {}) == "serial:R5C001"
    assert of(away(fast("5", "1-1"))).phone_at(edl("5"), "android", (), {}, {}) == ""


def test_a_device_of_which_nobody_knows_where_it_was_is_none() -> None:
    nowhere = Away.of("serial:R5C001", LEASE, None, Moment())
    assert of(nowhere).phone_at(edl(), "android", (), {}, {}) == ""
    without_path = replace(edl(), properties={"ID_VENDOR_ID": "05c6", "ID_MODEL_ID": "9008"})
    was = usb("1-1", "18d1", "4ee7", "R5C001", properties={"ID_PATH": "pci-0000:00:14.0-usb-0:1"})
    assert of(away(was)).phone_at(without_path, "android", (), {}, {}) == ""


def test_a_claim_by_serial_number_keeps_its_phone_in_that_mode_and_no_other_gets_it() -> None:
    pools = {name: Pool(name, (Pattern.of("job-*"),)) for name in ("android", "b")}

    def asking(text: str, name: str = "job-1") -> Asking:
        instance = InstanceName("default", name)
        (claim,), _ = claims_of(instance, {"phone": text}, pools, KEYS)
        return Asking(instance, claim)

    devices = PoolDevices()
    devices.put(PoolDevice("serial:R5C001", "android", edl(), edl="it is in EDL"))
    leases = {"serial:R5C001": LEASE}
    assert allocate(devices, [asking("android serial=R5C001")], leases).leases == leases
    for none in ("b", "none"):
        assert allocate(devices, [asking(none)] if none == "b" else [], leases).leases == {}
    assert allocate(devices, [asking("android", "job-2")], {}).leases == {}
    # It comes back as what it was: whoever may have it then waits for it.
    for text, state in (
        ("android", "waiting"),
        ("android serial=R5*", "waiting"),
        ("android serial=R6*", "unsatisfiable"),
        ("android count=2", "unsatisfiable"),
    ):
        for given in (leases, {}):
            made = allocate(devices, [asking(text, "job-2")], given)
            assert [each.state for each in made.claims] == [state], text
    # Of one that nobody had nobody knows that, and one that is cordoned is given to nobody then.
    for other in (
        PoolDevice("path:pci-0000:00:14.0-usb-0:1", "android", edl(), edl="it is in EDL"),
        PoolDevice("serial:R5C001", "android", edl(), not_given="it is cordoned", edl="it is in EDL"),
    ):
        devices = PoolDevices()
        devices.put(other)
        (claim,) = allocate(devices, [asking("android", "job-2")], {}).claims
        assert claim.state == "unsatisfiable"
