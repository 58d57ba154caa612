"""What people do while devices come and go: to instances, entries, nodes inside."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from signal import Signals
from typing import Final

from tests.e2e.model import CONSOLES
from tests.soak.figures import times
from tests.soak.scene import NAMES, Scene
from tests.support.lab.api import ServerError
from tests.support.lab.container import Container
from tests.support.lab.patience import patiently
from tests.support.lab.wait import eventually

_FOREIGN: Final = {"type": "unix-char", "source": "/dev/zero", "path": "/dev/cam"}
_EDITS: Final = {"mode": "0777", "path": "/dev/edited", "user.hotplugd.device": "something else"}

_MOMENT: Final = 0.01  # seconds


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
            self._rename,
            self._make_anew,
            self._note,
            self._foreign_entry,
            self._delete_entry,
            self._edit_entry,
            self._unmount,
            self._reload,
        )
        self.done = dict.fromkeys(map(_kind, self._known), 0)

    def do_something(self) -> None:
        """One thing, to the first container where it does something; what was never done comes before the
        rest. The die is thrown as often whatever comes of it.
        """
        what, pick = self._die.choice(self._known), self._die.randrange(1000)
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

        if was_running:
            patiently(restart_or_start)
        return was_running

    def _stop_or_start(self, name: str, _: int) -> bool:
        container, model = self._scene.containers[name], self._scene.model[name]
        wanted = "Stopped" if model.running else "Running"

        # What the server gave up waiting for may be done nevertheless.
        def stop_or_start() -> None:
            if container.config["status"] != wanted:
                (container.stop if model.running else container.start)()

        patiently(stop_or_start)
        model.running = not model.running
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
        model, note = self._scene.model[name], {"user.note": str(pick)}
        if model.config == note:
            return False
        with self._alone():
            self._patch(self._scene.containers[name], {"config": note})
        model.config = note
        return True

    def _foreign_entry(self, name: str, _: int) -> bool:
        container, foreign = self._scene.containers[name], self._scene.model[name].foreign
        with self._alone():
            if "cam" in foreign:
                patiently(lambda: container.remove_device("cam"))
                del foreign["cam"]
            else:
                self._patch(container, {"devices": {"cam": _FOREIGN}})
                foreign["cam"] = dict(_FOREIGN)
        return True

    # --- what is ours -----------------------------------------------------------------------------------

    def _delete_entry(self, name: str, pick: int) -> bool:
        with self._alone():
            entry = self._one_of_ours(name, pick)
            return bool(entry) and patiently(lambda: self._scene.containers[name].remove_device(entry))

    def _edit_entry(self, name: str, pick: int) -> bool:
        container, key = self._scene.containers[name], sorted(_EDITS)[pick % len(_EDITS)]
        with self._alone():
            entry = self._one_of_ours(name, pick)
            before = container.devices.get(entry)
            if before is None or before.get(key) == _EDITS[key]:
                return False
            self._patch(container, {"devices": {entry: {**before, key: _EDITS[key]}}})
        return True

    def _unmount(self, name: str, pick: int) -> bool:
        container = self._scene.containers[name]
        if not self._scene.model[name].running:
            return False
        inside = sorted(path for path, seen in container.nodes().items() if seen.major == CONSOLES)
        return bool(inside) and container.run("umount", inside[pick % len(inside)]).code == 0

    def _reload(self, _: str, __: int) -> bool:
        self._scene.be_ready()
        self._scene.daemon.send(Signals.SIGHUP)
        return True

    # --- helpers ----------------------------------------------------------------------------------------

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody else has a request under way: of two that overlap LXD forgets one, whatever their ETags say
        (README, known limits). hotplugd goes on afterwards by what it knew before.
        """
        hotplugd, server, seen = self._scene.daemon, self._scene.server.pid, [times(self._scene.server.pid)]

        def sleeps() -> bool:
            seen.append(times(server))
            return seen[-1] == seen[-2]

        hotplugd.send(Signals.SIGSTOP)
        try:
            eventually(sleeps, pause=_MOMENT)
            yield
        finally:
            hotplugd.send(Signals.SIGCONT)

    def _one_of_ours(self, name: str, pick: int) -> str:
        ours = sorted(each for each in self._scene.containers[name].devices if each.startswith("hp-"))
        return ours[pick % len(ours)] if ours else ""

    def _patch(self, container: Container, body: dict[str, object]) -> None:
        patiently(lambda: container.patch(body))


def _kind(what: Callable[[str, int], bool]) -> str:
    return what.__name__.strip("_")
