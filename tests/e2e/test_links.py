"""Links inside that lead to a device's node, whatever that is called today."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conftest import StartDaemon
from tests.support.lab.container import Container
from tests.support.lab.kernel import Console
from tests.support.lab.udevd import another_rule, trigger
from tests.support.lab.wait import eventually

LINK = "/dev/serial/by-id/usb-some.board-if00"


def rules(container: Container, console: Console) -> str:
    return (
        "rules:\n"
        f"  - name: one\n    match: {{subsystem: vc, kernel: {console.node.removeprefix('/dev/')}}}\n"
        f"    attach: {{to: {container}, link: ['{LINK}', /dev/board]}}\n"
    )


def target(container: Container, link: str = LINK) -> str:
    return container.run("readlink", link).output.strip()


def test_they_come_and_go_with_the_device(
    container: Container, console: Console, daemon: StartDaemon
) -> None:
    running = daemon(rules(container, console))
    console.plug()
    eventually(lambda: target(container) == console.node)
    eventually(lambda: target(container, "/dev/board") == console.node)
    container.restart()
    eventually(lambda: target(container) == console.node)
    console.unplug()
    eventually(lambda: not target(container) and not target(container, "/dev/board"))
    assert not running.status()["problems"]


def test_what_is_there_already_is_left_and_said(
    container: Container, console: Console, daemon: StartDaemon
) -> None:
    container.run("sh", "-c", "mkdir -p /dev/serial/by-id; echo mine > " + LINK)
    running = daemon(rules(container, console))
    console.plug()
    eventually(lambda: target(container, "/dev/board") == console.node)
    assert f"{LINK} in {container} is there already" in str(running.status()["problems"])
    assert container.run("cat", LINK).output == "mine\n"


def test_detaching_everything_takes_them_away(
    container: Container, console: Console, daemon: StartDaemon
) -> None:
    running = daemon(rules(container, console))
    console.plug()
    eventually(lambda: target(container) == console.node)
    eventually(lambda: target(container, "/dev/board") == console.node)
    running.write_rules(rules(container, console).replace("/dev/board", "/dev/other"))
    running.reload()
    eventually(lambda: target(container, "/dev/other") == console.node)
    # Killed: the link that no rule asks for may be there still.
    running.kill()
    done = running.ask("detach", "--all")
    assert done.returncode == 0, done.stderr
    for each in (LINK, "/dev/board", "/dev/other"):
        assert not target(container, each)


def test_a_folder_that_is_a_link_inside_leads_nowhere_outside(
    container: Container, console: Console, daemon: StartDaemon
) -> None:
    name = f"hotplugd-test-{os.getpid()}"
    container.run("sh", "-c", "ln -s /tmp /dev/serial")
    running = daemon(rules(container, console).replace(LINK, f"/dev/serial/{name}"))
    console.plug()
    eventually(lambda: "a folder on the way is a link" in str(running.status()["problems"]))
    assert not Path("/tmp", name).is_symlink()


@pytest.mark.alone
def test_udevs_own_links_and_properties_are_names_inside_and_follow_what_udev_says(
    container: Container, console: Console, daemon: StartDaemon
) -> None:
    kernel = console.node.removeprefix("/dev/")

    def said(name: str) -> str:
        links = f'SYMLINK+="hptest/by-id/{name} hptest/by-path/x"'
        return f'SUBSYSTEM=="vc", KERNEL=="{kernel}", ENV{{SOCKET}}="7", {links}\n'

    links = "[by-id, '/dev/socket-{property.SOCKET}']"
    attach = f"{{to: {container}, path: /dev/screen, link: {links}}}"
    with another_rule("98-hotplugd-test1.rules", said("$env{SOCKET}\\x20$kernel")):
        running = daemon(
            f"rules:\n  - {{name: a, match: {{subsystem: vc, kernel: {kernel}}}, attach: {attach}}}\n"
        )
        console.plug()
        first, second = f"/dev/hptest/by-id/7\\x20{kernel}", f"/dev/hptest/by-id/{kernel}"
        eventually(lambda: target(container, first) == "/dev/screen")
        eventually(lambda: target(container, "/dev/socket-7") == "/dev/screen")
        assert not target(container, "/dev/hptest/by-path/x")
        changes = len(running.changes())
        with another_rule("98-hotplugd-test2.rules", said("$kernel").replace("+=", "=")):
            trigger("--action=change", console.syspath)
            eventually(lambda: target(container, second) == "/dev/screen" and not target(container, first))
            assert len(running.changes()) == changes
            console.unplug()
            eventually(lambda: not target(container, second) and not target(container, "/dev/socket-7"))
        assert not running.status()["problems"]
