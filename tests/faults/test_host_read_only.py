"""/run cannot be written, as on a host that boots read-only or whose tmpfs was remounted.

A start ends with a clear error, since nobody could ask a daemon without a control socket how it is; the
service manager tries again. One that runs goes on: what it made is still there.

The script that people write does not fail here: it has nothing in /run, and nobody can ask it anything.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.host import rules, there
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.kernel import Console
from tests.support.lab.server import Server
from tests.support.lab.wait import eventually

# For the command alone there is another /run, with what udevd keeps there in it.
_OWN_RUN = (
    "unshare", "--mount", "sh", "-c",
    (
        "mkdir -p /tmp/{name} && mount --bind /run /tmp/{name} && mount -t tmpfs tmpfs /run"
        " && mkdir -p /run/udev && mount --bind /tmp/{name}/udev /run/udev && umount /tmp/{name}"
        ' && rmdir /tmp/{name} {then} && exec "$@"'
    ), "sh",
)  # fmt: skip
_READ_ONLY = "mount -o remount,ro /run"


@pytest.fixture
def configure(
    server: Server, container: Container, consoles: Callable[[int], list[Console]], tmp_path: Path
) -> Callable[[str], tuple[Daemon, list[Console]]]:
    """A daemon whose control socket and udev rules are below /run."""

    def make(then: str) -> tuple[Daemon, list[Console]]:
        some = consoles(2)
        words = tuple(each.format(name=f"hpr-{id(some):x}", then=then) for each in _OWN_RUN)
        made = Daemon(server.socket, rules(str(container), *some), within=words)
        text = made.config.read_text().replace(str(made.control), "/run/hotplugd/control.sock")
        made.config.write_text(text.replace(f"{made.folder}/udev", "/run/hotplugd-leave/rules.d"))
        return made, some

    return make


def test_a_start_says_so_and_ends(configure: Callable[[str], tuple[Daemon, list[Console]]]) -> None:
    running, _ = configure(f"&& {_READ_ONLY}")
    try:
        running.spawn()
        assert running.wait() == 1
        last = json.loads(running.log().splitlines()[-1])
        assert last["event"] == "failed"
        assert last["reason"].startswith(
            "cannot make the control socket /run/hotplugd/control.sock: Read-only"
        )
    finally:
        running.close()


def test_one_that_runs_goes_on(
    container: Container, configure: Callable[[str], tuple[Daemon, list[Console]]]
) -> None:
    running, (one, other) = configure("")
    with running:
        one.plug()
        eventually(lambda: there(container, one))
        subprocess.run(["nsenter", f"--target={running.pid}", "--mount", *_READ_ONLY.split()], check=True)
        other.plug()
        eventually(lambda: there(container, other))
        # Other rules, and with them other udev rules that cannot be written.
        running.write_rules(rules(str(container), one))
        running.reload()
        eventually(lambda: container.look(other.node) is None)
        eventually(lambda: '"leave-alone.problem"' in running.log())
        assert there(container, one)
        # Its socket cannot be taken away. That hurts nobody: the next one sees that it is unused.
        assert running.stop() == 0
    assert '"defect"' not in running.log()
