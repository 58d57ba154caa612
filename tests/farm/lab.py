"""The instances of a day, its server and its daemon, which are real; what its devices are is left open."""

from __future__ import annotations

import json
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, cast

from hotplugd.model.claim_texts import CLAIM, LEASES
from tests.farm.model import Claim, Seen
from tests.support.lab.api import ServerError
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.patience import patiently
from tests.support.lab.server import Server
from tests.support.lab.wait import ended, eventually

_KEY: Final = f"{CLAIM}phone"
_LINKS: Final = Path("/dev/hotplugd")
# Of the one daemon that serves a server, and of the one that serves pools.
_LOCKS: Final = (".lock-", ".pools")
_SNAPSHOT: Final = "before"
_FAR_TOO_MANY: Final = 400
_EDIT: Final = {"mode": "0777"}


class Lab(ABC):
    """See `World`, which this is but for its devices.

    deadline  of a quiet moment, in seconds
    looks     how often all must look right, and the same, one look after the other
    pause     between two looks, in seconds
    """

    deadline = 90.0
    looks = 2
    pause = 0.1

    def __init__(self, server: Server, daemon: Daemon) -> None:
        self.server, self.daemon = server, daemon
        self.containers: dict[str, Container] = {}
        self._ready = False
        self._before = _links()

    # --- devices ----------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def identities(self) -> Mapping[str, str]:
        """What each device is called in the model, by what hotplugd calls it: `serial:1A0007`."""

    @abstractmethod
    def plug(self, device: str, sight: str) -> None: ...

    @abstractmethod
    def pull(self, device: str) -> None: ...

    @abstractmethod
    def words(self, device: str) -> str:
        """What a device is called in commands."""

    @abstractmethod
    def selector(self, only: frozenset[str]) -> str:
        """What a claim says that asks for these devices alone."""

    @abstractmethod
    def sights(self, container: Container) -> Mapping[str, str]:
        """The devices that are seen in a container that runs, and as what."""

    @abstractmethod
    def came_up(self, container: Container) -> None:
        """A container has been started."""

    def flap(self, device: str) -> None:
        self._be_ready()
        for _ in range(_FAR_TOO_MANY):
            self.pull(device)
            self.plug(device, "")
            time.sleep(self.pause / 4)
            if self._is_quarantined(device):
                return
        raise AssertionError(f"{device} was never quarantined")

    # --- instances --------------------------------------------------------------------------------------

    @abstractmethod
    def launch(self, job: str, config: dict[str, str]) -> Container:
        """A new container that is stopped."""

    def create(self, job: str, claim: Claim | None) -> None:
        self.containers[job] = self.launch(job, {_KEY: self._text(claim)})
        self.start(job)

    def delete(self, job: str) -> None:
        self.containers.pop(job).delete()

    def stop(self, job: str) -> None:
        self._becomes(job, "Stopped")

    def start(self, job: str) -> None:
        self._becomes(job, "Running")
        self.came_up(self.containers[job])

    def restart(self, job: str) -> None:
        container = self.containers[job]

        # One that the server breaks off half-way leaves it stopped.
        def restart_or_start() -> None:
            (container.restart if self._status(job) == "Running" else container.start)()

        patiently(restart_or_start)
        self.came_up(container)

    def copy(self, job: str, name: str) -> None:
        self.containers[name] = patiently(partial(self.containers[job].copy, name))

    def snapshot(self, job: str) -> None:
        patiently(partial(self.containers[job].snapshot, _SNAPSHOT))

    def restore(self, job: str) -> None:
        patiently(partial(self.containers[job].restore, _SNAPSHOT))
        self.start(job)

    def claim(self, job: str, claim: Claim | None) -> None:
        self._patch(job, {"config": {_KEY: self._text(claim)}})

    def edit(self, job: str, pick: int) -> bool:
        """Change an entry of hotplugd's, take it away, or say something else of the leases."""
        container = self.containers[job]
        names = [name for name in sorted(container.devices) if name.startswith("hp-")]
        if not names:
            return False
        name = names[pick % len(names)]
        if pick % 3 == 0:
            patiently(lambda: container.remove_device(name))
        elif pick % 3 == 1:
            self._patch(job, {"devices": {name: {**container.devices[name], **_EDIT}}})
        else:
            self._patch(job, {"config": {LEASES: '[{"pool": "forged"}]'}})
        return True

    # --- people, and crashes ----------------------------------------------------------------------------

    def ask(self, words: Sequence[str], device: str, job: str = "") -> bool:
        """Whether the daemon takes the order. It may answer before all that follows is done."""
        self._be_ready()
        done = self.daemon.ask(*words, "--json", self.words(device), *([job] if job else []))
        assert done.stdout, f"hotplugd {' '.join(words)}: {done.returncode}\n{done.stderr}"
        return bool(json.loads(done.stdout)["taken"])

    def kill_daemon(self) -> None:
        assert not ended(self.daemon.pid), "hotplugd has ended by itself"
        self.daemon.kill()
        self.spawn()

    def spawn(self) -> None:
        """Start the daemon, and wait for nothing."""
        self.daemon.spawn()
        self._ready = False

    def restart_server(self, *, by_force: bool) -> None:
        (self.server.kill if by_force else self.server.stop)()
        self.server.start(self.deadline)

    # --- what is seen -----------------------------------------------------------------------------------

    def rest(self, right: Callable[[Seen], None]) -> Seen:
        self._be_ready()
        same: list[Seen] = []

        def quiet() -> bool:
            try:
                seen = self.look()
                right(seen)
                self._see_books(seen)
            except (AssertionError, ServerError) as error:
                same.clear()
                raise AssertionError(str(error)) from error
            if same and same[-1] != seen:
                same.clear()
            same.append(seen)
            return len(same) >= self.looks

        eventually(quiet, self.deadline, pause=self.pause)
        return same[-1]

    def look(self) -> Seen:
        """What is where, inside and in the daemon's list."""
        inside = {
            job: dict(self.sights(each))
            for job, each in self.containers.items()
            if self._status(job) == "Running"
        }
        listed = {
            self.identities[str(each["identity"])]: str(each["instance"])
            for each in self.leases()
            if each["instance"] and each["state"] == "leased"
        }
        return Seen(inside, listed)

    def leases(self) -> list[Mapping[str, object]]:
        """What the daemon lists."""
        done = self.daemon.ask("lease", "list", "--json")
        assert done.returncode == 0, done.stderr
        return cast("list[Mapping[str, object]]", json.loads(done.stdout)["leases"])

    def see_nothing_left(self) -> None:
        """See that no lease, instance, link or slot is left, and that the daemon says that all is well."""
        assert self.leases() == []
        assert self.server.containers() == []
        eventually(self.daemon.is_fine)
        kept = json.loads(self.daemon.state.read_text())["leases"] if self.daemon.state.exists() else {}
        assert not any(kept.get(key) for key in ("away", "order", "quarantines")), kept
        left = {each for each in _links() - self._before if not each.startswith(_LOCKS)}
        assert left == set(), f"{_LINKS} has {sorted(left)}"
        folder = self.server.data / "devices"
        assert not any(folder.glob("*/unix.*")), f"{folder} has {sorted(folder.glob('*/unix.*'))}"

    # --- within -----------------------------------------------------------------------------------------

    def _see_books(self, seen: Seen) -> None:
        """What the server has, and what the daemon says beside its leases, fits what was seen inside."""
        assert not ended(self.daemon.pid), "hotplugd has ended by itself"
        status = self.daemon.status()
        assert status["pending"] == [], f"{status['pending']} {status['holds']} {status['problems']}"
        for job, found in seen.inside.items():
            config = self.containers[job].config
            entries = [name for name in cast("Mapping[str, object]", config["devices"]) if name[:3] == "hp-"]
            assert len(entries) == len(found), f"{job} has {entries}, and in there are {sorted(found)}"
            view = json.loads(cast("Mapping[str, str]", config["config"]).get(LEASES, "[]"))
            said = sorted(self.identities.get(each.get("identity"), str(each)) for each in view)
            assert said == sorted(found), f"{job} says that it has {said}, and in there are {sorted(found)}"

    def _is_quarantined(self, device: str) -> bool:
        done = self.daemon.ask("pool", "--json")
        # Where it is too slow to answer in time it is asked again.
        return bool(done.stdout) and any(
            self.identities.get(each["identity"]) == device and each["health"] == "quarantined"
            for pool in json.loads(done.stdout)["pools"]
            for each in pool["devices"]
        )

    def _be_ready(self) -> None:
        if not self._ready:
            self.daemon.wait_for("READY=1", self.deadline)
            self._ready = True

    def _text(self, claim: Claim | None) -> str:
        if claim is None:
            return "none"
        only = f" {self.selector(claim.only)}" if claim.only else ""
        return f"{claim.pool} count={claim.count}{only}"

    def _patch(self, job: str, body: Mapping[str, object]) -> None:
        patiently(partial(self.containers[job].patch, body))

    def _status(self, job: str) -> str:
        return str(self.containers[job].config["status"])

    def _becomes(self, job: str, wanted: str) -> None:
        container = self.containers[job]

        # What the server gave up waiting for may be done nevertheless.
        def stop_or_start() -> None:
            container.forget_pid()
            if self._status(job) != wanted:
                (container.start if wanted == "Running" else container.stop)()

        patiently(stop_or_start)


def _links() -> set[str]:
    return set(os.listdir(_LINKS)) if _LINKS.exists() else set()
