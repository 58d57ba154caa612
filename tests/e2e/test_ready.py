"""Whether devices are ready inside real containers, and what becomes of those that are not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conftest import StartDaemon
from tests.e2e.test_pools import claiming, had, pool, rules, told
from tests.support.lab.container import Container
from tests.support.lab.kernel import Console
from tests.support.lab.wait import eventually

pytestmark = pytest.mark.pools

Launch = Callable[..., Container]
# A busy machine takes seconds for each command inside, and two have to end.
_SLOW = 60.0
COMMAND = ", ready: {command: [/bin/test, -e, /tmp/ready], within: 2s, every: 1s}"
# What an adb server answers, served by what is inside: it listens, and answers whoever asks.
SERVER = "while :; do nc -l -p 5037 -e /tmp/answer; done"


def test_a_ready_device_is_good_and_an_unready_one_bad(
    launch: Launch, console: Console, daemon: StartDaemon
) -> None:
    console.plug()
    job = launch(config=claiming())
    farm = daemon(rules([console], COMMAND))
    eventually(lambda: [each["health"] for each in pool(farm, "devices")] == ["bad"], _SLOW)
    assert had(job, [console]) == [console.number]
    (message,) = told(farm)
    assert f"/dev/vcsa{console.number} in {job.name} is attached and not ready for " in message
    assert "the command exited with 1" in message
    assert "bad" in farm.ask("pool").stdout

    job.run("/bin/touch", "/tmp/ready")
    eventually(lambda: [each["health"] for each in pool(farm, "devices")] == ["good"])
    eventually(lambda: told(farm) == [])
    log = farm.log()
    assert log.count("health.problem") == log.count("problem.over") == 2
    assert farm.is_fine()


def test_a_bad_device_goes_to_no_other_claim(launch: Launch, console: Console, daemon: StartDaemon) -> None:
    console.plug()
    first = launch(config=claiming())
    farm = daemon(rules([console], COMMAND))
    eventually(lambda: [each["health"] for each in pool(farm, "devices")] == ["bad"], _SLOW)
    second = launch(config=claiming())
    first.delete()
    eventually(lambda: [each["state"] for each in pool(farm, "devices")] == ["free"])
    assert had(second, [console]) == []
    # Somebody plugs it in anew.
    console.unplug()
    console.plug()
    eventually(lambda: had(second, [console]) == [console.number])


def test_a_command_that_hangs_in_one_container_holds_up_no_other(
    launch: Launch, consoles: Callable[[int], list[Console]], daemon: StartDaemon
) -> None:
    phones = consoles(2)
    numbers = sorted(each.number for each in phones)
    phones[0].plug()
    jobs = [launch(config=claiming()) for _ in range(2)]
    farm = daemon(rules(phones, ", ready: {command: [/bin/sleep, '3600'], timeout: 1s, every: 1s}"))
    eventually(
        lambda: any("the command was killed: it did not end within 1 s" in each for each in told(farm))
    )
    phones[1].plug()
    eventually(lambda: sorted(had(jobs[0], phones) + had(jobs[1], phones)) == numbers)
    jobs[0].stop()
    eventually(lambda: not any(jobs[0].name in each for each in told(farm)))


def test_the_adb_server_inside_is_asked_and_none_is_started(
    launch: Launch, console: Console, daemon: StartDaemon
) -> None:
    console.plug()
    job = launch(config=claiming())
    farm = daemon(rules([console], ", ready: adb"))
    eventually(lambda: pool(farm, "devices")[0]["health_reason"] == "no adb server runs inside")
    assert told(farm) == []
    line = "S unauthorized usb:1-1"
    script = f"#!/bin/sh\nhead -c 18 >/dev/null\necho 'OKAY{len(line):04x}{line}'\n"
    job.run("/bin/sh", "-c", 'printf %s "$0" >/tmp/answer; chmod 755 /tmp/answer', script)
    job.run("/bin/ifconfig", "lo", "127.0.0.1", "up")
    job.run("/bin/sh", "-c", f"({SERVER}) </dev/null >/dev/null 2>&1 &")
    eventually(lambda: [each for each in told(farm) if "adb does not list it" in each], 40)
