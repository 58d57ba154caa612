"""A server, four containers, a daemon and consoles; what should be where; and whether it is."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self, cast

from hotplugd.host.sysfs import boot
from hotplugd.model.entry import slot_links, slot_made, slot_node, slot_of_file
from tests.e2e.model import Instance, see
from tests.soak.figures import looked_into
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.kernel import Console
from tests.support.lab.patience import patiently
from tests.support.lab.server import Server
from tests.support.lab.udevd import trigger
from tests.support.lab.wait import ended, eventually

# The first four are in the rules; what is called otherwise gets nothing.
NAMES: Final = ("soak-a", "soak-b", "soak-c", "soak-d", "soak-e", "soak-f")
_IN_RULES: Final = 4
# Of a console: vcs and vcsa, not vcsu.
_TAKEN: Final = 2
_DEADLINE: Final = 90.0
_LINKS: Final = Path("/dev/hotplugd")
# What may be there of other tests: a lock, a note of what is put in, a link or the mark of one.
_KNOWN: Final = re.compile(
    r"\.(lock-|(adding|links|new-adding|new-links)-\w{16}-)\w{16}|[cb]-\d+-\d+-(\w{8}|boot)-i?\d+(\.r|\.node|\.made)?",
    re.ASCII,
)


class Scene:
    """Everything that a soak plays with.

    model   what is true of each container that is not hotplugd's to change
    starts  how often a daemon was started
    waited_for  what was not right yet when last it was not
    """

    def __init__(self, consoles: int) -> None:
        self.consoles: list[Console] = []
        self.containers: dict[str, Container] = {}
        self.model: dict[str, Instance] = {}
        self.starts = 0
        self.waited_for = ""
        self._ready = False
        self._count = consoles
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            for _ in range(self._count):
                self.consoles.append(Console())
                undo.callback(self.consoles[-1].close)
            self.server = undo.enter_context(Server())
            self._before = _links()
            # A few devices, each plugged more often than any that is in order: that is what a soak is.
            self.daemon = Daemon(self.server.socket, self._rules(), more="most_plugs: 0\n")
            undo.callback(self.daemon.close)
            self._undo = undo.pop_all()
        for name in NAMES[:_IN_RULES]:
            self.create(name)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._undo.close()

    def create(self, name: str) -> None:
        """A new container that runs."""
        self.containers[name] = self.server.launch(name, start=False)
        patiently(self.containers[name].start)
        self.model[name] = Instance(running=True)

    def home(self, place: int) -> Container | None:
        """The container that the console at this place is for, if it runs."""
        name = NAMES[place % _IN_RULES]
        return self.containers[name] if name in self.model and self.model[name].running else None

    # --- the daemon -------------------------------------------------------------------------------------

    def spawn(self) -> None:
        """Start hotplugd and wait for nothing."""
        self.daemon.spawn()
        self.starts += 1
        self._ready = False

    def be_ready(self) -> None:
        """Wait until hotplugd is ready, if nobody has since it was started."""
        if not self._ready:
            self.daemon.wait_for("READY=1", _DEADLINE)
            self._ready = True

    def crash(self) -> None:
        """Kill hotplugd, which must not have ended by itself."""
        assert not ended(self.daemon.pid), "hotplugd has ended by itself"
        self.daemon.kill()

    # --- what must hold ---------------------------------------------------------------------------------

    def see_rest(self) -> None:
        """See that everything becomes as it should be, and then stays so. Raises AssertionError."""
        self.be_ready()
        # A device that was pulled and is back looks right before anybody has heard of either. udevd goes
        # through the events of each device in order.
        plugged = [Path(node).name for each in self.consoles if each.plugged for node in each.nodes]
        if plugged:
            trigger("--action=change", *(f"/sys/class/vc/{name}" for name in plugged))
        self.waited_for = ""
        eventually(self._right_by_now, _DEADLINE, pause=0.05)
        answer = self.daemon.ask("plan", "--json")
        assert answer.returncode == 0, answer.stderr
        assert json.loads(answer.stdout)["changes"] == [], answer.stdout
        assert self._right()

    def _right_by_now(self) -> bool:
        try:
            return self._right()
        except AssertionError as error:
            self.waited_for = str(error)
            raise

    def _right(self) -> bool:
        self._see_links()
        assert not ended(self.daemon.pid), "hotplugd has ended by itself"
        for name, container in self.containers.items():
            see(container, self.model[name], self._wanted(name))
            self._see_files(container)
        held, running = looked_into(self.daemon.pid), sum(each.running for each in self.model.values())
        assert held <= running, f"hotplugd looks into {held} containers, and {running} run"
        status = self.daemon.status()
        for each in cast("list[dict[str, object]]", status["attachments"]):
            running = self.model[str(each["instance"])].running
            assert each["verified"] is (True if running else None), each
        # People did change the same entry again and again, by that die.
        known = (
            "changed again and again",
            *(f"no instance '{each}'" for each in NAMES if each not in self.model),
        )
        for problem in cast("list[dict[str, str]]", status["problems"]):
            assert any(each in problem["message"] for each in known), problem
        assert status["pending"] == []
        return True

    def _see_links(self) -> None:
        """Each node that a rule takes has one pair of links at most, with its mark; nothing else is there of
        this server or these consoles, or of a form that nothing should have.
        """
        found = _links()
        server = hashlib.sha256(os.path.realpath(self.server.socket).encode()).hexdigest()[:16]
        strange = {each for each in found - self._before if not _KNOWN.fullmatch(each)}
        left = strange | {each for each in found if server in each}
        for console in self.consoles:
            for place, minor in enumerate(_minors(console)):
                of_node = {each for each in found if each.startswith(f"c-7-{minor}-")}
                if not (console.plugged and place < _TAKEN and _is_pair(of_node, minor)):
                    left |= of_node
        assert left == {f".lock-{server}"}, f"{_LINKS} has {sorted(left)}"

    def _see_files(self, container: Container) -> None:
        """The server keeps no node of an entry that is no more (LXD: unix.<entry>.<path>, with - as --)."""
        entries = container.devices
        folder = self.server.socket.parent / "devices" / container.name
        kept = {each.name.split(".")[1].replace("--", "-") for each in folder.glob("unix.hp-*")}
        assert kept <= entries.keys(), f"{folder} has {kept}, and {container} has {sorted(entries)}"

    # --- rules, and the same without hotplugd's code ----------------------------------------------------

    def _rules(self) -> str:
        lines = ["rules:"]
        both = f'{{to: [{NAMES[0]}, {NAMES[1]}], mode: "0640"}}'
        for place, console in enumerate(self.consoles):
            number = console.number
            match, to = "{subsystem: vc, kernel: ", NAMES[place % _IN_RULES]
            lines += [
                f"  - {{name: own-{number}, match: {match}vcsa{number}}}, attach: {{to: {to}}}}}",
                f"  - {{name: both-{number}, match: {match}vcs{number}}}, attach: {both}}}",
            ]
        return "\n".join(lines) + "\n"

    def _wanted(self, name: str) -> Mapping[str, set[str]]:
        found: dict[str, set[str]] = {}
        for place, console in enumerate(self.consoles):
            if console.plugged:
                plain, attributes, _ = _minors(console)
                if NAMES[place % _IN_RULES] == name:
                    found[f"/dev/vcsa{console.number}"] = {f"c 7:{attributes}"}
                if name in NAMES[:2]:
                    found[f"/dev/vcs{console.number}"] = {f"c 7:{plain}"}
        return found


def _links() -> set[str]:
    return set(os.listdir(_LINKS)) if _LINKS.exists() else set()


def _is_pair(names: set[str], minor: int) -> bool:
    """Whether these are a slot's links, which lead to the device of this number, and its mark."""
    slot = slot_of_file(min(names, default=""), boot())
    links = [Path(each) for each in (*slot_links(slot), slot_node(slot))]
    right = bool(slot) and names == {*(each.name for each in links), Path(slot_made(slot)).name}
    return right and all(each.exists() and os.stat(each).st_rdev == os.makedev(7, minor) for each in links)


def _minors(console: Console) -> tuple[int, int, int]:
    """Of vcs, vcsa and vcsu (Linux: Documentation/admin-guide/devices.txt)."""
    return console.number, 128 + console.number, 64 + console.number
