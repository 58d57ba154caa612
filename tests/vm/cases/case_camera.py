"""A camera whose name has lines in it: older versions of udevd's `v4l_id` print it as it is.

Each line is a property then. What is installed leaves such a name out (systemd #40983): so another program of
udevd's prints it here, as older ones do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import StartDaemon
from tests.support.lab.container import Container
from tests.support.lab.kernel import Console
from tests.support.lab.udevd import another_rule, settle
from tests.support.lab.wait import eventually, steadily
from tests.support.phones import Camera, Hub
from tests.support.phones.camera import LONGEST_NAME
from tests.support.phones.containers import DEADLINE
from tests.support.phones.hub import syspath
from tests.vm.cases.case_forged import attached, rule
from tests.vm.variants import variants

Launch = Callable[..., Container]

NODES = "{subsystem: video4linux, vendor_id: '1209'}"
# What is still attached by its event, and of what udevd sends no event that is one of the camera's own.
HEARD = (
    "HOTPLUGD_SLOT=c-81-0-boot-1",
    "SEQNUM=18446744073709551615",
    "MAJOR=1",
    "DEVNAME=mem",
    "DRIVER=victim",
    "SUBSYSTEM=vc",
    "DEVTYPE=usb_device",
    "USEC_INITIALIZED=1",
)
UNHEARD = ("DEVPATH=/class/vc/vcsa{number}", "ACTION=remove", "ACTION=x", "SEQNUM=0")
# It comes after v4l_id, and before what is kept of a device.
PRINTS = "/bin/sed 1s/^/ID_V4L_PRODUCT=/ /sys%p/name"
OLDER = f'SUBSYSTEM=="video4linux", ACTION!="remove", IMPORT{{program}}="{PRINTS}"\n'


@pytest.fixture
def older(udevd: None) -> Iterator[None]:
    with another_rule("61-older-v4l.rules", OLDER):
        yield


def plugged(hub: Hub, name: str) -> tuple[Camera, set[str]]:
    """A camera of this name, and its nodes, of which udevd has what the name's lines say."""
    assert len(name) <= LONGEST_NAME
    camera = Camera(name)
    below = syspath(hub.plug(camera))

    def found() -> set[str]:
        return {each.parent.name for each in below.glob("*/video4linux/video*/dev")}

    # Pictures, and what is known of each.
    eventually(lambda: len(found()) == 2, DEADLINE, pause=0.05)
    settle()
    for each in found():
        number = Path(f"/sys/class/video4linux/{each}/dev").read_text().strip()
        said = Path(f"/run/udev/data/c{number}").read_text()
        # Without that the case proves nothing. Our rule has replaced the slot.
        lines = [each for each in f"ID_V4L_PRODUCT={name}".split("\n") if not each.startswith("HOTPLUGD_")]
        assert [each for each in lines if f"E:{each}\n" not in said] == []
    return camera, {f"/dev/{each}" for each in found()}


def inside(container: Container) -> set[str]:
    return {each for each in container.nodes() if each.startswith(("/dev/video", "/dev/vcs", "/dev/mem"))}


def test_what_is_installed_prints_a_name_and_our_rule_takes_the_camera(
    hub: Hub, launch: Launch, daemon: StartDaemon
) -> None:
    container = launch("c1")
    daemon("rules:\n" + rule(NODES, "{to: c1}"))
    _, nodes = plugged(hub, "Lab camera")
    eventually(lambda: inside(container) == nodes, DEADLINE, pause=0.05)


@pytest.mark.usefixtures("older")
@pytest.mark.parametrize("line", variants(HEARD, 2), ids=lambda line: line.partition("=")[0])
def test_it_is_what_it_is_and_gone_when_it_is_pulled(
    hub: Hub, launch: Launch, daemon: StartDaemon, line: str
) -> None:
    container = launch("c1")
    running = daemon("rules:\n" + rule(NODES, "{to: c1}"))
    for _ in range(2):
        camera, nodes = plugged(hub, f"P\n{line}")
        eventually(lambda: inside(container) == attached(running) == nodes, DEADLINE, pause=0.05)  # noqa: B023
        assert running.status()["problems"] == []
        sources = [each["source"] for each in container.devices.values() if "source" in each]
        assert not [each for each in sources if each.endswith("-1")]
        hub.unplug(camera)
        eventually(lambda: not inside(container) and not attached(running), DEADLINE, pause=0.05)


@pytest.mark.usefixtures("older")
@pytest.mark.parametrize("line", variants(UNHEARD, 1), ids=["another's", "gone", "no action", "no number"])
def test_what_it_says_of_others_counts_for_nothing(
    hub: Hub, launch: Launch, daemon: StartDaemon, line: str
) -> None:
    container, other = launch("c1"), launch("c2")
    with Console() as console:
        text = "rules:\n" + rule(f"{{subsystem: vc, kernel: vcsa{console.number}}}", "{to: c2}", "two")
        running = daemon(text + rule(NODES, "{to: c1}"))
        eventually(lambda: inside(other) == {console.node}, DEADLINE, pause=0.05)
        camera, nodes = plugged(hub, f"P\n{line.format(number=console.number)}")
        steadily(lambda: inside(other) == {console.node} and inside(container) <= nodes, 2)
        assert attached(running) <= {console.node, *nodes}
        assert running.status()["problems"] == []
        # All are listed, as every five minutes.
        never = rule("{subsystem: video4linux, attr: {name: nothing}}", "{to: c1}", "never")
        running.write_rules(text + never + rule(NODES, "{to: c1}"))
        running.reload()
        eventually(lambda: inside(container) == nodes, DEADLINE, pause=0.05)
        hub.unplug(camera)
        eventually(lambda: not inside(container), DEADLINE, pause=0.05)
        steadily(lambda: inside(other) == {console.node} and attached(running) == {console.node}, 2)
