"""What the server gives an instance by an entry: by type, by key, as LXD and Incus read them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import given as example
from hypothesis import strategies as st

from hotplugd.model.entry import slot_links
from hotplugd.model.values import Device, Devnum, Entry
from hotplugd.plan.foreign_entries import given, selectors_on, taken_by
from hotplugd.plan.ownership import Owners, met
from tests.support.devices import box, console, disk, gpu, interface, pci, phone, plugged
from tests.unit.devices import usb

Config = dict[str, str]

LINK = "/dev/serial/by-id/usb-x"
CONTROLLER = "0000:00:14.0"
BUS = f"/sys/devices/pci0000:00/{CONTROLLER}/usb1/1-1"
ADAPTER = replace(usb("1-1", "0403", "6001", "A5001"), syspath=BUS)
CABLE = replace(
    console(1),
    syspath=f"{BUS}/1-1:1.0/ttyUSB1",
    properties={"DEVLINKS": f"/dev/serial/by-path/y {LINK}", "ID_VENDOR_ID": "0403", "ID_MODEL_ID": "6001"},
)
PHONE = replace(
    phone(1),
    syspath=BUS,
    properties={**phone(1).properties, "BUSNUM": "001", "DEVNUM": "007"},
    attrs={"serial": "R5C 001", "idVendor": "18d1", "idProduct": "4ee7"},
)
DISK = disk()
NIC = interface()
SOUND = plugged(
    Device(
        "/sys/devices/pci0000:00/0000:00:1f.3/sound/card0/pcmC0D0p", "sound", "pcmC0D0p", node="/dev/snd/p"
    ),
    116,
    3,
)
PORT = plugged(Device("/sys/devices/pnp0/00:05/tty/ttyS4", "tty", "ttyS4", node="/dev/ttyS4"), 4, 68)
ADDRESS = "0000:01:00.0"
INTEL = replace(pci(), properties={"PCI_ID": "8086:9A49", "PCI_CLASS": "30000"})
CARD, RENDER = (replace(each, parent=INTEL) for each in gpu())
NVIDIA = replace(pci(2), properties={"PCI_ID": "10DE:2684", "PCI_CLASS": "30200"})

# What a container gets.
TAKEN: dict[str, tuple[Device, Config]] = {
    "a node": (CABLE, {"type": "unix-char", "source": "/dev/ttyUSB1"}),
    "a node by its path": (CABLE, {"type": "unix-char", "path": "/dev/ttyUSB1"}),
    "a node by its path, without the slash": (CABLE, {"type": "unix-char", "path": "dev/ttyUSB1"}),
    "a node by another way to it": (CABLE, {"type": "unix-char", "source": "/dev//bus/../ttyUSB1"}),
    "a link": (CABLE, {"type": "unix-char", "source": LINK, "path": "/dev/x"}),
    "udev's link by number": (CABLE, {"type": "unix-char", "source": "/dev/char/188:1", "path": "/dev/x"}),
    "our link": (CABLE, {"type": "unix-char", "source": slot_links(CABLE.slot)[1], "path": "/dev/x"}),
    "a number": (CABLE, {"type": "unix-char", "path": "/dev/x", "major": "188", "minor": "1"}),
    "a number with zeros": (CABLE, {"type": "unix-char", "path": "/dev/x", "major": "0188", "minor": "01"}),
    "a block device": (DISK, {"type": "unix-block", "source": "/dev/zram0"}),
    "a block device by number": (DISK, {"type": "unix-block", "path": "/x", "major": "252", "minor": "0"}),
    "a disk": (DISK, {"type": "disk", "source": "/dev/zram0", "path": "/srv"}),
    "a disk by number": (DISK, {"type": "disk", "source": "/dev/block/252:0", "path": "/srv"}),
    "a node that is mounted": (CABLE, {"type": "disk", "source": "/dev/ttyUSB1", "path": "/dev/x"}),
    "a product": (PHONE, {"type": "usb", "vendorid": "18d1", "productid": "4ee7"}),
    "a vendor": (PHONE, {"type": "usb", "vendorid": "18d1"}),
    "a product alone": (PHONE, {"type": "usb", "productid": "4ee7"}),
    "every USB device": (PHONE, {"type": "usb"}),
    "every USB device, with how it is inside": (
        PHONE,
        {
            "type": "usb",
            "mode": "0666",
            "uid": "0",
            "gid": "0",
            "required": "false",
            "user.x": "y",
            "serial": "",
        },
    ),
    "a serial number": (PHONE, {"type": "usb", "serial": "R5C 001"}),
    "a number on the bus": (PHONE, {"type": "usb", "busnum": "1", "devnum": "7"}),
    "every device of a bus": (PHONE, {"type": "usb", "busnum": "1"}),
    "a number on any bus": (PHONE, {"type": "usb", "devnum": "7", "vendorid": "18d1"}),
    "one with a key that nobody knows yet": (PHONE, {"type": "usb", "vendorid": "18d1", "speed": "high"}),
    "one that is attached": (PHONE, {"type": "usb", "attached": "Yes"}),
    "what hangs from a vendor's": (CABLE, {"type": "unix-hotplug", "vendorid": "0403"}),
    "what hangs from a product": (CABLE, {"type": "unix-hotplug", "vendorid": "0403", "productid": "6001"}),
    "the USB device itself": (PHONE, {"type": "unix-hotplug", "vendorid": "18d1"}),
    "a subsystem": (CABLE, {"type": "unix-hotplug", "subsystem": "tty"}),
    "a subsystem, which need not be on USB": (PORT, {"type": "unix-hotplug", "subsystem": "tty"}),
    "a subsystem of a vendor": (CABLE, {"type": "unix-hotplug", "subsystem": "tty", "vendorid": "0403"}),
    "what hangs from a controller": (CABLE, {"type": "unix-hotplug", "pci": CONTROLLER}),
    "an interface": (NIC, {"type": "nic", "nictype": "physical", "parent": "enp1s0"}),
    "an interface of InfiniBand": (NIC, {"type": "infiniband", "nictype": "physical", "parent": "enp1s0"}),
    "an interface for a VLAN": (
        replace(NIC, kernel="lan0.7"),
        {"type": "nic", "nictype": "physical", "parent": "lan0", "vlan": "7"},
    ),
    **{
        f"an interface that {kind} hangs from": (NIC, {"type": "nic", "nictype": kind, "parent": "enp1s0"})
        for kind in ("macvlan", "ipvlan", "routed", "sriov")
    },
    "an interface by its PCI device": (NIC, {"type": "nic", "nictype": "sriov", "pci": "01:00.0"}),
    "a GPU": (CARD, {"type": "gpu", "pci": ADDRESS}),
    "a GPU by its short address": (RENDER, {"type": "gpu", "gputype": "physical", "pci": "01:00.0"}),
    "a GPU by its PCI device": (INTEL, {"type": "gpu", "pci": ADDRESS}),
    "every GPU": (CARD, {"type": "gpu", "mode": "0660"}),
    "a vendor's GPUs": (RENDER, {"type": "gpu", "vendorid": "8086"}),
    "a product's GPUs": (CARD, {"type": "gpu", "productid": "9a49"}),
    "a card by its number": (CARD, {"type": "gpu", "id": "1"}),
    "all of NVIDIA's": (NVIDIA, {"type": "gpu", "id": "nvidia.com/gpu=all"}),
    "a part of a GPU": (CARD, {"type": "gpu", "gputype": "mig", "pci": ADDRESS, "mig.uuid": "MIG-1"}),
    "a GPU that is not on PCI": (replace(CARD, parent=None), {"type": "gpu"}),
}

# What a container does not get.
LEFT: dict[str, tuple[Device, Config]] = {
    "another node": (CABLE, {"type": "unix-char", "source": "/dev/ttyUSB11"}),
    "a node for a block device": (CABLE, {"type": "unix-block", "source": "/dev/ttyUSB1"}),
    "another node under its name": (
        CABLE,
        {"type": "unix-char", "source": "/dev/null", "path": "/dev/ttyUSB1"},
    ),
    "another number at its node": (
        CABLE,
        {"type": "unix-char", "source": "/dev/ttyUSB1", "major": "188", "minor": "2"},
    ),
    "half a number": (CABLE, {"type": "unix-char", "source": "/dev/ttyUSB1", "major": "188"}),
    "no number": (CABLE, {"type": "unix-char", "source": "/dev/ttyUSB1", "major": "9" * 5000, "minor": "1"}),
    "nothing at all": (CABLE, {"type": "unix-char"}),
    "a file system": (DISK, {"type": "disk", "source": "/srv", "path": "/srv"}),
    "a volume that is called so": (
        DISK,
        {"type": "disk", "pool": "x", "source": "/dev/zram0", "path": "/srv"},
    ),
    "the root": (DISK, {"type": "disk", "pool": "default", "path": "/"}),
    "another product": (PHONE, {"type": "usb", "vendorid": "18d1", "productid": "4ee8"}),
    "another of the product": (PHONE, {"type": "usb", "vendorid": "18d1", "serial": "R5C002"}),
    "what the server would refuse": (PHONE, {"type": "usb", "vendorid": "18D1"}),
    "what is no pattern": (PHONE, {"type": "usb", "vendorid": "*"}),
    "udev's spelling of a serial number": (PHONE, {"type": "usb", "serial": "R5C001"}),
    "a serial number that udev alone says": (
        replace(PHONE, attrs={**PHONE.attrs, "serial": ""}),
        {"type": "usb", "serial": PHONE.properties["ID_SERIAL_SHORT"]},
    ),
    "a number with zeros in front": (PHONE, {"type": "usb", "busnum": "001"}),
    "a USB device, but a tty": (CABLE, {"type": "usb", "vendorid": "0403"}),
    "everything, but for a key that nobody knows yet": (PHONE, {"type": "usb", "port": "1-1"}),
    "every GPU, but for such a key": (CARD, {"type": "gpu", "slice": "half"}),
    "every GPU, in a way that nobody knows yet": (CARD, {"type": "gpu", "gputype": "quantum"}),
    **{
        f"{kind} that is not attached ({no})": (device, {**config, "attached": no})
        for kind, device, config in (
            ("usb", PHONE, {"type": "usb"}),
            ("nic", NIC, {"type": "nic", "nictype": "physical", "parent": "enp1s0"}),
            ("disk", DISK, {"type": "disk", "source": "/dev/zram0", "path": "/srv"}),
        )
        for no in ("false", "0", "No", "off", "perhaps")
    },
    "hotplug without a key": (CABLE, {"type": "unix-hotplug"}),
    "another vendor's": (CABLE, {"type": "unix-hotplug", "vendorid": "18d1"}),
    "another controller's": (CABLE, {"type": "unix-hotplug", "pci": "0000:00:1a.0"}),
    "a controller's, by the short address": (CABLE, {"type": "unix-hotplug", "pci": "00:14.0"}),
    "a controller's, but on no USB": (SOUND, {"type": "unix-hotplug", "pci": "0000:00:1f.3"}),
    "another subsystem": (CABLE, {"type": "unix-hotplug", "subsystem": "sound"}),
    "a USB device, by its subsystem": (PHONE, {"type": "unix-hotplug", "subsystem": "usb"}),
    "one of a vendor's, by its subsystem": (
        PHONE,
        {"type": "unix-hotplug", "subsystem": "usb", "vendorid": "18d1"},
    ),
    "PCI's vendors, written otherwise by udev": (
        replace(SOUND, properties={"ID_VENDOR_ID": "0x8086", "ID_MODEL_ID": "0xa0c8"}),
        {"type": "unix-hotplug", "vendorid": "8086"},
    ),
    "a bridge": (NIC, {"type": "nic", "nictype": "bridged", "parent": "enp1s0"}),
    "a pair of interfaces": (NIC, {"type": "nic", "nictype": "p2p", "name": "enp1s0"}),
    "a managed network": (NIC, {"type": "nic", "network": "enp1s0", "name": "enp1s0"}),
    "another interface": (NIC, {"type": "nic", "nictype": "physical", "parent": "enp1s01"}),
    "another GPU": (CARD, {"type": "gpu", "pci": "0000:02:00.0"}),
    "another vendor's GPU": (CARD, {"type": "gpu", "vendorid": "10de"}),
    "a render node by its own number": (RENDER, {"type": "gpu", "id": "0"}),
    "another card": (CARD, {"type": "gpu", "id": "0"}),
    "all of another vendor's": (CARD, {"type": "gpu", "id": "nvidia.com/gpu=all"}),
    "one of CDI's": (NVIDIA, {"type": "gpu", "id": "nvidia.com/gpu=0"}),
    "a GPU's, but an interface": (NIC, {"type": "gpu", "pci": ADDRESS}),
    "every GPU, but an interface": (NIC, {"type": "gpu"}),
    "every GPU, but another PCI device": (replace(INTEL, properties={"PCI_CLASS": "20000"}), {"type": "gpu"}),
    "a PCI device, which containers have none of": (INTEL, {"type": "pci", "address": ADDRESS}),
    "an emulated TPM": (CABLE, {"type": "tpm", "path": "/dev/ttyUSB1", "pathrm": "/dev/x"}),
    "a proxy": (CABLE, {"type": "proxy", "connect": "unix:/dev/ttyUSB1", "listen": "unix:/x"}),
    "none": (CABLE, {"type": "none"}),
    "a type that nobody knows yet": (
        CABLE,
        {"type": "tty", "source": "/dev/ttyUSB1", "path": "/dev/ttyUSB1"},
    ),
    "no type": (CABLE, {"source": "/dev/ttyUSB1"}),
}

# What only a virtual machine gets.
MACHINES: dict[str, tuple[Device, Config]] = {
    "a PCI device": (INTEL, {"type": "pci", "address": ADDRESS}),
    "a PCI device by its short address": (INTEL, {"type": "pci", "address": "01:00.0"}),
    "an interface on one": (NIC, {"type": "pci", "address": ADDRESS}),
    "a card on one": (CARD, {"type": "pci", "address": ADDRESS}),
}


def takes(config: Config, device: Device, *, machine: bool = False) -> bool:
    """Whether an instance that runs gets the device by an entry; looked up, and compared as what changed."""
    made = box([Entry("theirs", config)])
    instance = replace(made, kind="virtual-machine") if machine else made
    owners = Owners()
    changed = owners.learned(instance.id, instance)
    found = next(owners.now(device), None) is not None
    assert met([device], changed) == ([device] if found else [])
    return found


@pytest.mark.parametrize(("device", "config"), TAKEN.values(), ids=TAKEN)
def test_a_container_is_given(device: Device, config: Config) -> None:
    assert takes(config, device)


@pytest.mark.parametrize(("device", "config"), LEFT.values(), ids=LEFT)
def test_a_container_is_not_given(device: Device, config: Config) -> None:
    assert not takes(config, device)


@pytest.mark.parametrize(("device", "config"), MACHINES.values(), ids=MACHINES)
def test_a_virtual_machine_is_given(device: Device, config: Config) -> None:
    assert takes(config, device, machine=True)


@pytest.mark.parametrize("name", TAKEN)
def test_a_virtual_machine_is_given_the_same_but_for_nodes(name: str) -> None:
    device, config = TAKEN[name]
    assert takes(config, device, machine=True) is not config["type"].startswith("unix-")


def test_hidraw_has_the_ids_of_its_usb_device() -> None:
    hidraw = replace(CABLE, subsystem="hidraw", properties={})
    assert takes({"type": "unix-hotplug", "vendorid": "0403", "productid": "6001"}, hidraw)


def test_what_has_no_ids_hangs_from_no_controller() -> None:
    assert not takes({"type": "unix-hotplug", "pci": CONTROLLER}, replace(CABLE, properties={}, parent=None))


def test_what_has_no_number_is_no_node() -> None:
    anonymous = replace(CABLE, devnum=Devnum("char", 0, 1))
    assert not takes({"type": "unix-hotplug", "subsystem": "tty"}, anonymous)
    assert not takes({"type": "unix-hotplug", "subsystem": "tty"}, replace(CABLE, devnum=None))


def forged(number: int) -> Config:
    """One of many entries of many shapes, most of which take nothing that there is."""
    keys = ("vendorid", "productid", "serial", "busnum", "devnum", "pci", "subsystem", "id")
    kinds = ("usb", "unix-hotplug", "gpu")
    texts = {key: str(number) for bit, key in enumerate(keys) if number >> bit & 1}
    return {"type": kinds[number % 3], **texts}


def test_ten_thousand_forged_entries_cost_a_device_no_more_than_a_few() -> None:
    owners, names = Owners(), [f"forged{number}" for number in range(100)]
    for instance in names:
        each = [Entry(f"{instance}{number}", forged(number)) for number in range(100, 200)]
        whole = box(each, name=instance)
        owners.learned(whole.id, whole)
    made = [
        selector for number in range(10_000) for selector in taken_by(Entry("x", forged(number)), "container")
    ]
    shapes: dict[str, set[tuple[bool, ...]]] = {}
    for selector in made:
        shapes.setdefault(selector[0], set()).add(given(selector))
    # As many as there are ways to leave keys out: 32 of usb, 16 of unix-hotplug less the one without any.
    assert len(list(selectors_on(PHONE, shapes))) <= 32 + 15
    assert len(list(selectors_on(CABLE, shapes))) <= 15
    for instance in names:
        owners.learned(box(name=instance).id, None)
    assert list(owners.now(PHONE)) == []


TYPES = (
    "unix-char",
    "unix-block",
    "unix-hotplug",
    "usb",
    "gpu",
    "pci",
    "nic",
    "infiniband",
    "disk",
    "none",
    "",
)
KEYS = (
    "source", "path", "major", "minor", "vendorid", "productid", "serial", "busnum", "devnum", "subsystem",
    "pci", "id", "address", "parent", "nictype", "vlan", "network", "pool", "attached", "gputype",
    "user.x", "new",
)  # fmt: skip
EVERY = (CABLE, PHONE, DISK, NIC, SOUND, PORT, INTEL, CARD, RENDER)
TEXTS = st.text(max_size=8) | st.sampled_from(
    ["true", "physical", "sriov", "18d1", "188", ADDRESS, "/dev/ttyUSB1"]
)


ENTRIES = st.tuples(st.sampled_from(TYPES), st.dictionaries(st.sampled_from(KEYS), TEXTS, max_size=5))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example(st.lists(ENTRIES, max_size=5), st.booleans())
def test_whatever_entries_say_what_is_noted_goes_again(
    entries: list[tuple[str, Config]], machine: bool
) -> None:
    made = box([Entry(str(number), {**keys, "type": kind}) for number, (kind, keys) in enumerate(entries)])
    instance = replace(made, kind="virtual-machine") if machine else made
    owners = Owners()
    changed = owners.learned(instance.id, instance)
    found = [each for each in EVERY if next(owners.now(each), None) is not None]
    assert met(EVERY, changed) == found
    assert owners.learned(instance.id, replace(instance, running=False)) == changed
    assert [each for each in EVERY if next(owners.later(each), None) is not None] == found
    assert owners.learned(instance.id, None) == changed
    assert not any(
        next(each, None) for device in EVERY for each in (owners.now(device), owners.later(device))
    )
