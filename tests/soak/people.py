"""What people do while devices come and go: to instances, entries, nodes inside."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from signal import Signals
from typing import Final

from tests.e2e.model import CONSOLES
from tests.lab.api import ServerError
from tests.lab.container import Container
from tests.lab.patience import patiently
from tests.soak.scene import NAMES, Scene

_FOREIGN: Final = {"type": "unix-char", "source": "/dev/zero", "path": "/dev/cam"}
_EDITS: Final = {"mode": "0777", "path": "/dev/edited", "user.hotplugd.device": "something else"}


class People:
    """They do one thing after the other, by a die."""

    def __init__(self, scene: Scene, die: Random, say: Callable[[str], None]) -> None:
        self._scene = scene
        self._die = die
        self._say = say
        self._known: tuple[Callable[[str, int], None], ...] = (
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

    def do_something(self) -> None:
        """One thing, to one container. The die is thrown as often whatever comes of it."""
        what, pick = self._die.choice(self._known), self._die.randrange(1000)
        name = sorted(self._scene.containers)[pick % len(self._scene.containers)]
        self._say(f"{what.__name__.strip('_')} {name} {pick}")
        what(name, pick // 4)

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

    # --- instances --------------------------------------------------------------------------------------

    def _restart(self, name: str, _: int) -> None:
        container = self._scene.containers[name]

        # One that the server breaks off half-way leaves it stopped.
        def restart_or_start() -> None:
            (container.restart if container.config["status"] == "Running" else container.start)()

        if self._scene.model[name].running:
            patiently(restart_or_start)

    def _stop_or_start(self, name: str, _: int) -> None:
        container, model = self._scene.containers[name], self._scene.model[name]
        patiently(container.stop if model.running else container.start)
        model.running = not model.running

    def _rename(self, old: str, pick: int) -> None:
        scene = self._scene
        free = [each for each in NAMES if each not in scene.containers]
        new = free[pick % len(free)]
        was_running = scene.model[old].running
        if was_running:
            self._stop_or_start(old, 0)
        try:
            patiently(lambda: scene.containers[old].rename(new))
        except ServerError as error:
            # Of one that was deleted: LXD leaves its folder now and then.
            if "file exists" not in str(error):
                raise
            self._say(f"{new} has left a folder behind")
            new = old
        scene.containers[new] = scene.containers.pop(old)
        scene.model[new] = scene.model.pop(old)
        if was_running:
            self._stop_or_start(new, 0)

    def _make_anew(self, old: str, pick: int) -> None:
        scene = self._scene
        patiently(scene.containers.pop(old).delete)
        del scene.model[old]
        free = [each for each in NAMES if each not in scene.containers]
        scene.create(free[pick % len(free)])

    # --- what is not ours -------------------------------------------------------------------------------

    def _note(self, name: str, pick: int) -> None:
        note = {"user.note": str(pick)}
        self._patch(self._scene.containers[name], {"config": note})
        self._scene.model[name].config = note

    def _foreign_entry(self, name: str, _: int) -> None:
        container, foreign = self._scene.containers[name], self._scene.model[name].foreign
        if "cam" in foreign:
            patiently(lambda: container.remove_device("cam"))
            del foreign["cam"]
        else:
            self._patch(container, {"devices": {"cam": _FOREIGN}})
            foreign["cam"] = dict(_FOREIGN)

    # --- what is ours -----------------------------------------------------------------------------------

    def _delete_entry(self, name: str, pick: int) -> None:
        if entry := self._one_of_ours(name, pick):
            patiently(lambda: self._scene.containers[name].remove_device(entry))

    def _edit_entry(self, name: str, pick: int) -> None:
        container, key = self._scene.containers[name], sorted(_EDITS)[pick % len(_EDITS)]
        if entry := self._one_of_ours(name, pick):
            config = {**container.devices.get(entry, {}), key: _EDITS[key]}
            if "type" in config:  # it is still there
                self._patch(container, {"devices": {entry: config}})

    def _unmount(self, name: str, pick: int) -> None:
        container = self._scene.containers[name]
        if self._scene.model[name].running:
            inside = sorted(path for path, seen in container.nodes().items() if seen.major == CONSOLES)
            if inside:
                container.run("umount", inside[pick % len(inside)])

    def _reload(self, _: str, __: int) -> None:
        self._scene.be_ready()
        self._scene.daemon.send(Signals.SIGHUP)

    # --- helpers ----------------------------------------------------------------------------------------

    def _one_of_ours(self, name: str, pick: int) -> str:
        ours = sorted(each for each in self._scene.containers[name].devices if each.startswith("hp-"))
        return ours[pick % len(ours)] if ours else ""

    def _patch(self, container: Container, body: dict[str, object]) -> None:
        patiently(lambda: container.patch(body))
