"""`link: by-id` and the like: udev's own links of a device."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hotplugd.model.values import Device
from hotplugd.plan.desired import wants
from tests.support.devices import all_with, console, disk

BY_ID = "/dev/serial/by-id/usb-FTDI_A5001-if00-port0"
BY_PATH = "/dev/serial/by-path/pci-0000:00:14.0-usb-0:2-1:1.0-port0"


def linked(device: Device, *links: str) -> Device:
    """The device, with these links of udev's."""
    return replace(device, properties={**device.properties, "DEVLINKS": " ".join(links)})


# What the rule says besides `to: box`, udev's links, and those that are made.
MADE = {
    "by-id": ("link: by-id", (BY_ID, BY_PATH, "/dev/board"), (BY_ID,)),
    "by-path": ("link: by-path", (BY_ID, BY_PATH), (BY_PATH,)),
    "both, and one of the rule's": (
        "link: [by-path, by-id, /dev/x]", (BY_ID, BY_PATH), (BY_PATH, BY_ID, "/dev/x")
    ),
    "one of the rule's that udev has, too": (f"link: [by-id, {BY_ID}]", (BY_ID,), (BY_ID,)),
    "none": ("link: by-id", (BY_PATH,), ()),
    "a byte that udev wrote in hex": (
        "link: by-label", ("/dev/disk/by-label/MY\\x20DISK",), ("/dev/disk/by-label/MY\\x20DISK",)
    ),
    "not in a folder that has it in its name": ("link: by-id", ("/dev/by-id/x", "/dev/a/b/by-id/x"), ()),
    "no more than some": (
        "link: by-id", tuple(f"/dev/disk/by-id/{each:02}" for each in range(99)),
        tuple(f"/dev/disk/by-id/{each:02}" for each in range(32)),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("attach", "links", "expected"), MADE.values(), ids=MADE)
def test_they_are_those_in_the_folder_of_that_name(
    attach: str, links: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    found = wants(all_with(attach), linked(console(1), *links))
    assert [each.links for each in found.wants] == [expected]
    assert found.problems == ()


HOSTILE = [
    "/dev/disk/by-id/../../../etc/x",
    "/dev/disk/by-id/..",
    "/dev/disk/by-id/",
    "/dev/disk/by-id/a/b",
    "/dev/shm/by-id/x",
    "/dev/../by-id/x",
    "/tmp/disk/by-id/x",
    "/dev/disk/by-id/a\x1b[2J",
    "/dev/disk/by-id/\u00e9",
    "/dev/disk/by-id/a\\xZZ",
    f"/dev/disk/by-id/{'x' * 256}",
]


@pytest.mark.parametrize("link", HOSTILE)
def test_one_that_udev_cannot_have_made_is_left_out_and_said_if_it_is_in_the_folder(link: str) -> None:
    found = wants(all_with("link: by-id"), linked(disk(), "/dev/disk/by-id/fine", link))
    assert [each.links for each in found.wants] == [("/dev/disk/by-id/fine",)]
    told = [problem.message for problem in found.problems]
    assert all(message.isprintable() and "is no name for a link" in message for message in told)
    assert len(told) == (link.split("/")[3] == "by-id")


def test_a_link_where_the_node_is_is_a_problem() -> None:
    found = wants(
        all_with("path: /dev/serial/by-id/x, link: by-id"), linked(console(1), "/dev/serial/by-id/x")
    )
    assert found.wants == ()
    assert "is where the node itself is" in found.problems[0].message
