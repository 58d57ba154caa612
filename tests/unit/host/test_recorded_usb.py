"""USB devices that the kernel and udevd said of: what is decided before udevd is what is decided afterwards.

Both sides are read as the daemon reads them: sysfs alone at the kernel's `add`, and sysfs and udevd's
database once udevd is done. A udev rule may have udevd say anything else as well.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hotplugd.host import sysfs
from hotplugd.host.device_reader import Reader
from hotplugd.model.names import is_serial
from hotplugd.model.values import Device
from hotplugd.plan.change import entry_for
from hotplugd.plan.desired import wants
from hotplugd.plan.early import decided, differs
from hotplugd.plan.overrides import NONE
from hotplugd.plan.ownership import Owners
from hotplugd.rules.early import early_decision, early_verdict
from hotplugd.rules.keys import UDEV_INTERFACES
from hotplugd.rules.match import unmet
from hotplugd.rules.udev_serial import as_udev
from tests.support.devices import box, rule, ruleset
from tests.support.recorded_usb import MEASURED, RECORDED, Recorded
from tests.support.sysfs_tree import Tree
from tests.unit.rules.rule_texts import made, matches, one

SEQUENCE = 20
SLOT = "c-189-8-boot-20"
ATTRS = frozenset({"bDeviceClass", "maxchild", "product", "manufacturer"})
"""What rules ask for by `attr`."""


@dataclass(frozen=True, slots=True)
class Plugged:
    """A recorded device that is plugged in. before: as it was read at the kernel's `add`."""

    tree: Tree
    before: Device

    def after(self, said: Mapping[str, str]) -> Device:
        """The device once udevd has said this of it."""
        lines = "".join(f"E:{name}={text}\n" for name, text in said.items())
        self.tree.processed("c189:8", f"I:8\nS:phone\nE:HOTPLUGD_SLOT={SLOT}\n{lines}")
        reader = Reader(ATTRS, str(self.tree.database))
        seen = reader.read(self.before.syspath, self.before, listing=False)
        assert seen is not None
        assert seen.settled
        return seen.device


def plugged(recorded: Recorded, folder: Path) -> Plugged:
    """The device is announced and read; then a driver is bound to it, and udevd names the hubs above."""
    folder.mkdir()
    tree = Tree(folder)
    syspath = recorded.add(tree)
    reader = Reader(ATTRS, str(tree.database))
    read = reader.plugged(syspath, SEQUENCE)
    assert read is not None
    before = reader.completed(read.device)
    Path(syspath, "driver").symlink_to("/sys/bus/usb/drivers/usb")
    for above in before.ancestors():
        tree.processed(
            f"+{above.subsystem}:{above.kernel}", "E:ID_PATH=pci-0\nE:P=x\nE:ID_SERIAL_SHORT=HUB\n"
        )
    return Plugged(tree, before)


@pytest.fixture(scope="module")
def devices(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Plugged]:
    """All of them, in the order of `RECORDED`."""
    root = tmp_path_factory.mktemp("recorded")
    return [plugged(each, root / str(at)) for at, each in enumerate(RECORDED)]


def text(value: str) -> str:
    """A pattern that the value meets, as far as a rule can have it."""
    return re.sub(r"[^A-Za-z0-9:._=+@#-]", "?", value)


EACH = pytest.mark.parametrize("at", range(len(RECORDED)), ids=[str(each) for each in RECORDED])


def test_they_are_of_many_kinds_and_from_many_places() -> None:
    real = [each for each in RECORDED if not each.source.startswith(MEASURED)]
    assert len(real) >= 90
    assert len({each.kind.partition(",")[0] for each in real}) >= 25
    assert len({each.source.partition(":")[0] for each in real}) >= 6
    # The two sides differ in all the ways that there are.
    said = {(each.serial, each.udev.get("ID_SERIAL_SHORT", "")) for each in RECORDED}
    assert len({own for own, udevs in said if own != udevs}) >= 8
    assert any(own and not udevs for own, udevs in said)
    assert any(len(each.configurations) > 1 for each in real)
    assert any(len(each.interfaces) > UDEV_INTERFACES for each in RECORDED)
    assert any(each.is_whole and seen(each) != each.interfaces for each in real)


def seen(recorded: Recorded) -> set[str]:
    """The interfaces that udev says."""
    six = recorded.udev.get("ID_USB_INTERFACES", "").strip(":").split(":")
    return {f"{each[:2]}:{each[2:4]}:{each[4:]}" for each in six if each}


@EACH
def test_what_is_the_kernels_is_known_at_once_and_stays(devices: Sequence[Plugged], at: int) -> None:
    recorded, device = RECORDED[at], devices[at].before
    after = devices[at].after(recorded.udev)
    assert (device.early, after.early) == (True, False)
    assert device.slot == after.slot == f"c-189-8-{sysfs.boot()}-{SEQUENCE}"
    asked = [f"id: '{recorded.attrs['idVendor']}:{recorded.attrs['idProduct']}'", f"port: {recorded.port}"]
    asked += [f"interface: '{each}'" for each in recorded.interfaces]
    if recorded.serial.strip(" "):
        asked.append(f"serial: '{text(recorded.serial.strip(' '))}'")
    for each in asked:
        (found,) = ruleset(rule(f"{{{each}}}", "{to: box}")).rules
        assert early_verdict(found.match, device) is True, each
        assert unmet(found.match, after) is None, each


@EACH
def test_what_is_udevs_alone_waits_or_is_no_match(devices: Sequence[Plugged], at: int) -> None:
    recorded, device = RECORDED[at], devices[at].before
    after = devices[at].after(recorded.udev)
    for name, value in recorded.udev.items():
        if not value:
            continue
        (found,) = ruleset(rule(f"{{property: {{{name}: '{text(value)}'}}}}", "{to: box}")).rules
        assert early_verdict(found.match, device) is None
        assert unmet(found.match, after) is None
    udevs = recorded.udev.get("ID_SERIAL_SHORT", "")
    if udevs and udevs != recorded.serial.strip(" ") and not re.search("[^A-Za-z0-9_-]", udevs):
        (found,) = ruleset(rule(f"{{serial: '{udevs}'}}", "{to: box}")).rules
        assert early_verdict(found.match, device) is False
        assert unmet(found.match, after) is not None


@EACH
def test_the_entry_and_its_names_are_the_same(devices: Sequence[Plugged], at: int) -> None:
    """Nothing in an entry changes while the device is attached, and so nothing that udev says is in it."""
    own = '{to: "box-{serial}", mode: "0660", link: "/dev/phones/{serial}-{port}"}'
    rules = [ruleset(rule("{subsystem: usb}", each)) for each in ('{to: box, mode: "0660"}', own)]
    device = devices[at].before
    after = devices[at].after(RECORDED[at].udev)
    for each in rules:
        if decided(each, device, NONE, Owners()) is None:
            continue
        first, then = wants(each, device), wants(each, after)
        assert differs(first, then) is None
        assert [entry_for(want, box(), None, None) for want in first.wants] == [
            entry_for(want, box(), None, None) for want in then.wants
        ]
        assert [want.links for want in first.wants] == [want.links for want in then.wants]


# --- whatever rules ask, and whatever udevd says --------------------------------------------------------

NAMES = ("ID_VENDOR_ID", "ID_MODEL_ID", "ID_SERIAL_SHORT", "ID_USB_INTERFACES", "ID_MODEL", "ID_PATH", "P")
DOES = st.sampled_from(
    [
        'attach: {to: box, mode: "0660"}',
        'attach: {to: "x{serial}", mode: "0660"}',
        'attach: {to: box, mode: "0660", link: "/dev/p/{property.ID_MODEL}"}',
        "attach: {to: box}",
        "ignore: true",
        "attach: {to: box, with: [{match: {subsystem: usb, devtype: usb_device}}]}",
    ]
)


@st.composite
def overridden(draw: st.DrawFn, own: Recorded, other: Recorded) -> dict[str, str]:
    """What udevd says of it, where a hostile udev rule gives it the ids and serial number of the other."""
    hostile = st.sampled_from(NAMES).flatmap(
        lambda name: st.tuples(st.just(name), st.sampled_from([other.udev.get(name, ""), "dead", "", "x y"]))
    )
    changed = dict(draw(st.lists(hostile, max_size=4)))
    return {**own.udev, **changed}


def asked(recorded: Recorded) -> st.SearchStrategy[str]:
    """Tests of what either side says of the device."""
    udev = recorded.udev
    ids = [f"{recorded.attrs['idVendor']}:{recorded.attrs['idProduct']}", f"{recorded.attrs['idVendor']}:*"]
    serials = {recorded.serial.strip(" "), udev.get("ID_SERIAL_SHORT", ""), as_udev(recorded.serial), "*"}
    interfaces = sorted({*seen(recorded), *[*recorded.interfaces][:3], "ff:42:*"})
    return st.one_of(
        one("id", st.sampled_from(ids)),
        one("vendor_id", st.sampled_from([recorded.attrs["idVendor"], udev.get("ID_VENDOR_ID", "dead")])),
        one("product_id", st.sampled_from([recorded.attrs["idProduct"], udev.get("ID_MODEL_ID", "beef")])),
        one("serial", st.sampled_from(sorted(map(text, serials - {""})))),
        one("interface", st.sampled_from(interfaces)),
        one("port", st.sampled_from([recorded.port, f"{recorded.port[:3]}*", "9-9"])),
        one("kernel", st.sampled_from([recorded.port, "usb*"])),
        one("path", st.sampled_from(["pci-*", udev.get("ID_PATH", "pci-0")])),
        one("driver", st.just("usb")),
        st.sampled_from(NAMES).map(
            lambda name: f"property: {{{name}: '{text(udev.get(name, 'x')) or '*'}'}}"
        ),
        st.sampled_from(["attr: {bDeviceClass: '09'}", "property: {DEVLINKS: '*phone'}", "subsystem: usb"]),
    )


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_the_early_verdict_is_the_late_one(devices: Sequence[Plugged], data: st.DataObject) -> None:
    places = st.integers(0, len(RECORDED) - 1)
    at, elsewhere = data.draw(places), data.draw(places)
    own, other = RECORDED[at], RECORDED[elsewhere]
    some = matches(st.one_of(asked(own), asked(other)))
    rules = made(data.draw(st.lists(st.tuples(some, DOES), min_size=1, max_size=4)))
    before = devices[at].before
    after = devices[at].after(data.draw(overridden(own, other)))
    for each in rules.rules:
        found = early_verdict(each.match, before)
        assert found is None or found is (unmet(each.match, after) is None)
    first = early_decision(rules, before)
    assert first is None or first == rules.decide(after)
    attach = decided(rules, before, NONE, Owners())
    if attach is not None:
        assert differs(wants(rules, before), wants(rules, after)) is None


@pytest.mark.parametrize(
    ("own", "udevs"),
    [
        (each.serial, each.udev.get("ID_SERIAL_SHORT", ""))
        for each in RECORDED
        if each.source.startswith(MEASURED)
    ],
)
def test_serials_are_rewritten_as_udev_does(own: str, udevs: str) -> None:
    assert as_udev(own) == udevs


def test_most_real_ones_are_identified_at_once(devices: Sequence[Plugged]) -> None:
    """So the property above is not about rules that wait alone."""
    rules = ruleset(rule("{serial: '?*'}", '{to: box, mode: "0660"}'))
    known = [each for each in devices if decided(rules, each.before, NONE, Owners()) is not None]
    assert len(known) >= sum(is_serial(each.serial) for each in RECORDED) - 5
