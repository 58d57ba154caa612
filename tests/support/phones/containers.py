"""Containers with the host's programs in them: what adb and fastboot say there, and which nodes they have."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.support.lab.api import ServerError
from tests.support.lab.container import Container
from tests.support.lab.server import Manager
from tests.support.lab.wait import eventually
from tests.support.phones.hub import syspath

# Enumeration under emulation takes half a second; what is waited for is no figure.
DEADLINE = 30.0
# adb and all else of the host's, in a container that is nothing but busybox.
PROGRAMS = {"usr": {"type": "disk", "source": "/usr", "path": "/usr", "readonly": "true"}}

ADB = ("/usr/bin/env", "HOME=/root", "/usr/bin/adb")
FASTBOOT = ("/usr/bin/env", "HOME=/root", "/usr/bin/fastboot")


def launch(server: Manager, name: str = "", *, config: dict[str, str] | None = None) -> Container:
    """A new container in which adb runs."""
    one = server.launch(name, config=config, devices=PROGRAMS)
    # Where adb's own server listens; nobody else in there brings it up.
    assert one.run("ip", "link", "set", "lo", "up").code == 0
    return one


def adb(container: Container, *words: str) -> str:
    """The output of adb in there, which must succeed."""
    done = container.run(*ADB, *words)
    assert done.code == 0, f"adb {' '.join(words)} in {container}: {done.code}: {done.output}"
    return done.output


def adb_devices(container: Container) -> dict[str, str]:
    """What `adb devices` lists in there: states by serial number."""
    lines = adb(container, "devices").splitlines()
    rows = [line.split("\t") for line in lines[lines.index("List of devices attached") + 1 :]]
    return {row[0]: row[1] for row in rows if len(row) == 2}


def fastboot_devices(container: Container) -> set[str]:
    """The serial numbers that `fastboot devices` lists in there.

    After the tab Debian 12's says "fastboot", and Debian 13's the name of the interface, which is empty here.
    """
    done = container.run(*FASTBOOT, "devices")
    assert done.code == 0, f"fastboot in {container}: {done.code}: {done.output}"
    return {line.partition("\t")[0] for line in done.output.splitlines() if "\t" in line}


def usb_nodes(container: Container) -> set[str]:
    """The USB nodes in there."""
    return {path for path in container.nodes() if path.startswith("/dev/bus/usb/")}


def node_of(port: str) -> str:
    """The node of what is on this port, once the kernel has enumerated it."""

    def node() -> str:
        folder = syspath(port)
        try:
            bus, number = ((folder / name).read_text().strip() for name in ("busnum", "devnum"))
        except FileNotFoundError:
            return ""
        path = f"/dev/bus/usb/{int(bus):03}/{int(number):03}"
        return path if Path(path).exists() else ""

    return eventually(node, DEADLINE, pause=0.05)


def tty_number(port: str) -> str:
    """The number of the tty on this port, once there is one, as `c 188:0`."""

    def number() -> str:
        # What was on the port before may be going while this looks.
        with suppress(FileNotFoundError):
            found = [path.read_text().strip() for path in syspath(port).glob("*/ttyUSB*/tty/ttyUSB*/dev")]
            return f"c {found[0]}" if found else ""
        return ""

    return eventually(number, DEADLINE, pause=0.05)


def arrives(container: Container, port: str) -> str:
    """Wait until what is on this port is in there, under the right number. Returns its node."""
    path = node_of(port)
    eventually(lambda: path in usb_nodes(container), DEADLINE, pause=0.05)
    seen = container.look(path)
    number = (syspath(port) / "dev").read_text().strip()
    assert seen is not None
    assert seen.number == f"c {number}"
    return path


def leaves(container: Container, path: str) -> None:
    """Wait until this node is not in there any more."""
    eventually(lambda: path not in usb_nodes(container), DEADLINE, pause=0.05)


def once_it_is_free(act: Callable[[], None]) -> None:
    """Do this to a container as soon as the server lets us: it refuses while it updates the container."""

    def done() -> bool:
        try:
            act()
        except ServerError as error:
            if "busy" not in str(error):
                raise
            return False
        return True

    eventually(done, DEADLINE, pause=0.1)
