"""What people do to a host, and what hotplugd makes of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from signal import Signals
from typing import cast

import pytest

from hotplugd.host.journals import Notes
from hotplugd.host.server_lock import is_alone
from tests.conftest import StartDaemon
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.fuse import hanging
from tests.support.lab.inside import Seen
from tests.support.lab.kernel import Console, Zram
from tests.support.lab.server import Server
from tests.support.lab.wait import eventually, steadily

_CLOCK_TICKS = 100  # a second, as /proc/PID/stat counts (proc(5), sysconf(_SC_CLK_TCK))


def rules(*, to: str, kernel: str, subsystem: str = "vc", more: str = "") -> str:
    """One rule."""
    return (
        "rules:\n"
        f"  - name: one\n    match: {{subsystem: {subsystem}, kernel: '{kernel}'}}\n"
        f"    attach: {{to: {to}{more}}}\n"
    )


def names(*consoles: Console) -> str:
    """A pattern of exactly these."""
    return "|".join(f"vcsa{each.number}" for each in consoles)


def there(container: Container, console: Console, path: str = "") -> bool:
    seen = container.look(path or console.node)
    return seen is not None and seen.number == f"c 7:{128 + console.number}"


def look(container: Container, path: str, deadline: float = 20.0) -> Seen:
    """The node, as soon as there is one."""
    seen = eventually(lambda: container.look(path), deadline)
    assert seen is not None
    return seen


def ours(container: Container) -> dict[str, dict[str, str]]:
    return {name: each for name, each in container.devices.items() if name.startswith("hp-")}


def cpu(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _CLOCK_TICKS


def test_what_is_plugged_is_inside_and_what_is_pulled_is_gone(
    container: Container, console: Console, daemon: StartDaemon
) -> None:
    daemon(rules(to=str(container), kernel=names(console)))
    console.plug()
    eventually(lambda: there(container, console))
    console.unplug()
    eventually(lambda: container.look(console.node) is None)
    eventually(lambda: not ours(container))


def test_what_was_plugged_before_the_start_is_inside_when_it_is_ready(
    container: Container, console: Console, daemon: StartDaemon
) -> None:
    console.plug()
    daemon(rules(to=str(container), kernel=names(console)))
    assert there(container, console)


def test_a_disk_goes_in_and_comes_out(container: Container, zram: Zram, daemon: StartDaemon) -> None:
    zram.plug()
    daemon(
        rules(to=str(container), subsystem="block", kernel=zram.name, more=", path: /dev/disk, mode: '0600'")
    )
    seen = look(container, "/dev/disk")
    assert (seen.kind, seen.mode) == ("block", 0o600)
    zram.unplug()
    eventually(lambda: container.look("/dev/disk") is None)


def test_names_of_users_and_groups_are_those_of_the_container(
    container: Container, console: Console, daemon: StartDaemon
) -> None:
    more = ", user: daemon, group: dialout, mode: '0640'"
    console.plug()
    daemon(rules(to=str(container), kernel=names(console), more=more))
    seen = look(container, console.node)
    assert (seen.uid, seen.gid, seen.mode) == (1, 20, 0o640)


def test_a_group_that_is_made_later_is_found_later(
    container: Container, console: Console, daemon: StartDaemon
) -> None:
    console.plug()
    running = daemon(rules(to=str(container), kernel=names(console), more=", group: lab"))
    problems = cast("list[dict[str, str]]", running.status()["problems"])
    assert "no group 'lab'" in problems[0]["message"]
    container.run("sh", "-c", "echo lab:x:777: >> /etc/group")
    seen = look(container, console.node, 30)
    assert seen.gid == 777


def test_an_instance_that_starts_later_gets_its_devices(
    launch: Callable[..., Container], console: Console, daemon: StartDaemon
) -> None:
    console.plug()
    running = daemon(rules(to="later", kernel=names(console)))
    assert "no instance 'later'" in str(running.status()["problems"])
    container = launch("later")
    eventually(lambda: there(container, console))
    # Until then the server is busy with our request, and says so to others.
    eventually(lambda: running.status()["attachments"])
    container.restart()
    eventually(lambda: there(container, console))
    eventually(running.is_fine)


def test_instances_of_other_projects_are_other_instances(
    server: Server, launch: Callable[..., Container], console: Console, daemon: StartDaemon
) -> None:
    server.project("lab")
    here, elsewhere = launch("twin"), launch("twin", project="lab")
    console.plug()
    daemon(rules(to="twin", kernel=names(console), more=", project: lab"))
    eventually(lambda: there(elsewhere, console))
    assert here.look(console.node) is None
    assert not ours(here)


def test_what_is_not_ours_keeps_its_path(
    launch: Callable[..., Container], console: Console, daemon: StartDaemon
) -> None:
    foreign = {"type": "unix-char", "source": "/dev/zero", "path": "/dev/screen"}
    container = launch(devices={"screen": foreign})
    console.plug()
    running = daemon(rules(to=str(container), kernel=names(console), more=", path: /dev/screen"))
    assert "'screen', which is not ours" in str(running.status()["problems"])
    seen = container.look("/dev/screen")
    assert seen is not None
    assert seen.number == "c 1:5"
    container.remove_device("screen")
    eventually(lambda: there(container, console, "/dev/screen"))


def test_after_a_crash_it_goes_on_as_if_it_had_lived(
    container: Container, consoles: Callable[[int], list[Console]], daemon: StartDaemon
) -> None:
    stays, goes, comes = consoles(3)
    stays.plug()
    goes.plug()
    running = daemon(rules(to=str(container), kernel=names(stays, goes, comes)))
    eventually(lambda: there(container, goes))
    before = {name for name, each in ours(container).items() if each["path"] == stays.node}
    running.kill()
    goes.unplug()
    comes.plug()
    running.start()
    eventually(lambda: there(container, comes) and container.look(goes.node) is None)
    assert there(container, stays)
    assert before == {name for name, each in ours(container).items() if each["path"] == stays.node}


def test_killed_at_any_point_of_a_storm_it_converges(
    containers: tuple[Container, Container], consoles: Callable[[int], list[Console]], daemon: StartDaemon
) -> None:
    one, two = containers
    some = consoles(6)
    foreign = {"cam": {"type": "unix-char", "source": "/dev/zero", "path": "/dev/cam"}}
    one.patch({"devices": foreign})
    running = daemon(rules(to=f"[{one}, {two}]", kernel=names(*some)))
    for number in range(8):
        for each in some[number % 2 :: 2]:
            each.unplug()
            each.plug()
        # Plugging takes long enough for each kill to find it at another point.
        steadily(lambda: True, 0.004 * number)
        running.kill()
        some[number % 6].unplug()
        running.spawn()
        running.wait_for("READY=1")
    plugged = [each for each in some if each.plugged]
    pulled = [each for each in some if not each.plugged]
    assert plugged
    assert pulled
    both = (one, two)
    eventually(lambda: all(there(container, each) for each in plugged for container in both))
    eventually(lambda: not any(container.look(each.node) for each in pulled for container in both))
    eventually(lambda: all(len(ours(container)) == len(plugged) for container in both))
    assert {name: each for name, each in one.devices.items() if not name.startswith("hp-")} == foreign


def test_a_device_that_is_replugged_while_it_is_down_is_another(
    container: Container, zram: Zram, daemon: StartDaemon
) -> None:
    zram.plug()
    number, node = zram.number, zram.node
    running = daemon(rules(to=str(container), subsystem="block", kernel=zram.name))
    look(container, node)
    ((name, before),) = ours(container).items()
    running.kill()
    zram.unplug()
    zram.plug()
    assert zram.number == number
    # So the entry leads nowhere. LXD takes the node out by its watch, which may lose such an event.
    eventually(lambda: not Path(before["source"]).is_symlink())
    running.start()
    eventually(lambda: ours(container) and name not in ours(container))
    look(container, node)


@pytest.mark.alone
def test_a_server_that_was_away_is_caught_up_with(
    own_server: Server, consoles: Callable[[int], list[Console]]
) -> None:
    container = own_server.launch()
    stays, goes, comes = consoles(3)
    stays.plug()
    goes.plug()
    with Daemon(own_server.socket, rules(to=str(container), kernel=names(stays, goes, comes))) as running:
        eventually(lambda: there(container, goes))
        pid = container.pid
        own_server.stop()
        goes.unplug()
        comes.plug()
        eventually(lambda: not cast("dict[str, bool]", running.status()["server"])["connected"])
        before, start = cpu(running.pid), time.monotonic()
        steadily(lambda: container.pid == pid, 3.0)
        assert cpu(running.pid) - before < 0.1 * (time.monotonic() - start), "it is busy waiting"
        own_server.start()
        eventually(lambda: there(container, comes) and container.look(goes.node) is None, 30)
        assert there(container, stays)
        eventually(running.is_fine)


def test_a_server_that_crashes_at_any_point_of_a_request_is_caught_up_with(
    own_server: Server, console: Console
) -> None:
    container = own_server.launch()
    with Daemon(own_server.socket, rules(to=str(container), kernel=names(console))) as running:
        for number in range(8):
            console.unplug()
            console.plug()
            # Plugging takes long enough for each crash to find it at another point.
            steadily(lambda: True, 0.003 * number)
            own_server.kill()
            own_server.start()
            eventually(lambda: there(container, console), 30)
        eventually(running.is_fine)
        eventually(lambda: len(ours(container)) == 1)


def test_it_ends_in_time_while_the_server_hangs(own_server: Server, console: Console) -> None:
    container = own_server.launch()
    with Daemon(own_server.socket, rules(to=str(container), kernel=names(console))) as running:
        own_server.freeze()
        try:
            console.plug()
            assert running.stop(5.0) == 0
        finally:
            own_server.thaw()


def test_a_server_that_hangs_for_a_while_is_waited_for(own_server: Server, console: Console) -> None:
    container = own_server.launch()
    with Daemon(own_server.socket, rules(to=str(container), kernel=names(console))) as running:
        assert container.pid
        own_server.freeze()
        console.plug()
        steadily(lambda: container.look(console.node) is None, 2.0)
        own_server.thaw()
        eventually(lambda: there(container, console))
        assert running.status()["ready"]


def test_the_daemon_starts_before_the_server(own_server: Server, console: Console) -> None:
    container = own_server.launch()
    own_server.stop()
    console.plug()
    with Daemon(own_server.socket, rules(to=str(container), kernel=names(console))) as running:
        assert "is not running" in str(running.status()["problems"])
        own_server.start()
        eventually(lambda: there(container, console), 30)


def test_one_that_cannot_be_attached_holds_up_no_other(
    container: Container, consoles: Callable[[int], list[Console]], daemon: StartDaemon
) -> None:
    some = consoles(12)
    bad = some[5]
    # A folder in its place with something in it: the server cannot make the node.
    container.run("mkdir", "-p", f"{bad.node}/full")
    container.run("touch", f"{bad.node}/full/file")
    running = daemon(rules(to=str(container), kernel=names(*some)))
    for each in some:
        each.plug()
    others = [each for each in some if each is not bad]
    eventually(lambda: all(there(container, each) for each in others))
    problems = eventually(lambda: cast("list[dict[str, str]]", running.status()["problems"]))
    assert [each["device"] for each in problems] == [bad.node]
    container.run("rm", "-r", bad.node)
    eventually(lambda: there(container, bad), 30)
    eventually(running.is_fine)


def test_a_storm_is_over_soon_and_every_device_is_where_it_should_be(
    containers: tuple[Container, Container], consoles: Callable[[int], list[Console]], daemon: StartDaemon
) -> None:
    one, two = containers
    some = consoles(16)
    odd = "|".join(f"vcsa{each.number}" for each in some if each.number % 2)
    text = rules(to=str(one), kernel=odd)
    text += (
        f"  - name: rest\n    match: {{subsystem: vc, kernel: '{names(*some)}'}}\n    attach: {{to: {two}}}\n"
    )
    running = daemon(text)
    for each in some:
        each.plug()
    eventually(lambda: all(there(one if each.number % 2 else two, each) for each in some))
    for each in some:
        assert (two if each.number % 2 else one).look(each.node) is None
    requests = {
        (each["instance"], each["since"])
        for each in cast("list[dict[str, str]]", running.status()["attachments"])
    }
    assert len(requests) < len(some), "each device went in a request of its own"
    for each in some:
        each.unplug()
    eventually(lambda: not any(one.look(each.node) or two.look(each.node) for each in some))


def test_a_link_in_place_of_the_node_does_not_fool_it(
    container: Container, console: Console, daemon: StartDaemon
) -> None:
    console.plug()
    running = daemon(rules(to=str(container), kernel=names(console), more=", path: /dev/screen"))
    eventually(lambda: there(container, console, "/dev/screen"))
    container.run("sh", "-c", f"umount /dev/screen; rm -f /dev/screen; ln -s {console.node} /dev/screen")
    eventually(lambda: there(container, console, "/dev/screen") or _is_a_problem(running))
    assert container.run("readlink", "/dev/screen").output == "" or _is_a_problem(running)


def _is_a_problem(running: Daemon) -> bool:
    status = running.status()
    attached = cast("list[dict[str, object]]", status["attachments"])
    return bool(status["problems"]) or not all(each["verified"] for each in attached)


@pytest.mark.alone
def test_a_file_system_that_hangs_inside_holds_up_no_other_instance(
    containers: tuple[Container, Container], consoles: Callable[[int], list[Console]], daemon: StartDaemon
) -> None:
    one, two = containers
    stuck, other, late = consoles(3)
    stuck.plug()
    text = rules(to=str(one), kernel=names(stuck), more=", path: /dev/lab/screen")
    text += (
        rules(to=str(two), kernel=names(other, late))
        .replace("name: one", "name: two")
        .removeprefix("rules:\n")
    )
    running = daemon(text)
    assert there(one, stuck, "/dev/lab/screen")
    with hanging(one, "user", "mnt", place="/dev/lab"):
        eventually(lambda: "cannot look inside" in str(running.status()["problems"]))
        start = time.monotonic()
        other.plug()
        eventually(lambda: there(two, other))
        late.plug()
        eventually(lambda: there(two, late))
        other.unplug()
        eventually(lambda: two.look(other.node) is None)
        assert time.monotonic() - start < 2.0

        def verified() -> dict[object, object]:
            attachments = cast("list[dict[str, object]]", running.status()["attachments"])
            return {each["instance"]: each["verified"] for each in attachments}

        eventually(lambda: verified() == {str(one): False, str(two): True})
    eventually(running.is_fine, 60)


@pytest.mark.alone
def test_who_takes_a_node_out_again_and_again_does_not_keep_it_busy(
    container: Container, console: Console, daemon: StartDaemon
) -> None:
    console.plug()
    running = daemon(rules(to=str(container), kernel=names(console)))
    before, start = cpu(running.pid), time.monotonic()
    container.run("sh", "-c", f"for i in $(seq 400); do umount {console.node} 2>/dev/null; sleep 0.01; done")
    seconds = time.monotonic() - start
    assert seconds > 3
    assert running.log().count("device.repair") < 3 + seconds * 2
    assert cpu(running.pid) - before < 0.25 * seconds
    eventually(lambda: there(container, console), 60)


@pytest.mark.parametrize("number", [Signals.SIGTERM, Signals.SIGINT])
def test_what_is_attached_stays_when_it_ends(
    container: Container, console: Console, daemon: StartDaemon, number: Signals
) -> None:
    console.plug()
    running = daemon(rules(to=str(container), kernel=names(console)))
    running.send(number)
    assert running.wait(5.0) == 0
    assert there(container, console)
    assert not running.control.exists()


@pytest.mark.alone
def test_links_that_a_crash_left_behind_go_also_where_another_device_has_the_number_now(
    server: Server, container: Container, console: Console, daemon: StartDaemon
) -> None:
    console.plug()
    left = Path(f"/dev/hotplugd/c-7-{128 + console.number}-1")
    nowhere = left.with_name("c-7-9999-1")
    left.parent.mkdir(exist_ok=True)
    for link, node in ((left, console.node), (nowhere, "/dev/no-such-node")):
        link.symlink_to(node)
        link.with_name(f"{link.name}.r").symlink_to(node)
        link.with_name(f"{link.name}.made").touch()
    alone = is_alone(str(server.socket))
    running = daemon(rules(to=str(container), kernel=names(console)))
    eventually(lambda: there(container, console))
    found = {each.name for each in left.parent.glob(f"c-7-{128 + console.number}-*")}
    swept = sum(f'{{"slot": "{each.name}"' in running.log() for each in (left, nowhere))
    # Where another hotplugd runs, of another test, it might have them in use.
    assert swept == 2 or not (alone and is_alone(str(server.socket)))
    assert len(found) == (4 if swept == 2 else 7)
    assert not list(left.parent.glob("c-7-9999-*"))
    for each in (left, left.with_name(f"{left.name}.r"), left.with_name(f"{left.name}.made")):
        each.unlink(missing_ok=True)


@pytest.mark.parametrize("both", [False, True], ids=["the server", "both"])
def test_a_device_that_is_pulled_after_they_were_killed_over_it_does_not_stay(
    own_server: Server, console: Console, *, both: bool
) -> None:
    container = own_server.launch()
    with Daemon(own_server.socket, rules(to=str(container), kernel=names(console))) as running:
        for _ in range(4):
            console.plug()
            eventually(lambda: container.look(console.node), pause=0.0003)
            own_server.kill()
            if both:
                running.kill()
            console.unplug()
            own_server.start()
            if both:
                running.start()
            eventually(lambda: container.look(console.node) is None, 40)
            eventually(lambda: not ours(container))
        # A server that ends again and again is looked for ever more slowly.
        eventually(running.is_fine)
    notes = Notes(str(own_server.socket))
    notes.read()
    assert notes.names() == []
