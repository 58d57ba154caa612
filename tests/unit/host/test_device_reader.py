"""What a device is like: nothing that it can write says what is the kernel's or udevd's to say."""

from __future__ import annotations

from pathlib import Path

import pytest

from hotplugd.host import sysfs
from hotplugd.host.device_reader import Reader, name_of
from hotplugd.host.properties import kernel_lines, path_below, record, record_name
from hotplugd.model.values import Device, Devnum
from hotplugd.plan.desired import wants
from tests.support.devices import rule, ruleset
from tests.support.sysfs_tree import Tree

USB = "usb1/1-4"
HID = f"{USB}/1-4:1.0/0003:1209:0001.0001"
INPUT = f"{HID}/input/input7"
EVENT = f"{INPUT}/event7"

FORGED = (
    "P\nDEVNAME=mem\nMAJOR=1\nMINOR=1\nDEVTYPE=usb_device\nDRIVER=usb\nSUBSYSTEM=usb\nID_SERIAL_SHORT=VICTIM\n"
    "ID_PATH=pci-victim\nHID_UNIQ=VICTIM\nIFINDEX=2\nUNIQ=VICTIM\nPCI_ID=1:2\nMODALIAS=victim"
)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def keyboard(tree: Tree, name: str) -> dict[str, str]:
    """A USB keyboard with this product name. Returns the syspaths of its parts."""
    usb = (
        "DEVNAME=bus/usb/001/004\nDEVTYPE=usb_device\nDRIVER=usb\nPRODUCT=1209/1/0\nTYPE=0/0/0\nBUSNUM=001\n"
    )
    attrs = {"idVendor": "1209\n", "idProduct": "0001\n", "serial": "K1\n"}
    path = "I:5\nE:ID_PATH=pci-0000:00:14.0-usb-0:4\nE:ID_SERIAL_SHORT=K1\nE:ID_VENDOR_ID=1209\n"
    hid = f"DRIVER=hid-generic\nHID_ID=0003:1209:1\nHID_NAME={name}\nHID_PHYS=usb-4/input0\nHID_UNIQ=K1\n"
    above = f'PRODUCT=3/1209/1/111\nNAME="{name}"\nPHYS="usb-4/input0"\nPROP=0\nMODALIAS=input:b0003\n'
    interface = "DEVTYPE=usb_interface\nINTERFACE=3/0/0\n"
    below = "I:7\nE:ID_PATH=pci-0000:00:14.0-usb-0:4:1.0\nE:ID_SERIAL_SHORT=K1\nG:seat\nS:input/by-id/x\n"
    return {
        "usb": tree.add(USB, "usb", usb, "189:3", record=path, attrs=attrs, driver="usb"),
        "interface": tree.add(f"{USB}/1-4:1.0", "usb", interface, driver="usbhid"),
        "hid": tree.add(HID, "hid", hid + "MODALIAS=hid:b0003\n", driver="hid-generic"),
        "input": tree.add(INPUT, "input", above, attrs={"name": f"{name}\n", "phys": "usb-4/input0\n"}),
        "event": tree.add(EVENT, "input", "DEVNAME=input/event7\n", "13:71", record=below),
    }


def reader(tree: Tree, *attrs: str) -> Reader:
    return Reader(frozenset(attrs), str(tree.database))


def read(tree: Tree, syspath: str) -> Device:
    seen = reader(tree).read(syspath, None, listing=True)
    assert seen is not None
    assert seen.settled
    return seen.device


def test_a_device_is_what_the_kernel_and_udevd_say(tree: Tree) -> None:
    device = read(tree, keyboard(tree, "Keys")["event"])
    assert (device.subsystem, device.kernel, device.node, device.devnum) == (
        "input", "event7", "/dev/input/event7", Devnum("char", 13, 71),
    )  # fmt: skip
    assert device.slot == f"c-13-71-{sysfs.boot()}-i{sysfs.inode(device.syspath)}"
    assert dict(device.properties) == {
        "DEVPATH": device.syspath, "SUBSYSTEM": "input", "DEVNAME": "/dev/input/event7", "MAJOR": "13",
        "MINOR": "71", "ID_PATH": "pci-0000:00:14.0-usb-0:4:1.0", "ID_SERIAL_SHORT": "K1",
        "USEC_INITIALIZED": "7", "DEVLINKS": "/dev/input/by-id/x", "TAGS": ":seat:",
    }  # fmt: skip
    above = [(each.kernel, each.subsystem, each.driver, each.devtype) for each in device.ancestors()]
    assert above == [
        ("input7", "input", "", ""),
        ("0003:1209:0001.0001", "hid", "hid-generic", ""),
        ("1-4:1.0", "usb", "usbhid", "usb_interface"),
        ("1-4", "usb", "usb", "usb_device"),
    ]
    input7, hid, *_ = device.ancestors()
    assert (input7.properties["NAME"], hid.properties["HID_NAME"], hid.properties["HID_UNIQ"]) == (
        '"Keys"', "Keys", "K1",
    )  # fmt: skip
    assert device.usb is not None
    assert device.usb.attrs == {"idVendor": "1209", "idProduct": "0001", "serial": "K1"}


@pytest.mark.parametrize(
    "name", [FORGED, "P\n", "\n", "P\nX", "P\nHID_PHYS=usb-1/input0\nHID_UNIQ=VICTIM", "=\n="]
)
def test_a_name_with_lines_changes_nothing_but_names(tree: Tree, tmp_path: Path, name: str) -> None:
    (tmp_path / "plain").mkdir()
    plain = Tree(tmp_path / "plain")
    true, forged = keyboard(plain, "Keys"), keyboard(tree, name)
    for part in ("input", "hid", "interface"):
        assert reader(tree).read(forged[part], None, listing=True) is None
        one, other = reader(plain).above(true[part]), reader(tree).above(forged[part])
        assert one is not None
        assert other is not None
        names = {"DEVPATH", "NAME", "HID_NAME", "HID_PHYS", "HID_UNIQ", "MODALIAS"}
        rest = [
            {key: text for key, text in each.properties.items() if key not in names} for each in (one, other)
        ]
        assert rest[0] == rest[1]
        for key in ("HID_PHYS", "HID_UNIQ", "MODALIAS"):
            assert other.properties.get(key) in (None, one.properties.get(key))
        assert (one.kernel, one.subsystem, one.driver, one.devtype, one.node, one.devnum) == (
            other.kernel, other.subsystem, other.driver, other.devtype, other.node, other.devnum,
        )  # fmt: skip
    assert {**read(tree, forged["event"]).properties, "DEVPATH": ""} == {
        **read(plain, true["event"]).properties,
        "DEVPATH": "",
    }


@pytest.mark.parametrize(
    ("subsystem", "uevent"),
    [
        ("mmc", "MMC_TYPE=SD\nMMC_NAME=S\nDEVTYPE=x\nMODALIAS=mmc:block\n"),
        ("power_supply", "POWER_SUPPLY_NAME=hid-1\nPOWER_SUPPLY_MODEL_NAME=M\nDEVNAME=mem\n"),
        ("rc", "NAME=rc-empty\nDRV_NAME=mceusb\nDEV_NAME=M\nDEVNAME=mem\n"),
        ("thunderbolt", "MODALIAS=tbsvc:kM\nDEVTYPE=x\nDRIVER=usb\n"),
        ("unheard-of", "SOMETHING=M\nDRIVER=usb\nDEVTYPE=x\n"),
    ],
)
def test_after_the_first_text_of_a_device_nothing_is_believed(
    tree: Tree, subsystem: str, uevent: str
) -> None:
    device = reader(tree).above(tree.add("a", subsystem, f"OF_NAME=ok\nPCI_ID=1:2\n{uevent}"))
    assert device is not None
    assert (device.devtype, device.driver, device.node) == ("", "", "")
    assert {"OF_NAME", "PCI_ID"} <= device.properties.keys() <= {
        "OF_NAME", "PCI_ID", "DEVPATH", "SUBSYSTEM", "MODALIAS",
    }  # fmt: skip


def test_the_driver_is_the_one_that_the_link_names_and_the_first_variable_counts(tree: Tree) -> None:
    linked = reader(tree).above(tree.add("a", "usb", "DRIVER=victim\nDRIVER=other\n", driver="usbhid"))
    unlinked = reader(tree).above(tree.add("b", "usb", "DRIVER=usbhid\nDRIVER=other\n"))
    assert linked is not None
    assert unlinked is not None
    assert (linked.driver, linked.properties["DRIVER"]) == ("usbhid", "usbhid")
    assert (unlinked.driver, unlinked.properties["DRIVER"]) == ("usbhid", "usbhid")


@pytest.mark.parametrize("dev", ["1:1\n", "", "13:71:1", "x", "13:\n", "\n"])
def test_a_number_counts_where_dev_and_uevent_agree(tree: Tree, dev: str) -> None:
    syspath = tree.add("a", "input", "DEVNAME=input/event7\n", "13:71", record="I:1\n")
    Path(syspath, "dev").write_text(dev)
    assert reader(tree).read(syspath, None, listing=True) is None


class TestDatabase:
    def test_it_does_not_say_what_is_the_kernels_to_say(self, tree: Tree) -> None:
        forged = (
            "I:9\nE:ID_V4L_PRODUCT=P\nE:DEVNAME=/dev/mem\nE:MAJOR=1\nE:MINOR=1\nE:SUBSYSTEM=usb\nE:DRIVER=usb\n"
            "E:DEVTYPE=usb_device\nE:DEVPATH=/devices/x\nE:USEC_INITIALIZED=1\nE:IFINDEX=2\nE:TAGS=:x:\n"
            "E:DEVLINKS=/dev/y\nE:HID_UNIQ=V\n"
        )
        device = read(tree, tree.add("v", "video4linux", "DEVNAME=video0\n", "81:0", record=forged))
        assert (device.node, device.devnum, device.devtype, device.driver) == (
            "/dev/video0", Devnum("char", 81, 0), "", "",
        )  # fmt: skip
        assert dict(device.properties) == {
            "DEVPATH": device.syspath, "SUBSYSTEM": "video4linux", "DEVNAME": "/dev/video0", "MAJOR": "81",
            "MINOR": "0", "ID_V4L_PRODUCT": "P", "USEC_INITIALIZED": "9",
        }  # fmt: skip

    def test_what_is_there_twice_is_nobodys(self, tree: Tree) -> None:
        tree.processed("c1:1", "I:1\nE:ID_A=1\nE:ID_B=2\nE:ID_A=3\nI:2\n")
        assert record("c1:1", str(tree.database)) == {"ID_B": "2", "USEC_INITIALIZED": "1"}

    @pytest.mark.parametrize(
        ("own", "above", "found"),
        [
            ("pci-0-usb-0:4:1.0", "pci-0-usb-0:4", "pci-0-usb-0:4:1.0"),
            ("pci-0-usb-0:4", "pci-0-usb-0:4", "pci-0-usb-0:4"),
            ("pci-0-usb-0:41:1.0", "pci-0-usb-0:4", ""),
            ("pci-0-usb-0:4.1:1.0", "pci-0-usb-0:4", ""),
            ("pci-victim", "pci-0-usb-0:4", ""),
            ("pci-victim", "", ""),
        ],
    )
    def test_where_it_is_plugged_in_is_where_its_usb_device_is(
        self, own: str, above: str, found: str
    ) -> None:
        keys = ("ID_PATH_TAG", "ID_PATH_WITH_USB_REVISION", "ID_PATH_ATA_COMPAT")
        said = {"ID_PATH": own, **dict.fromkeys(keys, "pci-victim")}
        path_below(said, above)
        assert said == ({"ID_PATH": found} if found else {}) or (found == "pci-victim" and not above)

    def test_the_tag_and_the_revision_of_a_true_path_stay(self) -> None:
        said = {
            "ID_PATH": "pci-0000:00:14.0-usb-0:4.2:1.0", "ID_PATH_TAG": "pci-0000_00_14_0-usb-0_4_2_1_0",
            "ID_PATH_WITH_USB_REVISION": "pci-0000:00:14.0-usbv2-0:4.2:1.0",
        }  # fmt: skip
        before = dict(said)
        path_below(said, "pci-0000:00:14.0-usb-0:4.2")
        assert said == before

    def test_a_phone_below_a_hub_has_its_own_path(self, tree: Tree) -> None:
        for path, number, port in (("usb1/1-4", "189:3", "4"), ("usb1/1-4/1-4.2", "189:4", "4.2")):
            tree.add(
                path, "usb", "DEVNAME=bus/usb/001/1\nDEVTYPE=usb_device\n", number,
                record=f"I:1\nE:ID_PATH=pci-0-usb-0:{port}\n",
            )  # fmt: skip
        assert read(tree, f"{tree.root}/devices/usb1/1-4/1-4.2").properties["ID_PATH"] == "pci-0-usb-0:4.2"

    @pytest.mark.parametrize(
        ("subsystem", "number", "ifindex", "name"),
        [
            ("usb", Devnum("char", 189, 3), "", "c189:3"),
            ("block", Devnum("block", 8, 0), "", "b8:0"),
            ("net", None, "7", "n7"),
            ("pci", None, "", "+pci:x"),
            ("input", None, "7", "+input:x"),
        ],
    )
    def test_its_files_are_called_as_udevd_calls_them(
        self, subsystem: str, number: Devnum | None, ifindex: str, name: str
    ) -> None:
        assert record_name(subsystem, "x", number, ifindex) == name


def test_a_device_of_which_udevd_has_nothing_is_not_settled(tree: Tree) -> None:
    syspath = tree.add("a", "input", "DEVNAME=input/event7\n", "13:71")
    for listing in (True, False):
        seen = reader(tree).read(syspath, None, listing=listing)
        assert seen is not None
        assert not seen.settled
        assert seen.device.properties == {}
    assert name_of(syspath) == "/dev/input/event7"


def test_of_a_pci_device_udevd_may_have_nothing_to_say(tree: Tree) -> None:
    syspath = tree.add("0000:00:1f.0", "pci", "PCI_CLASS=60100\nPCI_ID=8086:1\n")
    seen = [reader(tree).read(syspath, None, listing=each) for each in (True, False)]
    assert [each is not None and each.settled for each in seen] == [False, True]


def test_a_record_of_a_device_that_is_gone_is_not_its_successors(tree: Tree) -> None:
    syspath = tree.add("a", "input", "DEVNAME=input/event7\n", "13:71", record="I:5\nE:ID_SERIAL_SHORT=OLD\n")
    one = reader(tree)
    one.gone["c13:71"] = "5"
    seen = one.read(syspath, None, listing=True)
    assert seen is not None
    assert not seen.settled
    tree.processed("c13:71", "I:6\nE:ID_SERIAL_SHORT=NEW\n")
    seen = one.read(syspath, None, listing=True)
    assert seen is not None
    assert seen.settled


def test_what_is_no_device_has_no_lines(tmp_path: Path) -> None:
    assert kernel_lines(str(tmp_path)) is None
    assert kernel_lines(f"{tmp_path}/\0") is None


def test_one_rule_takes_the_buses_of_a_board(tree: Tree) -> None:
    """As a Raspberry Pi has them: nodes of SPI, I2C and GPIO, below devices that have none."""
    soc = "platform/soc"
    syspaths = [
        tree.add(f"{soc}/spi0/spidev/spidev0.0", "spidev", "DEVNAME=spidev0.0\n", "153:0", record="I:1\n"),
        tree.add(f"{soc}/i2c-1/i2c-dev/i2c-1", "i2c-dev", "DEVNAME=i2c-1\n", "89:1", record="I:2\n"),
        tree.add(f"{soc}/gpiochip0", "gpio", "DEVNAME=gpiochip0\n", "254:0", record="I:3\n"),
    ]
    board = ruleset(rule("{subsystem: [spidev, i2c-dev, gpio]}", "{to: box, gid: 997}"))
    found = [want for each in syspaths for want in wants(board, read(tree, each)).wants]
    assert [(want.target, *want.links) for want in found] == [
        ("/dev/spidev0_0", "/dev/spidev0.0"),
        ("/dev/i2c-1",),
        ("/dev/gpiochip0",),
    ]
