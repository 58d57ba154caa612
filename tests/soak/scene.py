"""A server, four containers, a daemon and devices; what should be where; and whether it is."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self, cast

from hotplugd.host.sysfs import boot
from hotplugd.model.claim_texts import LEASES
from hotplugd.model.entry import slot_links, slot_made, slot_node, slot_of_file
from tests.e2e.model import Instance, see
from tests.soak.devices import Part, parts
from tests.soak.figures import looked_into
from tests.soak.leases import KEY, POOL, TEXTS, see_leases
from tests.support.lab.api import Json
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.patience import patiently
from tests.support.lab.server import Server
from tests.support.lab.udevd import trigger
from tests.support.lab.wait import ended, eventually

# The first four are in the rules; what is called otherwise gets nothing.
NAMES: Final = ("soak-a", "soak-b", "soak-c", "soak-d", "soak-e", "soak-f")
_IN_RULES: Final = 4
# Of two updates that overlap this one may forget one (docs/upstream/overlapping-updates.md). Debian 13 calls
# its LXD so, too, and that forgets nothing.
_FORGETFUL: Final = "lxd 5.0.2", "VERSION_CODENAME=bookworm"
_DEADLINE: Final = 90.0
_LINKS: Final = Path("/dev/hotplugd")
# What may be there of other tests: a lock, a note of what is put in, a link or the mark of one.
_KNOWN: Final = re.compile(
    r"\.pools|\.(lock-|(adding|links|new-adding|new-links)-\w{16}-)\w{16}|[cb]-\d+-\d+-(\w{8}|boot)-i?\d+(\.r|\.node|\.made)?",
    re.ASCII,
)


class Scene:
    """Everything that a soak plays with.

    parts   the devices
    majors  of their nodes' numbers
    model   what is true of each container that is not hotplugd's to change
    starts  how often a daemon was started
    waited_for  what was not right yet when last it was not
    forgotten  what the server forgot, and how often: see `_learn_what_is_forgotten`
    """

    def __init__(self, consoles: int, cables: int) -> None:
        self.parts: list[Part] = []
        self.majors: set[int] = set()
        self.containers: dict[str, Container] = {}
        self.model: dict[str, Instance] = {}
        self.starts = 0
        self.waited_for = ""
        self.forgotten: Counter[str] = Counter()
        self._past: dict[str, list[Instance]] = {}
        self._ready = False
        self._counts = consoles, cables
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            self.parts = parts(undo, NAMES[:_IN_RULES], *self._counts)
            self.majors = {each.major for each in self.parts if each.major}
            self.server = undo.enter_context(Server())
            version, release = _FORGETFUL
            of_release = release in Path("/etc/os-release").read_text()
            self._forgets = self.server.version() == version and of_release
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
        """A new container that runs, and asks for a device of the pool."""
        claim = {KEY: TEXTS[1]}
        self.containers[name] = self.server.launch(name, config=claim, start=False)
        patiently(self.containers[name].start)
        self.model[name] = Instance(running=True, config=claim)

    def delete_all(self) -> None:
        """No container is left."""
        for name in sorted(self.containers):
            patiently(self.containers.pop(name).delete)
            del self.model[name]

    def home(self, part: Part) -> Container | None:
        """The container that this device is for, if it runs."""
        name = part.home
        return self.containers[name] if name in self.model and self.model[name].running else None

    def edits(self, name: str) -> None:
        """Somebody is about to edit the container of this name, in what is not hotplugd's."""
        self._past.setdefault(name, []).append(self.model[name].copy())

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

    def see_rest(self, follow: Callable[[Collection[str]], None]) -> None:
        """See that everything becomes as it should be, and then stays so. Raises AssertionError.

        follow  does what hotplugd's problems say, until there is nothing to be done
        """
        self.be_ready()
        # A device that was pulled and is back looks right before anybody has heard of either. udevd goes
        # through the events of each device in order.
        seen = [path for each in self.parts if each.plugged for path in each.seen()]
        if seen:
            trigger("--action=change", *seen)
        self.waited_for = ""
        eventually(partial(self._right_by_now, follow), _DEADLINE, pause=0.05)
        answer = self.daemon.ask("plan", "--json")
        assert answer.returncode == 0, answer.stderr
        assert json.loads(answer.stdout)["changes"] == [], answer.stdout
        assert self._right()
        self._past.clear()

    def _right_by_now(self, follow: Callable[[Collection[str]], None]) -> bool:
        try:
            problems = cast("list[dict[str, str]]", self.daemon.status()["problems"])
            follow([each["message"] for each in problems])
            return self._right()
        except AssertionError as error:
            self.waited_for = str(error)
            raise

    def see_nothing_left(self) -> None:
        """See that no lease is left, and nothing kept of one, once no device and no container is there."""
        assert self._leases() == {}
        kept = json.loads(self.daemon.state.read_text())["leases"] if self.daemon.state.exists() else {}
        assert not any(kept.get(key) for key in ("away", "order", "quarantines")), kept
        folder = self.server.data / "devices"
        assert not any(folder.glob("*/unix.*")), f"{folder} has {sorted(folder.glob('*/unix.*'))}"

    def _right(self) -> bool:
        self._see_links()
        assert not ended(self.daemon.pid), "hotplugd has ended by itself"
        status = self.daemon.status()
        attachments = cast("list[dict[str, object]]", status["attachments"])
        self._learn_what_is_leased(attachments)
        for name, container in self.containers.items():
            self._learn_what_is_forgotten(name)
            nodes, interfaces = self._wanted(name)
            see(container, self._with_view(name), nodes, self.majors, interfaces)
            self._see_files(container)
        held, running = looked_into(self.daemon.pid), sum(each.running for each in self.model.values())
        assert held <= running, f"hotplugd looks into {held} containers, and {running} run"
        for each in attachments:
            running = self.model[str(each["instance"])].running
            assert each["verified"] is (True if running else None), each
        # People did change the same entry again and again, by that die.
        known = (
            "changed again and again",
            *(f"no instance '{each}'" for each in NAMES if each not in self.model),
            "claim 'phone' cannot be met",
        )
        for problem in cast("list[dict[str, str]]", status["problems"]):
            assert any(each in problem["message"] for each in known), problem
        assert status["pending"] == [], f"{status['pending']} {status['holds']}"
        self._see_leases()
        return True

    # --- leases -----------------------------------------------------------------------------------------

    def _learn_what_is_leased(self, attachments: Collection[Mapping[str, object]]) -> None:
        """Which of those that ask for devices of the pool gets which one is hotplugd's to decide."""
        given = {
            str(each["device"]).removeprefix("/dev/"): str(each["instance"])
            for each in attachments
            if str(each["rule"]).startswith(f"{POOL}-")
        }
        for part in self.parts:
            part.leased = given.get(part.spare, "")

    def _see_leases(self) -> None:
        """Leases are right by themselves, and whoever has one has the device."""
        leases, there = self._leases(), {each.spare for each in self.parts if each.spare and each.plugged}
        asks = {name: TEXTS.index(each.config[KEY]) for name, each in self.model.items() if each.running}
        see_leases(leases, asks, there)
        given = {each.spare: each.leased for each in self.parts if each.leased}
        assert {each: name for each, name in leases.items() if each in there} == given

    def _leases(self) -> dict[str, str]:
        """The container of each device that is leased, by the kernel's name of the device."""
        answer = self.daemon.ask("lease", "list", "--json")
        assert answer.returncode == 0, answer.stderr
        leases = cast("list[dict[str, str]]", json.loads(answer.stdout)["leases"])
        assert all(each["state"] == "leased" for each in leases), leases
        found = {each["identity"].removeprefix("kernel:"): each["instance"] for each in leases}
        assert len(found) == len(leases), f"a device is leased twice: {leases}"
        return found

    def _with_view(self, name: str) -> Instance:
        """The model, and with it what hotplugd says of leases in the container's configuration, if that is
        so.
        """
        own = sorted(each.spare for each in self.parts if each.leased == name)
        text = cast("Mapping[str, str]", self.containers[name].config["config"]).get(LEASES)
        said = sorted(each["identity"].removeprefix("kernel:") for each in json.loads(text or "[]"))
        assert said == own, f"{name} says that it has {said}, and has {own}"
        model = self.model[name]
        return model if text is None else replace(model, config={**model.config, LEASES: text})

    # --- the server and /dev ----------------------------------------------------------------------------

    def _learn_what_is_forgotten(self, name: str) -> None:
        """Of two updates that overlap LXD 5.0.2 forgets one, which it answered with 200: somebody's edit is
        forgotten if all is as it was before an edit since the last rest. Other servers must forget nothing.
        """
        if not (self._forgets and self._past.get(name)):
            return
        found, model = self.containers[name].config, self.model[name]
        settings, entries = cast("Json", found["config"]), cast("Json", found["devices"])
        now = Instance(
            running=model.running,
            config={
                key: str(text) for key, text in settings.items() if key.startswith("user.") and key != LEASES
            },
            foreign={
                key: cast("dict[str, str]", each)
                for key, each in entries.items()
                if not key.startswith("hp-")
            },
        )
        if now.config != model.config and any(each.config == now.config for each in self._past[name]):
            self.forgotten["settings"] += 1
            model.config = now.config
        if now.foreign != model.foreign and any(each.foreign == now.foreign for each in self._past[name]):
            self.forgotten["entries of others"] += 1
            model.foreign = now.foreign

    def _see_links(self) -> None:
        """Each node that a rule takes has one pair of links at most, with its mark; nothing else is there of
        this server or these devices, or of a form that nothing should have.
        """
        found = _links()
        server = hashlib.sha256(os.path.realpath(self.server.socket).encode()).hexdigest()[:16]
        strange = {each for each in found - self._before if not _KNOWN.fullmatch(each)}
        left = strange | {each for each in found if server in each}
        expected: dict[str, bool] = {}
        for each in self.parts:
            expected |= {
                start: known or expected.get(start, False) for start, known in each.numbers().items()
            }
        for start, known in expected.items():
            of_node = {each for each in found if each.startswith(start)}
            if not (known and _is_pair(of_node, start)):
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
        pools = f"pools: {{{POOL}: {{instances: 'soak-*', keep: 60m}}}}"
        return "\n".join([pools, "rules:", *(line for each in self.parts for line in each.rules())]) + "\n"

    def _wanted(self, name: str) -> tuple[Mapping[str, set[str]], set[str]]:
        """What the container of this name should have: numbers of nodes by path, and interfaces."""
        plugged = [each for each in self.parts if each.plugged]
        nodes = {path: {number} for each in plugged for path, number in each.nodes(name).items()}
        return nodes, {each.interface(name) for each in plugged} - {""}


def _links() -> set[str]:
    return set(os.listdir(_LINKS)) if _LINKS.exists() else set()


def _is_pair(names: set[str], start: str) -> bool:
    """Whether these are the mark of a slot and its links, which lead to the device of the number that is in
    such a start.
    """
    major, minor = map(int, start.split("-")[1:3])
    slot = slot_of_file(min(names, default=""), boot())
    links = [Path(each) for each in (*slot_links(slot), slot_node(slot))]
    right = bool(slot) and names == {*(each.name for each in links), Path(slot_made(slot)).name}
    return right and all(
        each.exists() and os.stat(each).st_rdev == os.makedev(major, minor) for each in links
    )
