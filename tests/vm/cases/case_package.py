"""The Debian package under systemd: installed, a first phone by the documentation, updated, removed, purged.

In this order: each case goes on where the one before ended.
"""

from __future__ import annotations

import json
import re
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPResponse
from pathlib import Path
from typing import cast

import pytest

from tests.support.lab.api import Json
from tests.support.lab.container import Container
from tests.support.lab.inside import Seen
from tests.support.lab.server import Manager
from tests.support.lab.wait import eventually
from tests.support.phones import Hub, Phone, containers
from tests.support.phones.containers import DEADLINE, adb_devices, usb_nodes
from tests.support.phones.hub import syspath

PROJECT = Path(__file__).parents[3]
SOCKET = Path("/var/lib/lxd/unix.socket")
HOTPLUGD = "/usr/bin/hotplugd"
# As the tutorial has them.
BOX, SERIAL = "ci-1", "1A0021"
RULES = Path("/etc/hotplugd/rules.d/50-phones.yaml")

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    """The phones stay plugged in from case to case."""
    subprocess.run(["modprobe", "vhci_hcd"], check=True)
    with Hub() as ports:
        yield ports


@pytest.fixture(scope="module")
def phone() -> Phone:
    return Phone(SERIAL)


@pytest.fixture(scope="module")
def box() -> Container:
    return Container(Manager(SOCKET).api, BOX)


def run(*words: str | Path, code: int = 0) -> str:
    """A program that must end so; its output."""
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=400)
    assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def install(name: str) -> str:
    """With dpkg, as apt-get would; `name` is that of the folder in which the package is."""
    (package,) = (PROJECT / "packages" / name).glob("*.deb")
    return run(
        "dpkg",
        "--force-confdef",
        "--force-confold",
        "--force-unsafe-io",
        "--path-include=/usr/share/*",
        "-i",
        package,
    )


def status() -> Json:
    done = subprocess.run([HOTPLUGD, "status", "--json"], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return cast("Json", json.loads(done.stdout))


def of_unit(name: str, unit: str = "hotplugd") -> str:
    return run("systemctl", "show", unit, "--property", name, "--value").strip()


def verified(box: Container) -> bool:
    found = cast("list[Json]", status()["attachments"])
    return [each["verified"] for each in found if each["instance"] == box.config["name"]] == [True]


def node_of(phone_at: str) -> str:
    number = (syspath(phone_at) / "devnum").read_text().strip()
    bus = (syspath(phone_at) / "busnum").read_text().strip()
    return f"/dev/bus/usb/{int(bus):03}/{int(number):03}"


@contextmanager
def never_gone(box: Container, node: str) -> Iterator[None]:
    """Fails where a node is not inside, or is another one, at any time meanwhile."""
    over = threading.Event()
    first = box.look(node)
    assert first is not None
    seen: list[Seen | None] = []

    def look() -> None:
        while not over.wait(0.1):
            seen.append(box.look(node))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert len(seen) > 5
    assert set(seen) == {first}


def test_it_is_installed_and_runs(hub: Hub) -> None:
    begun = time.monotonic()
    install("older")
    print(f"installed in {time.monotonic() - begun:.0f} s")
    assert (of_unit("ActiveState"), of_unit("UnitFileState")) == ("active", "enabled")
    assert of_unit("FragmentPath").endswith("/lib/systemd/system/hotplugd.service")
    assert Path(f"/proc/{of_unit('MainPID')}/exe").resolve() == Path("/usr/bin/python3").resolve()
    for each in (PROJECT / "systemd").glob("*.socket"):
        assert run("systemctl", "is-active", each.name) == "active\n"
    assert status()["attachments"] == []


def test_a_first_phone_goes_in_as_the_tutorial_says(hub: Hub, phone: Phone) -> None:
    server = Manager(SOCKET)
    server.initialise()
    box = containers.launch(server, BOX)
    place = hub.plug(phone)
    eventually((syspath(place) / "devnum").exists, DEADLINE)
    node = node_of(place)
    text = (PROJECT / "docs" / "tutorial.md").read_text()
    eventually(lambda: SERIAL in run(HOTPLUGD, "devices"), DEADLINE)
    RULES.write_text(re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)[0])
    assert run(HOTPLUGD, "check") == "1 rule, no errors\n"
    assert "my-phone" in run(HOTPLUGD, "explain", node)
    assert BOX in run(HOTPLUGD, "plan")
    run(HOTPLUGD, "reload")
    eventually(lambda: usb_nodes(box) == {node}, DEADLINE)
    eventually(lambda: verified(box), DEADLINE)
    eventually(lambda: adb_devices(box) == {SERIAL: "device"}, DEADLINE, pause=0.2)


def test_what_is_attached_stays_while_the_package_is_updated(hub: Hub, box: Container) -> None:
    (node,) = usb_nodes(box)
    before, pid = box.devices, of_unit("MainPID")
    config = Path("/etc/hotplugd/config.yaml")
    config.write_text(config.read_text() + "most_plugs: 17\n")
    begun = time.monotonic()
    with never_gone(box, node):
        install("newer")
        eventually(lambda: verified(box), DEADLINE)
    print(f"updated in {time.monotonic() - begun:.0f} s")
    assert box.devices == before
    assert of_unit("MainPID") not in (pid, "0")
    assert "most_plugs: 17" in config.read_text()
    assert status()["problems"] == []
    assert adb_devices(box) == {SERIAL: "device"}


def test_a_phone_is_pulled_and_comes_back_after_the_update(hub: Hub, phone: Phone, box: Container) -> None:
    hub.unplug(phone)
    eventually(lambda: usb_nodes(box) == set(), DEADLINE)
    hub.plug(phone)
    eventually(lambda: len(usb_nodes(box)) == 1, DEADLINE)
    eventually(lambda: verified(box), DEADLINE)


def test_metrics_and_the_page_are_found_as_their_pages_say(hub: Hub, phone: Phone) -> None:
    page = (PROJECT / "docs" / "how-to" / "monitoring.md").read_text()
    (command,) = re.findall(r"(?m)^# (systemctl .*)$", page)
    run(*command.split())
    eventually(lambda: 'hotplugd_devices{state="attached"} 1.0' in metrics(), DEADLINE)
    assert SERIAL not in metrics()
    with opened("/") as answer:
        assert b"/page.js" in answer.read()
    with opened("/page/stream") as answer:
        line = next(each.decode() for each in answer if each.startswith(b"data: {"))
    assert "attached" in line
    assert SERIAL not in line


def opened(path: str) -> HTTPResponse:
    return cast("HTTPResponse", urllib.request.urlopen(f"http://127.0.0.1:9417{path}", timeout=20))


def metrics() -> str:
    try:
        with opened("/metrics") as answer:
            return answer.read().decode()
    except OSError as error:
        return f"{error} " + of_unit("ActiveState", "hotplugd-serve")


def test_hooks_run_as_their_page_says(hub: Hub, phone: Phone, box: Container) -> None:
    page = (PROJECT / "docs" / "how-to" / "hooks.md").read_text()
    first = re.findall(r"```yaml\n(hooks:\n.*?)```", page, re.DOTALL)[0]
    bad = "  - {name: sad, on: device.add, run: [/bin/false]}\n"
    Path("/etc/hotplugd/hooks.yaml").write_text(first + bad)
    assert run(HOTPLUGD, "check").endswith("no errors\n")
    (command,) = re.findall(r"(?m)^# (systemctl enable .*)$", page)
    run(*command.split())
    kept = Path("/var/lib/hotplugd-hooks/cursor")
    eventually(kept.exists, 2 * DEADLINE)
    hub.unplug(phone)
    eventually(lambda: usb_nodes(box) == set(), DEADLINE)
    hub.plug(phone)
    eventually(lambda: any("hook 'sad' failed" in each for each in problems()), DEADLINE)
    eventually(lambda: len([each for each in told() if SERIAL in each]) >= 2, DEADLINE)
    # Who it is: its files are its own, and the rest of the host is not.
    assert kept.owner() == "hotplugd-hooks"
    assert of_unit("User", "hotplugd-hooks") == "hotplugd-hooks"
    run("systemctl", "restart", "hotplugd")
    eventually(lambda: any("hook 'sad' failed" in each for each in problems()), 2 * DEADLINE)
    Path("/etc/hotplugd/hooks.yaml").write_text(first)
    run("systemctl", "restart", "hotplugd-hooks")
    eventually(lambda: problems() == [], 2 * DEADLINE)
    eventually(lambda: verified(box), DEADLINE)


def problems() -> list[str]:
    done = subprocess.run([HOTPLUGD, "status", "--json"], capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        return [done.stderr]
    return [each["message"] for each in json.loads(done.stdout)["problems"]]


def told() -> list[str]:
    """What the first hook of the page wrote into the journal."""
    return run("journalctl", "--no-pager", "-t", "hotplugd-hooks").splitlines()


def test_what_is_attached_stays_when_the_package_is_removed(hub: Hub, phone: Phone, box: Container) -> None:
    (node,) = usb_nodes(box)
    with never_gone(box, node):
        said = run("dpkg", "--remove", "hotplugd")
    assert "devices that are attached (1) stay in their instances" in said
    assert not Path(HOTPLUGD).exists()
    # systemd may remember their names for some time.
    left = run("systemctl", "list-units", "--all", "--plain", "--no-legend", "hotplugd*").splitlines()
    assert [each for each in left if each.split()[1:4] != ["not-found", "inactive", "dead"]] == []
    assert RULES.exists()
    # The next device with its number is not in its place: udevd ends the link with the device.
    links = set(Path("/dev/hotplugd").glob("*.node"))
    assert len(links) == 1
    hub.unplug(phone)
    eventually(lambda: not any(each.is_symlink() for each in links), DEADLINE)


def test_purged_after_everything_was_taken_out_it_leaves_nothing(
    hub: Hub, phone: Phone, box: Container
) -> None:
    install("newer")
    hub.plug(phone)
    eventually(lambda: len(usb_nodes(box)) == 1, DEADLINE)
    eventually(lambda: verified(box), DEADLINE)
    text = (PROJECT / "docs" / "how-to" / "install.md").read_text()
    block = re.findall(r"(?m)^    (sudo .*?)(?: +#.*)?$", text[text.index("## Remove") :])[:3]
    assert block[2] == "sudo apt-get purge hotplugd"
    for each in block[:2]:
        run(*[HOTPLUGD if word == "hotplugd" and "detach" in each else word for word in each.split()[1:]])
    assert usb_nodes(box) == set()
    assert [each for each in box.devices if each.startswith("hp-")] == []
    said = run("dpkg", "--purge", "hotplugd")
    assert "stay" not in said
    # Its exit code says that there are none.
    assert run("systemctl", "list-unit-files", "--no-legend", "hotplugd*", code=1) == ""
    where = ("/etc", "/usr", "/var", "/run", "/dev")
    found = run(
        "find", *where, "-name", "*hotplugd*", "-not", "-path", "/var/log/*", "-not", "-path", "/var/cache/*"
    )
    assert found == ""
    names = run("cat", *(f"/etc/{each}" for each in ("passwd", "shadow", "group", "gshadow")))
    assert "hotplugd" not in names
    assert "b0b5e0ed8d2b4d1fa0d9b4c0a64fd101" not in run("journalctl", "--list-catalog")
