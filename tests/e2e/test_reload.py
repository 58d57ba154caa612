"""Other rules and settings while the daemon runs, and a second daemon."""

from __future__ import annotations

import os
from collections.abc import Callable

from tests.conftest import StartDaemon
from tests.e2e.test_daemon import names, ours, rules, there
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.kernel import Console
from tests.support.lab.server import Server
from tests.support.lab.wait import eventually, steadily


class TestReload:
    def test_other_rules_count_at_once(
        self, containers: tuple[Container, Container], console: Console, daemon: StartDaemon
    ) -> None:
        one, two = containers
        console.plug()
        running = daemon(rules(to=str(one), kernel=names(console)))
        assert there(one, console)
        running.write_rules(rules(to=str(two), kernel=names(console), more=", path: /dev/other"))
        running.reload()
        eventually(lambda: there(two, console, "/dev/other") and one.look(console.node) is None)

    def test_broken_rules_change_nothing_and_are_told(
        self, container: Container, console: Console, daemon: StartDaemon
    ) -> None:
        console.plug()
        running = daemon(rules(to=str(container), kernel=names(console)))
        running.write_rules("rules:\n  - name: x\n    match: {serail: 1}\n    attach: {to: y}\n")
        running.reload()
        status = running.status()
        assert "unknown key 'serail'" in str(status["problems"])
        assert status["failed_reloads"] == 1
        assert there(container, console)
        running.write_rules(rules(to=str(container), kernel=names(console), more=", mode: '0604'"))
        running.reload()
        assert running.status()["problems"] == []
        eventually(lambda: (seen := container.look(console.node)) is not None and seen.mode == 0o604)

    def test_another_server_and_control_socket_are_taken_up(
        self, container: Container, own_server: Server, console: Console, daemon: StartDaemon
    ) -> None:
        other = own_server.launch(str(container))
        console.plug()
        running = daemon(rules(to=str(container), kernel=names(console)))
        assert there(container, console)
        old = running.control
        running.control = running.folder / "other.sock"
        running.config.write_text(
            f"server: {own_server.socket}\nrules: [{running.rules}]\ncontrol: {running.control}\n"
        )
        running.reload()
        eventually(lambda: there(other, console))
        eventually(lambda: running.control.exists() and not old.exists())
        assert there(container, console)

    def test_a_control_socket_that_cannot_be_had_leaves_the_old_settings_in_force(
        self, container: Container, console: Console, daemon: StartDaemon
    ) -> None:
        running = daemon(rules(to=str(container), kernel=names(console)))
        good = running.config.read_text()
        running.config.write_text(good.replace(str(running.control), "/proc/nowhere/control.sock"))
        running.reload()
        eventually(lambda: running.control.exists() and "/proc/nowhere" in running.log())
        running.config.write_text(good)
        status = eventually(running.status)
        assert status["failed_reloads"] == 1
        console.plug()
        eventually(lambda: there(container, console))


def test_whoever_looked_after_the_instances_before_a_reload_does_nothing_any_more(
    container: Container, consoles: Callable[[int], list[Console]], daemon: StartDaemon
) -> None:
    one, two = consoles(2)
    # Somebody that an instance lacks is looked for every 10 s.
    text = rules(to=str(container), kernel=names(one))
    text += rules(to=str(container), kernel=names(two), more=", user: nobody-has-it").partition("rules:\n")[2]
    one.plug()
    two.plug()
    running = daemon(text.replace("name: one", "name: two", 1))
    eventually(lambda: there(container, one))
    running.config.write_text(
        running.config.read_text().replace("udev_rules: ", "udev_rules: /run/nowhere #")
    )
    running.reload()
    one.unplug()
    eventually(lambda: not ours(container))
    steadily(lambda: not ours(container), 12)
    assert "device.repair" not in running.log()


class TestTwoDaemons:
    def test_the_second_says_so_and_ends(
        self, container: Container, daemon: StartDaemon, server: Server
    ) -> None:
        first = daemon(rules(to=str(container), kernel="vcsa62"))
        second = Daemon(server.socket, rules(to=str(container), kernel="vcsa62"))
        try:
            second.spawn()
            assert second.wait(10) == 1
            assert "another hotplugd on this host looks after" in second.log()
        finally:
            second.close()
        assert first.status()["ready"]

    def test_also_with_the_same_configuration(self, container: Container, daemon: StartDaemon) -> None:
        first = daemon(rules(to=str(container), kernel="vcsa62"))
        second = first.ask("run")
        assert second.returncode == 1
        assert "another hotplugd" in second.stderr
        assert first.status()["ready"]


def test_no_warning_of_python_is_met_in_a_whole_life(
    container: Container, console: Console, daemon: StartDaemon
) -> None:
    """What a newer Python warns of fails here, in the daemon as well."""
    running = daemon(
        rules(to=str(container), kernel=names(console)), {**os.environ, "PYTHONWARNINGS": "error"}
    )
    console.plug()
    eventually(lambda: container.look(console.node))
    running.reload()
    console.unplug()
    eventually(lambda: container.look(console.node) is None)
    assert running.is_fine()
    assert running.stop() == 0
    assert "Warning" not in running.log()
