"""Two at once, as where somebody starts by hand what the service manager runs already."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.conftest import StartDaemon
from tests.faults.host import ours, rules, there
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.kernel import Console
from tests.support.lab.script import Script
from tests.support.lab.server import Server
from tests.support.lab.wait import eventually

pytestmark = pytest.mark.alone


def test_the_second_says_so_and_ends_while_the_first_goes_on_in_a_storm(
    server: Server, container: Container, consoles: Callable[[int], list[Console]], daemon: StartDaemon
) -> None:
    some = consoles(6)
    text = rules(str(container), *some)
    first = daemon(text)
    second = Daemon(server.socket, rules("nobody", *some))
    try:
        for _ in range(3):
            for each in some:
                each.unplug() if each.plugged else each.plug()
            start = time.monotonic()
            second.spawn()
            assert second.wait(20) == 1
            assert time.monotonic() - start < 10
        assert f"another hotplugd on this host looks after {server.socket} already" in second.log()
        assert '"device.' not in second.log()
        assert not second.control.exists()
    finally:
        second.close()
    eventually(lambda: all(there(container, each) for each in some))
    eventually(lambda: ours(container) == sorted(each.node for each in some))
    assert first.status()["problems"] == []


def test_of_two_of_the_script_that_people_write_one_ends_by_the_other(
    server: Server, container: Container, consoles: Callable[[int], list[Console]]
) -> None:
    some = consoles(5)
    places = {f"vcsa{each.number}": str(container) for each in some}
    with Script(server.socket, places) as one, Script(server.socket, places) as other:

        def storm() -> bool:
            for each in some:
                each.unplug() if each.plugged else each.plug()
            return not (one.running and other.running)

        eventually(storm, 30)
        assert "Exception" in (other if one.running else one).error
