"""A device that is made up from values has these, as rules read them."""

from __future__ import annotations

import pytest

from hotplugd.plan.desired import wants
from hotplugd.rulefile.made_up import MadeUpError, made_up, values_of
from hotplugd.rules.hubs import Hub, Hubs
from hotplugd.rules.keys import GROUPS, KEYS, KeyGroup, MatchKey, keys_with
from tests.support.devices import rule, ruleset

PATH = "pci-0000:00:14.0-usb-0:3"
HUBS = Hubs(
    (
        Hub("shelf-1", (PATH,), "", {"4": "2", "front": "1.1"}),
        Hub("fast", ("pci-0000:00:15.0-usbv3-0:1",), "", {"1": "4"}),
        Hub("either", ("pci-0000:00:16.0-usb-0:3", "pci-0000:00:16.0-usbv3-0:7"), "", {"1": "2"}),
        Hub("moves", (), "H1", {"2": "4.2"}),
    )
)
# One for each key of the registry: a new one needs a row in `made_up`, and one here.
VALUES = {
    "subsystem": "subsystem=tty", "devtype": "subsystem=block devtype=disk", "kernel": "kernel=1-4",
    "driver": "driver=usb", "id": "id=18d1:4ee7", "vendor_id": "vendor_id=18d1",
    "product_id": "product_id=4ee7",
    "serial": "serial=X", "port": "port=1-4 port=2-1", "path": "path=pci-0000:00:14.0-usbv3-0:4",
    "location": "location=shelf-1/4", "interface": "interface=ff:42:01 interface=08:06:50",
    "mac": "subsystem=net mac=00:e0:4c:68:01:02",
}  # fmt: skip


@pytest.mark.parametrize("key", keys_with(HUBS), ids=lambda key: key.name)
def test_every_match_key_can_be_made_up(key: MatchKey) -> None:
    values = values_of(VALUES[key.name])
    assert set(values[key.name]) <= set(key.values(made_up(values, hubs=HUBS)))
    # Also of what hangs from a USB device, where that has one.
    if key.name not in ("subsystem", "devtype", "kernel", "mac"):
        below = made_up({**values, "subsystem": ("tty",)}, hubs=HUBS)
        assert set(values[key.name]) <= set(key.values(below))


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.name)
def test_every_group_can_be_made_up(group: KeyGroup) -> None:
    assert group.texts(made_up({f"{group.name}.some": ("text",)}))["some"] == "text"


@pytest.mark.parametrize("location", HUBS.locations)
@pytest.mark.parametrize("more", ["", " serial=X", " subsystem=tty kernel=ttyUSB0", " devtype=usb_interface"])
def test_a_device_may_be_in_any_port_with_a_name(location: str, more: str) -> None:
    assert HUBS.location(made_up(values_of(f"location={location}{more}"), hubs=HUBS)) == location


@pytest.mark.parametrize(
    ("location", "more"),
    [
        ("shelf-1/4", f"port=2-3.2 path={PATH}.2"),
        ("shelf-1/4", f"subsystem=tty path={PATH}.2:1.0"),
        ("either/1", "port=5-7.2"),
        ("either/1", "path=pci-0000:00:16.0-usbv3-0:7.2"),
        ("moves/2", "port=1-5.4.2"),
    ],
)
def test_port_and_path_may_be_given_too(location: str, more: str) -> None:
    values = values_of(f"location={location} {more}")
    device = made_up(values, hubs=HUBS)
    for key in keys_with(HUBS):
        assert set(values.get(key.name, ())) <= set(key.values(device))


def test_no_bus_is_made_up_for_a_location() -> None:
    rules = ruleset(rule("{port: '1-*'}", "{to: box}", "bus"), rule("{port: '*-3.2'}", "{to: box}", "port"))
    taken = wants(rules, made_up(values_of("location=shelf-1/4"), hubs=HUBS)).rule
    assert taken is not None
    assert taken.name == "port"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("location=shelf-1/5", "no port is called 'shelf-1/5'", "did you mean 'shelf-1/4'?"),
        ("location=zzz", "no port is called 'zzz'", "hubs with names: shelf-1, fast, either, moves"),
        (
            "location=shelf-1/4 port=1-9",
            "no device can have 'shelf-1/4' as its location",
            "its port ends in -3.2",
        ),
        (
            "location=moves/2 port=1-9",
            "no device can have 'moves/2' as its location",
            "its port ends in .4.2",
        ),
        ("location=shelf-1/4 location=fast/1", "several values of 'location'", ""),
        ("port=1-1 port=2-1 port=3-1", "several values of 'port'", ""),
    ],
)
def test_a_place_that_is_none_is_told(text: str, message: str, hint: str) -> None:
    with pytest.raises(MadeUpError) as told:
        made_up(values_of(text), hubs=HUBS)
    assert message in str(told.value)
    assert hint in told.value.hint


@pytest.mark.parametrize(
    "text",
    [
        "id=18d1:4ee7 serial=X port=1-4 path=pci-0000:00:14.0-usb-0:4",
        "vendor_id=18d1 product_id=4ee7 interface=ff:42:01 interface=08:06:50 driver=usb",
        "subsystem=tty kernel=ttyUSB0 id=0403:6001 serial=A5 port=1-4.2 path=pci-0:1.0 interface=ff:ff:ff",
        "subsystem=net kernel=eth0 mac=00:e0:4c:68:01:02 driver=r8152",
        "subsystem=block devtype=disk kernel=sdb serial=W1",
        "subsystem=pci kernel=0000:00:14.0",
        "devtype=usb_interface kernel=1-4:1.0 driver=ftdi_sio",
    ],
)
def test_it_has_the_values_that_it_was_made_of(text: str) -> None:
    values = values_of(text)
    device = made_up(values)
    for key in KEYS:
        assert set(values.get(key.name, ())) <= set(key.values(device))


def test_it_goes_where_a_real_one_would() -> None:
    rules = ruleset(
        rule("{serial: X, port: 1-4}", "{to: runner-1}", "phone"),
        rule("{subsystem: tty, parent: {id: '0403:6001'}}", "{to: box, path: /dev/console1}", "tty"),
        rule("{subsystem: net, mac: '00:e0:4c:68:01:02'}", "{to: router, name: wan0}", "net"),
        rule("{subsystem: block, property: {ID_FS_TYPE: ext4}, attr: {ro: '0'}}", "{to: store}", "disk"),
    )
    for text, instance, target in (
        ("id=18d1:4ee7 serial=X port=1-4", "runner-1", "/dev/bus/usb/001/002"),
        ("subsystem=tty id=0403:6001", "box", "/dev/console1"),
        ("subsystem=net mac=00:E0:4C:68:01:02", "router", "wan0"),
        ("subsystem=block kernel=sdb property.ID_FS_TYPE=ext4 attr.ro=0", "store", "/dev/sdb"),
    ):
        found = wants(rules, made_up(values_of(text)))
        assert [(str(want.instance), want.target) for want in found.wants] == [(instance, target)]
        assert found.problems == ()
    assert wants(rules, made_up(values_of("serial=Y port=1-4"))).rule is None


def test_values_with_blanks_are_quoted() -> None:
    device = made_up(values_of("property.ID_MODEL='Pixel 8' serial=X"))
    assert device.properties["ID_MODEL"] == "Pixel 8"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("", "no keys and values", "such as 'id="),
        ("serial", "'serial' is no key with a value", "write key=value"),
        ("serial=", "'serial=' is no key with a value", "write key=value"),
        ("serial='x", "No closing quotation", "close the quotes"),
        ("serail=x", "unknown key 'serail'", "did you mean 'serial'?"),
        ("qwertz=x", "unknown key 'qwertz'", "property.NAME and attr.NAME"),
        ("property.=x", "unknown key 'property.'", ""),
        ("serial=A serial=B", "several values of 'serial'", "a device has one of it"),
        ("property.A=1 property.A=2", "several values of 'property.A'", "a device has one of it"),
        ("id=18d1", "no device can have '18d1' as its id", "two numbers of four hex digits"),
        ("mac=00:e0:4c:68:01:02", "as its mac", "write subsystem=net"),
        ("seri\x1bal=x", "unknown key 'seri\\x1bal'", "did you mean 'serial'?"),
    ],
)
def test_what_cannot_be_made_up_is_told(text: str, message: str, hint: str) -> None:
    with pytest.raises(MadeUpError) as told:
        made_up(values_of(text))
    assert message in str(told.value)
    assert hint in told.value.hint


@pytest.mark.parametrize(
    ("subsystem", "kernel", "node"),
    [
        ("drm", "renderD128", "/dev/dri/renderD128"),
        ("input", "event5", "/dev/input/event5"),
        ("sound", "midiC1D0", "/dev/snd/midiC1D0"),
        ("sound", "mixer", "/dev/mixer"),
        ("usbmisc", "hiddev0", "/dev/usb/hiddev0"),
        ("usbmisc", "cdc-wdm0", "/dev/cdc-wdm0"),
        ("dvb", "dvb0.frontend0", "/dev/dvb/adapter0/frontend0"),
        ("misc", "tun", "/dev/net/tun"),
        ("misc", "hw_random", "/dev/hwrng"),
        ("misc", "uinput", "/dev/uinput"),
        ("msr", "msr3", "/dev/cpu/3/msr"),
        ("accel", "accel0", "/dev/accel/accel0"),
        ("vfio-dev", "vfio0", "/dev/vfio/devices/vfio0"),
        ("pwm", "pwmchip0", "/dev/pwmchip0"),
        ("dahdi", "dahdi/ctl", "/dev/dahdi/ctl"),
        ("tty", "ttyUSB0", "/dev/ttyUSB0"),
    ],
)
def test_a_node_is_where_the_kernel_puts_it(subsystem: str, kernel: str, node: str) -> None:
    values = {"subsystem": (subsystem,), "kernel": (kernel,)}
    assert made_up(values).node == node
