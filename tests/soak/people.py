"""What people do while devices come and go: to instances, entries, nodes inside."""

from __future__ import annotations

from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from random import Random
from signal import Signals
from typing import Final, cast

from tests.e2e.test_stopping import is_stopping, stop
from tests.soak.leases import KEY, TEXTS
from tests.soak.scene import NAMES, Scene
from tests.support.lab.api import ServerError
from tests.support.lab.container import Container
from tests.support.lab.patience import patiently
from tests.support.lab.wait import eventually

_FOREIGN: Final = {"type": "unix-char", "source": "/dev/zero"}
_DEAD: Final = "hardware"  # in what hotplugd says of an interface that is gone
_EDITS: Final = {"mode": "0777", "path": "/dev/edited", "user.hotplugd.device": "something else"}


class People:
    """They do every kind of thing once, in order, and then one thing after the other, by a die.

    done  how often each kind of thing was done, and did something
    """

    def __init__(self, scene: Scene, die: Random, say: Callable[[str], None]) -> None:
        self._scene = scene
        self._die = die
        self._say = say
        self._known: tuple[Callable[[str, int], bool], ...] = (
            self._restart,
            self._stop_or_start,
            self._shut_down,
            self._rename,
            self._make_anew,
            self._note,
            self._claim,
            self._foreign_entry,
            self._delete_entry,
            self._edit_entry,
            self._unmount,
            self._reload,
        )
        # What overlaps hotplugd's requests is done more often than what takes the server seconds.
        self._often: tuple[Callable[[str, int], bool], ...] = (
            *self._known,
            *((self._note, self._claim, self._foreign_entry, self._delete_entry, self._edit_entry) * 2),
        )
        self._foreign = 0
        self.done = dict.fromkeys(map(_kind, self._known), 0)

    def do_something(self) -> None:
        """One thing, to the first container where it does something; what was never done comes before the
        rest. The die is thrown as often whatever comes of it.
        """
        what, pick = self._die.choice(self._often), self._die.randrange(1000)
        what = next((each for each in self._known if not self.done[_kind(each)]), what)
        names = sorted(self._scene.containers)
        first = pick % len(names)
        for name in names[first:] + names[:first]:
            self._say(f"{_kind(what)} {name} {pick}")
            if what(name, pick // 4):
                self.done[_kind(what)] += 1
                return

    def wake_all(self) -> None:
        """Every container runs."""
        for name, model in self._scene.model.items():
            if not model.running:
                self._stop_or_start(name, 0)

    def follow(self, problems: Collection[str]) -> None:
        """Do as hotplugd's problems say of interfaces that were pulled while they were inside: stop the
        container until their entries are gone, and start it again. What is plugged in anew would go in by the
        old entry.
        """
        for name in [name for name, model in self._scene.model.items() if model.running]:
            if any(_DEAD in each and name in each for each in problems):
                self._say(f"stop {name} for its dead interface")
                self._stop_or_start(name, 0)
                eventually(partial(self._has_what_it_should, name), 60)
                self._stop_or_start(name, 0)

    def _has_what_it_should(self, name: str) -> bool:
        """Whether hotplugd neither has anything to change there, nor says that an interface is dead."""
        status = self._scene.daemon.status()
        pending = cast("list[dict[str, str]]", status["pending"])
        problems = cast("list[dict[str, str]]", status["problems"])
        is_dead = any(_DEAD in each["message"] and name in each["message"] for each in problems)
        return not is_dead and all(each["instance"] != name for each in pending)

    def _free(self, name: str) -> None:
        """It has no entry of an interface that was pulled: with one it does not start. It is stopped for that
        where it runs.
        """
        for each in self._scene.parts:
            if not each.plugged and (dead := each.interface(name)):
                self._scene.be_ready()
                eventually(partial(self._is_freed, self._scene.containers[name], dead), 60)

    def _is_freed(self, container: Container, dead: str) -> bool:
        """Whether hotplugd has no entry for this interface there; stops the container where it has."""
        entries = container.devices
        if all(entry.get("parent") != dead for entry in entries.values()):
            return True
        if self._scene.model[container.name].running:
            self._say(f"stop {container} for its dead interface {dead}")
            self._stop_or_start(container.name, 0)
        return False

    def describe_all(self) -> None:
        """At rest alone: no ETag covers descriptions, and one of just before a request may be put back."""
        word = f"lab {self._die.randrange(1000)}"
        self._say(f"describe all as {word!r}")
        for name, container in self._scene.containers.items():
            self._patch(container, {"description": word})
            self._scene.model[name].description = word

    # Each returns whether there was something to do, and it was done.

    # --- instances --------------------------------------------------------------------------------------

    def _restart(self, name: str, _: int) -> bool:
        container, was_running = self._scene.containers[name], self._scene.model[name].running

        # One that the server breaks off half-way leaves it stopped.
        def restart_or_start() -> None:
            (container.restart if container.config["status"] == "Running" else container.start)()

        self._free(name)
        if was_running:
            patiently(restart_or_start)
            self._scene.model[name].running = True
        return was_running

    def _stop_or_start(self, name: str, _: int) -> bool:
        container, model = self._scene.containers[name], self._scene.model[name]
        wanted = "Stopped" if model.running else "Running"
        if not model.running:
            self._free(name)

        # What the server gave up waiting for may be done nevertheless.
        def stop_or_start() -> None:
            if container.config["status"] != wanted:
                (container.stop if model.running else container.start)()

        patiently(stop_or_start)
        model.running = not model.running
        return True

    def _shut_down(self, name: str, pick: int) -> bool:
        """Its init ends it, and some of its devices are pulled meanwhile. hotplugd runs: without it such a
        pull hangs the server (docs/upstream/unplug-during-stop.md).
        """
        scene = self._scene
        container, model = scene.containers[name], scene.model[name]
        if not model.running:
            return False
        scene.be_ready()
        there = [each for each in scene.parts if each.plugged and each.home == name]
        with ThreadPoolExecutor(1) as pool:
            stopped = pool.submit(patiently, partial(stop, container))
            eventually(lambda: stopped.done() or is_stopping(container))
            for each in there[: pick % 4]:
                each.unplug()
            stopped.result()
        model.running = False
        return True

    def _rename(self, old: str, pick: int) -> bool:
        scene = self._scene
        free = [each for each in NAMES if each not in scene.containers]
        new = free[pick % len(free)]
        was_running = scene.model[old].running
        if was_running:
            self._stop_or_start(old, 0)
        try:
            patiently(lambda: scene.containers[old].rename(new))
        except ServerError as error:
            # Of one that was deleted: LXD leaves its folder now and then, and may have renamed the rest.
            if "file exists" not in str(error):
                raise
            self._say(f"{new} has left a folder behind")
            if old in {each.name for each in scene.server.containers()}:
                new = old
            scene.containers[old].name = new
        scene.containers[new] = scene.containers.pop(old)
        scene.model[new] = scene.model.pop(old)
        if was_running:
            self._stop_or_start(new, 0)
        return new != old

    def _make_anew(self, old: str, pick: int) -> bool:
        scene = self._scene
        patiently(scene.containers.pop(old).delete)
        del scene.model[old]
        free = [each for each in NAMES if each not in scene.containers]
        first = pick % len(free)
        for name in free[first:] + free[:first]:
            try:
                scene.create(name)
            except ServerError as error:
                # As above.
                if "already exists" not in str(error):
                    raise
                self._say(f"{name} has left a folder behind")
            else:
                return True
        raise AssertionError(f"each of {free} has left a folder behind")

    # --- what is not ours -------------------------------------------------------------------------------

    def _note(self, name: str, pick: int) -> bool:
        return self._configure(name, "user.note", str(pick), pick)

    def _claim(self, name: str, pick: int) -> bool:
        return self._configure(name, KEY, TEXTS[pick % len(TEXTS)], pick)

    def _configure(self, name: str, key: str, text: str, pick: int) -> bool:
        model = self._scene.model[name]
        if model.config.get(key) == text:
            return False
        self._scene.edits(name)
        self._disturb(name, pick)
        self._patch(self._scene.containers[name], {"config": {key: text}})
        model.config = {**model.config, key: text}
        return True

    def _foreign_entry(self, name: str, pick: int) -> bool:
        container, foreign = self._scene.containers[name], self._scene.model[name].foreign
        self._scene.edits(name)
        self._disturb(name, pick)
        if there := min(foreign, default=""):
            self._remove(container, there)
            del foreign[there]
        else:
            # Another one each time: what a server that forgets an update keeps of one would refuse the next.
            self._foreign += 1
            new = f"cam-{self._foreign:04}"
            entry = {**_FOREIGN, "path": f"/dev/{new}"}
            self._patch(container, {"devices": {new: entry}})
            foreign[new] = entry
        return True

    # --- what is ours -----------------------------------------------------------------------------------

    def _delete_entry(self, name: str, pick: int) -> bool:
        self._disturb(name, pick)
        entry = self._one_of_ours(name, pick)
        try:
            return bool(entry) and self._remove(self._scene.containers[name], entry)
        except ServerError as error:
            # Of an interface that was pulled while it was inside: hotplugd cannot take that out, either.
            if "Cannot find device" not in str(error):
                raise
            return False

    def _edit_entry(self, name: str, pick: int) -> bool:
        container, key = self._scene.containers[name], sorted(_EDITS)[pick % len(_EDITS)]
        self._disturb(name, pick)
        entry = self._one_of_ours(name, pick)
        before = container.devices.get(entry)
        if before is None or before.get(key) == _EDITS[key] or before["type"] == "nic":
            return False
        try:
            self._patch(container, {"devices": {entry: {**before, key: _EDITS[key]}}})
        except ServerError as error:
            # Incus 7 takes no edit that changes a mark alone (measured).
            if "does not support updates" not in str(error):
                raise
            return False
        return True

    def _unmount(self, name: str, pick: int) -> bool:
        container = self._scene.containers[name]
        if not self._scene.model[name].running:
            return False
        inside = sorted(path for path, seen in container.nodes().items() if seen.major in self._scene.majors)
        return bool(inside) and container.run("umount", inside[pick % len(inside)]).code == 0

    def _reload(self, _: str, __: int) -> bool:
        self._scene.be_ready()
        self._scene.daemon.send(Signals.SIGHUP)
        return True

    # --- helpers ----------------------------------------------------------------------------------------

    def _disturb(self, name: str, pick: int) -> None:
        """hotplugd has something to do there: what is asked of the server next overlaps its requests."""
        there = [each for each in self._scene.parts if each.home == name and each.node]
        for each in there[: 1 + pick % 3]:
            (each.unplug if each.plugged else each.plug)()

    def _remove(self, container: Container, entry: str) -> bool:
        return patiently(lambda: container.remove_device(entry, unchanged=True))

    def _one_of_ours(self, name: str, pick: int) -> str:
        ours = sorted(each for each in self._scene.containers[name].devices if each.startswith("hp-"))
        return ours[pick % len(ours)] if ours else ""

    def _patch(self, container: Container, body: dict[str, object]) -> None:
        patiently(lambda: container.patch(body))


def _kind(what: Callable[[str, int], bool]) -> str:
    return what.__name__.strip("_")
