"""A real server behind a proxy, with hotplugd and the script that people write in front of it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self, cast

from hotplugd.app.control_client import get
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.kernel import Console
from tests.support.lab.proxy import Proxy
from tests.support.lab.script import Script
from tests.support.lab.server import Server
from tests.support.lab.wait import eventually

_CLOCK_TICKS: Final = 100  # a second, as /proc/PID/stat counts (proc(5), sysconf(_SC_CLK_TCK))
_WATCHDOG: Final = 1.0  # hotplugd feeds it twice in that


def there(container: Container, console: Console) -> bool:
    """Whether the console's node is inside, with its number."""
    seen = container.look(console.node)
    return seen is not None and seen.number == f"c 7:{128 + console.number}"


def ours(container: Container) -> list[str]:
    """The names of our entries."""
    return [name for name in container.devices if name.startswith("hp-")]


def rules(places: dict[str, str]) -> str:
    """Consoles by their kernel's name, each to an instance."""
    return "rules:\n" + "".join(
        f"  - {{name: {kernel}, match: {{subsystem: vc, kernel: {kernel}}}, attach: {{to: {instance}}}}}\n"
        for kernel, instance in places.items()
    )


class Bed:
    """What stays the same from fault to fault.

    hurt, well    instances of hotplugd, which the faults are about and not about
    theirs, idle  the same for the script
    one … four    a console for each
    """

    def __init__(self, server: Server, names: str) -> None:
        self.server = server
        self.proxy = Proxy(server.data / f"proxy-{names}", server.socket)
        self._undo = ExitStack()
        self._names = names

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            undo.enter_context(self.proxy)
            self.one, self.two, self.three, self.four = [self._console(undo) for _ in range(4)]
            words = ("hurt", "well", "theirs", "idle")
            self.hurt, self.well, self.theirs, self.idle = [
                self.server.launch(f"{self._names}-{each}") for each in words
            ]
            undo.callback(self._delete)
            text = rules({self.kernel(self.one): self.hurt.name, self.kernel(self.two): self.well.name})
            self.daemon = undo.enter_context(
                Daemon(self.proxy.socket, text, {**os.environ, "WATCHDOG_USEC": f"{_WATCHDOG * 1e6:.0f}"}),
            )
            self._next = self._script()
            undo.callback(self._close_script)
            self._undo = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._undo.close()

    @staticmethod
    def kernel(console: Console) -> str:
        """The kernel's name."""
        return f"vcsa{console.number}"

    @contextmanager
    def script(self) -> Iterator[Script]:
        """The script at work; it was started a while ago, since that takes it long."""
        try:
            with self._next as script:
                yield script
        finally:
            self._next = self._script()

    def status(self) -> dict[str, object]:
        """What hotplugd says of itself."""
        return get(self.daemon.control, "status")

    @property
    def connected(self) -> bool:
        """Whether hotplugd hears the server's events."""
        return cast("dict[str, bool]", self.status()["server"])["connected"]

    def told(self) -> str:
        """What hotplugd says is wrong, or has still to be done."""
        status = self.status()
        return str((status["problems"], status["pending"]))

    def pace(self, pattern: str, cpu: float = 0.2, seconds: float = 1.2) -> None:
        """See for a while that hotplugd lives, feeds its watchdog in time, and is not busy."""
        self.daemon.unfed(watched := time.time())
        start, before = time.monotonic(), self._cpu()
        while (passed := time.monotonic() - start) < seconds:
            self.daemon.wait_for("WATCHDOG=1", 5)
        unfed = self.daemon.unfed(watched)
        assert unfed <= _WATCHDOG, f"its watchdog hungered for {unfed:.1f} s"
        assert self._cpu() - before < cpu * passed, "it is busy"
        requests = self.proxy.count(pattern, since=start)
        assert requests < 10 + 12 * passed, f"{requests} requests in {passed:.1f} s"

    def settled(self, deadline: float = 12.0) -> None:
        """Wait until nothing is left to do or to be told of."""

        def settled() -> bool:
            assert self.told() == "([], [])", self.told()
            return self.connected

        eventually(settled, deadline)

    def launch_again(self) -> None:
        """Instances anew, of the names of those that the faults are about."""
        self.hurt, self.theirs = [self.server.launch(each.name) for each in (self.hurt, self.theirs)]

    def clean(self) -> None:
        """Pull everything, and see that nothing is left in hotplugd's instances."""
        for each in (self.one, self.two, self.three, self.four):
            each.unplug()
        eventually(lambda: not ours(self.hurt) and not ours(self.well))
        assert self.hurt.look(self.one.node) is None
        assert self.well.look(self.two.node) is None
        self.settled()
        for container in (self.theirs, self.idle):
            for name in container.devices:
                container.remove_device(name)

    # --- inner workings ---------------------------------------------------------------------------------

    def _console(self, undo: ExitStack) -> Console:
        console = Console()
        undo.callback(console.close)
        return console

    def _script(self) -> Script:
        places = {self.kernel(self.three): self.theirs.name, self.kernel(self.four): self.idle.name}
        return Script(self.proxy.socket, places)

    def _close_script(self) -> None:
        self._next.close()

    def _delete(self) -> None:
        for container in self.server.containers():
            if container.name.startswith(f"{self._names}-"):
                container.delete()

    def _cpu(self) -> float:
        fields = Path(f"/proc/{self.daemon.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _CLOCK_TICKS
