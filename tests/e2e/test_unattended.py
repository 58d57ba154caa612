"""A device that is pulled while its instance stops and no daemon runs: a server may hang by that."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.test_stopping import (
    IGNORED,
    end_file_server,
    in_background,
    is_in,
    is_stopping,
    links,
    ours,
    rules,
    start,
    stop,
)
from tests.support.lab.api import Api
from tests.support.lab.daemon import Daemon
from tests.support.lab.kernel import Console
from tests.support.lab.server import Server
from tests.support.lab.udevd import settle
from tests.support.lab.wait import NotInTime, eventually, steadily

# One that a forced stop does not end either.
NOT_KILLED = {"raw.lxc": "lxc.signal.stop = SIGURG"}
# Seconds after which a stop that is not over, though nothing keeps it, will never be.
HANGS = 3.0


@contextmanager
def source() -> Iterator[Path]:
    """A link in /dev, as entries may name that are not hotplugd's."""
    path = Path(f"/dev/hp-source-{os.getpid()}")
    path.symlink_to("/dev/zero")
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


# Another hotplugd that starts just then would hold the links, and udevd leave them to it.
@pytest.mark.alone
def test_udevd_removes_all_and_the_next_device_of_the_number_stays_out(
    own_server: Server, console: Console
) -> None:
    """Whether the server hangs by it, and has to be killed, or not."""
    container = own_server.launch(config=IGNORED)
    with Daemon(own_server.socket, rules(container, console)) as running:
        console.plug()
        eventually(lambda: is_in(container, console))
        entry = ours(container)
        running.stop()
        init = container.pid
        end_file_server(container)
        with in_background(lambda: stop(container)) as stopped:
            eventually(lambda: is_stopping(container))
            console.unplug()
            settle()
            assert links(console) == []
            console.plug()
            os.kill(init, signal.SIGKILL)
            with suppress(NotInTime):
                eventually(stopped.done, HANGS)
            own_server.kill()
        own_server.start()
        start(container)
        assert ours(container) == entry
        assert container.look(console.node) is None
        running.start()
        eventually(lambda: is_in(container, console) and ours(container) != entry)
        console.unplug()
        eventually(lambda: not ours(container) and not links(console))


@pytest.mark.parametrize("force", [False, True], ids=["cleanly", "by force"])
def test_a_server_hangs_by_anybodys_entry(own_server: Server, *, force: bool) -> None:
    """Without hotplugd: what README says of a pull while it does not run is the server's own limit."""
    with ExitStack() as undo:
        watched = undo.enter_context(source())
        entry = {"type": "unix-char", "source": str(watched), "path": "/dev/watched", "required": "false"}
        container = own_server.launch(config=NOT_KILLED if force else IGNORED, devices={"watched": entry})
        other = own_server.launch()
        assert container.look("/dev/watched")
        init = container.pid
        end_file_server(container)
        how = container.stop if force else partial(stop, container)
        stopped = undo.enter_context(in_background(how))
        eventually(lambda: is_stopping(container))
        steadily(lambda: not stopped.done(), 0.5)
        watched.unlink()
        steadily(lambda: not stopped.done(), 0.5)
        os.kill(init, signal.SIGKILL)
        steadily(lambda: not stopped.done(), HANGS)
        # And no other instance's entry can be changed any more.
        api = Api(own_server.socket, timeout=HANGS)
        with pytest.raises(TimeoutError):
            api.request("PATCH", f"/1.0/instances/{other.name}", {"devices": {"watched": entry}})
        own_server.kill()
    own_server.start()
    start(container)
    assert container.look("/dev/watched") is None
    # No stop of the server's ends what no signal of its ends.
    os.kill(container.pid, signal.SIGKILL)
    eventually(lambda: container.config["status"] == "Stopped")
