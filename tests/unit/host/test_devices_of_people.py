"""Devices that people have, as sysfs and udevd's database show them, by the rules of the page about them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from hotplugd.host.device_reader import Reader
from hotplugd.plan.desired import wants
from hotplugd.rulefile.load import parse
from hotplugd.rules.ruleset import RuleSet
from tests.support.device_pages import part
from tests.support.sysfs_tree import Tree

PLACE = "pci-0000:00:14.0-usb-0:3"
USB = "pci0000:00/0000:00:14.0/usb1/1-3"


def rules(title: str) -> RuleSet:
    """Those of one part of the pages."""
    return parse(part(title).rules, "rules.yaml").rules


class Host:
    """A host with one USB device in a port."""

    def __init__(self, tree: Tree, vendor: str, product: str, serial: str = "") -> None:
        self._tree = tree
        self._said = f"E:ID_VENDOR_ID={vendor}\nE:ID_MODEL_ID={product}\n"
        self._said += f"E:ID_SERIAL_SHORT={serial}\n" if serial else ""
        attrs = {"idVendor": vendor, "idProduct": product, **({"serial": serial} if serial else {})}
        self.usb = tree.add(
            USB, "usb", "DEVNAME=bus/usb/001/004\nDEVTYPE=usb_device\nDRIVER=usb\nBUSNUM=001\nDEVNUM=004\n",
            "189:3", driver="usb", record=f"I:1\nE:ID_PATH={PLACE}\n{self._said}", attrs=attrs,
        )  # fmt: skip

    def below(
        self,
        path: str,
        subsystem: str,
        node: str,
        number: str,
        said: str = "",
        attrs: Mapping[str, str] | None = None,
    ) -> str:
        """What a driver has made of an interface of the device."""
        interface = path.partition("/")[0]
        if not (Path(self.usb) / interface).exists():
            self._tree.add(f"{USB}/{interface}", "usb", "DEVTYPE=usb_interface\n", driver="some")
        at = interface.partition(":")[2]
        record = f"I:2\nE:ID_PATH={PLACE}:{at}\n{self._said}{said}"
        return self._tree.add(
            f"{USB}/{path}", subsystem, f"DEVNAME={node}\n", number, record=record, attrs=attrs
        )


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def goes(tree: Tree, title: str, *syspaths: str) -> list[tuple[str, str]]:
    """The instances and the paths inside of these devices, by the rules of a part of the pages."""
    known = rules(title)
    reader = Reader(known.attrs, str(tree.database))
    found = []
    for each in syspaths:
        seen = reader.read(each, None, listing=True)
        assert seen is not None
        assert seen.settled
        wanted = wants(known, seen.device)
        assert not wanted.problems
        found += [(want.instance.name, want.target) for want in wanted.wants]
    return found


def test_a_stick_without_a_serial_number_of_its_own_goes_by_its_place(tree: Tree) -> None:
    stick = Host(tree, "10c4", "ea60", "0001")
    tty = stick.below("1-3:1.0/ttyUSB0/tty/ttyUSB0", "tty", "ttyUSB0", "188:0")
    assert goes(tree, "Zigbee and Z-Wave sticks", tty) == [("zwave-js", "/dev/zwave")]


def test_one_port_of_an_adapter_goes_by_its_interface(tree: Tree) -> None:
    adapter = Host(tree, "0403", "6011", "FT6ABCDE")
    ttys = [
        adapter.below(
            f"1-3:1.{number}/ttyUSB{number}/tty/ttyUSB{number}",
            "tty",
            f"ttyUSB{number}",
            f"188:{number}",
            f"E:ID_USB_INTERFACE_NUM={number:02}\n",
        )
        for number in range(4)
    ]
    assert goes(tree, "Adapters with several ports", *ttys) == [("rack-FT6ABCDE", "/dev/console-c")]


@pytest.mark.parametrize(("vendor", "product"), [("1a6e", "089a"), ("18d1", "9302")])
def test_an_accelerator_goes_in_with_either_id(tree: Tree, vendor: str, product: str) -> None:
    host = Host(tree, vendor, product)
    assert goes(tree, "Accelerators that change their id", host.usb) == [("frigate", "/dev/bus/usb/001/004")]


def test_of_a_webcam_the_node_for_pictures_goes_in(tree: Tree) -> None:
    webcam = Host(tree, "046d", "082d")
    nodes = [
        webcam.below(
            f"1-3:1.0/video4linux/video{number}",
            "video4linux",
            f"video{number}",
            f"81:{number}",
            attrs={"index": f"{index}\n"},
        )
        for number, index in ((0, 1), (1, 0))
    ]
    assert goes(tree, "Webcams", *nodes) == [("crowsnest", "/dev/video0")]


def test_a_modem_goes_in_with_what_its_drivers_make(tree: Tree) -> None:
    modem = Host(tree, "12d1", "155e")
    control = modem.below("1-3:1.2/usbmisc/cdc-wdm0", "usbmisc", "cdc-wdm0", "180:0")
    tty = modem.below("1-3:1.0/ttyUSB0/tty/ttyUSB0", "tty", "ttyUSB0", "188:0")
    assert goes(tree, "Modems that switch their mode", modem.usb, control, tty) == [
        ("router", "/dev/bus/usb/001/004"),
        ("router", "/dev/cdc-wdm0"),
        ("router", "/dev/ttyUSB0"),
    ]


def test_a_sound_card_keeps_its_number_and_the_timer_comes_along(tree: Tree) -> None:
    card = Host(tree, "08bb", "2902")
    nodes = [
        card.below(f"1-3:1.0/sound/card1/{name}", "sound", f"snd/{name}", f"116:{minor}")
        for name, minor in (("controlC1", 4), ("pcmC1D0p", 5))
    ]
    timer = tree.add("virtual/sound/timer", "sound", "DEVNAME=snd/timer\n", "116:33", record="I:3\n")
    assert goes(tree, "USB sound cards", *nodes, timer) == [
        ("music", "/dev/snd/controlC1"),
        ("music", "/dev/snd/pcmC1D0p"),
        ("music", "/dev/snd/timer"),
    ]


def test_the_nodes_of_a_receiver_keep_their_paths(tree: Tree) -> None:
    receiver = Host(tree, "2013", "025f", "00002C18")
    nodes = [
        receiver.below(f"1-3:1.0/dvb/dvb0.{name}0", "dvb", f"dvb/adapter0/{name}0", f"212:{minor}")
        for name, minor in (("frontend", 3), ("demux", 0), ("dvr", 1))
    ]
    assert [path for _, path in goes(tree, "DVB receivers", *nodes)] == [
        "/dev/dvb/adapter0/frontend0",
        "/dev/dvb/adapter0/demux0",
        "/dev/dvb/adapter0/dvr0",
    ]


def test_a_ups_goes_in_with_its_hiddev(tree: Tree) -> None:
    ups = Host(tree, "051d", "0002")
    node = ups.below("1-3:1.0/usbmisc/hiddev0", "usbmisc", "usb/hiddev0", "180:96")
    assert goes(tree, "UPS", ups.usb, node) == [
        ("nut", "/dev/bus/usb/001/004"),
        ("nut", "/dev/usb/hiddev0"),
    ]


def test_a_tape_goes_in_with_its_generic_node(tree: Tree) -> None:
    drive = "pci0000:00/0000:00:1f.2/host2/target2:0:0/2:0:0:0"
    tree.add(drive, "scsi", "DEVTYPE=scsi_device\nDRIVER=st\n", attrs={"type": "1\n"})
    nodes = [
        tree.add(f"{drive}/scsi_tape/nst0", "scsi_tape", "DEVNAME=nst0\n", "9:128", record="I:1\n"),
        tree.add(f"{drive}/scsi_generic/sg0", "scsi_generic", "DEVNAME=sg0\n", "21:0", record="I:1\n"),
    ]
    assert goes(tree, "Tape and optical drives", *nodes) == [("bacula", "/dev/nst0"), ("bacula", "/dev/sg0")]
