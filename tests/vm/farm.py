"""A farm of phones on a real bus, several controllers of it, and adb in each container: see tests/farm."""

from __future__ import annotations

import ctypes
import os
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from tests.farm.lab import Lab
from tests.farm.model import Device, Model, Seen
from tests.support.lab.api import ServerError
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.patience import patiently
from tests.support.lab.server import Server
from tests.support.lab.wait import eventually
from tests.support.phones import Hub, Mode, Phone
from tests.support.phones.containers import ADB, PROGRAMS, fastboot_devices, node_of
from tests.support.phones.hub import port_name, port_of, syspath

GOOD: Final = "device"
RULES: Final = """
pools:
  android:
    {instances: "job-*", keep: 60m, keep_stopped: true, ready: adb, leases_file: /run/phones.json,
     files: [{source: /root/day/adbkey, path: /root/.android/adbkey}], flap: {count: 6, within: 2m}}
  loose: {instances: "job-*", flap: {count: 6, within: 2m}}
rules:
  - {name: loose, match: {vendor_id: 18d1, serial: "L*"}, attach: {pool: loose}}
  - name: phones
    match: {vendor_id: 18d1}
    attach: {pool: android, group: plugdev, mode: "0660", link: "/dev/phones/{serial}"}
"""
KEY: Final = Path("/root/day/adbkey")
# Every fourth phone is of the pool that keeps nothing.
_LOOSE: Final = 4
# What adb, fastboot and the nodes say of a phone in each mode that it may come back in.
_MODES: Final[Mapping[str, Mode]] = {
    GOOD: Mode.ADB,
    "fastboot": Mode.FASTBOOT,
    "recovery": Mode.RECOVERY,
    "a node": Mode.MTP,
}
_UNAUTHORISED: Final = "unauthorized"
_PORT: Final = 5037
_CLONE_NEWNET: Final = 0x40000000
# To ask all adb servers takes much of an emulated machine.
_PERIOD: Final = 0.5
_USB: Final = 189

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Size:
    """How large a farm is. hubs: of so many phones each; jobs: the most containers; events: of a day."""

    hubs: int
    phones: int
    jobs: int
    events: int


def new_model(size: Size) -> Model:
    """Nothing is plugged in, and nobody has allowed the second phone's key."""
    serials = [
        f"{'L' if number % _LOOSE == 0 else 'A'}{number:02}"
        for number in range(1, size.hubs * size.phones + 1)
    ]
    devices = {each: Device("loose" if each[0] == "L" else "android", sight=GOOD) for each in serials}
    devices[serials[1]].sight = _UNAUTHORISED
    return Model(frozenset({"android"}), GOOD, devices)


@dataclass
class Arrivals:
    """How long phones take from the plug to `device` in adb, in seconds.

    due  when each of those that are waited for was plugged in
    """

    took: list[float] = field(default_factory=list)
    due: dict[str, float] = field(default_factory=dict)


class Phones(Lab):
    """See `World`."""

    deadline = 180.0
    looks = 2
    pause = 1.2  # adb looks at the bus once a second

    def __init__(self, server: Server, daemon: Daemon, hub: Hub, model: Model, size: Size) -> None:
        super().__init__(server, daemon)
        self.arrivals = Arrivals()
        self._hub = hub
        self._names = list(model.devices)
        self._size = size
        self._phones = {
            name: Phone(name, authorised=each.sight != _UNAUTHORISED) for name, each in model.devices.items()
        }
        self._ports = {name: port_of(*divmod(number, size.phones)) for number, name in enumerate(self._names)}
        self._plugged: set[str] = set()
        self._had: set[str] = set()

    # --- devices ----------------------------------------------------------------------------------------

    @property
    def hubs(self) -> list[list[str]]:
        each = self._size.phones
        return [self._names[at : at + each] for at in range(0, len(self._names), each)]

    @property
    def modes(self) -> list[str]:
        return list(_MODES)

    @property
    def identities(self) -> Mapping[str, str]:
        return {f"serial:{name}": name for name in self._names}

    def words(self, device: str) -> str:
        return device

    def selector(self, only: frozenset[str]) -> str:
        return f"serial={'|'.join(sorted(only))}"

    def plug(self, device: str, sight: str) -> None:
        phone = self._phones[device]
        if sight in _MODES:
            phone.mode = _MODES[sight]
        if device in self._had and phone.mode is Mode.ADB:
            self.arrivals.due[device] = time.monotonic()
        self._hub.plug(phone, self._ports[device])
        self._plugged.add(device)
        node_of(self._place(device))

    def pull(self, device: str) -> None:
        self.arrivals.due.pop(device, None)
        self._hub.unplug(self._phones[device])
        self._plugged.remove(device)

    def switch(self, device: str, sight: str) -> None:
        if sight == "authorised":
            self._phones[device].authorise()
            return
        self.arrivals.due.pop(device, None)
        before = node_of(self._place(device))
        self._phones[device].switch(_MODES[sight])
        # It has another number then.
        eventually(lambda: node_of(self._place(device)) != before, self.deadline, pause=0.05)

    # --- instances --------------------------------------------------------------------------------------

    def launch(self, job: str, config: dict[str, str]) -> Container:
        return self.server.launch(job, config=config, devices=PROGRAMS, start=False)

    def came_up(self, container: Container) -> None:
        container.forget_pid()
        # In one go: under emulation the server takes seconds to run anything inside.
        start = " ".join((*ADB, "start-server"))
        # Of two that make ~/.android at once adb gives up: docs/how-to/pools.md has it started again.
        words = f"ip link set lo up && {{ {start} || exec {start}; }}"
        done = patiently(partial(container.run, "/bin/sh", "-c", words))
        assert done.code == 0, f"{words} in {container}: {done.output}"

    def came_back(self, jobs: Iterable[str]) -> None:
        """The host was switched on, and these containers start by themselves."""
        self.containers = {each.name: each for each in self.server.containers()}
        (image,) = self.server.api.list("/1.0/images?recursion=1")
        self.server.image = str(image["fingerprint"])
        for job in jobs:
            eventually(partial(self._runs, job), self.deadline, pause=0.2)
            self.came_up(self.containers[job])

    def _runs(self, job: str) -> bool:
        return self._status(job) == "Running"

    # --- what is seen -----------------------------------------------------------------------------------

    def look(self) -> Seen:
        seen = super().look()
        self._had = {
            name for name, job in seen.listed.items() if name in self._plugged or name[0] != "L"
            if job in seen.inside
        }  # fmt: skip
        return seen

    def sights(self, container: Container) -> Mapping[str, str]:
        numbers = {self._number(name): name for name in self._plugged}
        found = {}
        states = ask_adb(container)
        for path, seen in container.nodes().items():
            if seen.major == _USB:
                name = numbers.get(seen.number, f"{path}, which is no phone's that is plugged in,")
                found[name] = states.pop(name, "") or self._without_adb(container, name)
        assert not states, f"adb in {container} says {states}, which have no node there"
        links = {each.name for each in Path(f"/proc/{container.pid}/root/dev/phones").glob("*")}
        expected = {name for name in found if name[0] != "L"}
        assert links == expected, f"{container} has links for {sorted(links)}, expected {sorted(expected)}"
        return found

    def _without_adb(self, container: Container, name: str) -> str:
        mode = self._phones[name].mode if name in self._phones else None
        if mode is Mode.FASTBOOT:
            return "fastboot" if name in fastboot_devices(container) else "not seen by fastboot"
        return "a node" if mode is Mode.MTP else "not seen by adb"

    def _number(self, name: str) -> str:
        with suppress(FileNotFoundError):
            return f"c {(syspath(self._place(name)) / 'dev').read_text().strip()}"
        return ""

    def _place(self, name: str) -> str:
        return port_name(self._ports[name])

    @contextmanager
    def watched(self) -> Iterator[None]:
        """The time that phones take to adb is measured meanwhile."""
        over = threading.Event()
        thread = threading.Thread(target=self._watch, args=(over,), name="arrivals")
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _watch(self, over: threading.Event) -> None:
        gone: dict[str, float] = {}
        while not over.wait(_PERIOD):
            due = dict(self.arrivals.due)
            if not due:
                continue
            there: set[str] = set()
            for container in list(self.containers.values()):
                with suppress(OSError, AssertionError, ServerError):
                    there |= {name for name, state in ask_adb(container).items() if state == GOOD}
            now = time.monotonic()
            for name, begun in due.items():
                if name not in there:
                    gone[name] = begun
                elif gone.get(name) == begun and self.arrivals.due.pop(name, None) == begun:
                    # It was not there once after the plug: what is there is no rest of before.
                    self.arrivals.took.append(now - begun)


def ask_adb(container: Container) -> dict[str, str]:
    """What the adb server in a container says of its phones, asked in there as `adb devices` does (Android:
    packages/modules/adb/SERVICES.TXT); empty where none runs.
    """
    with suppress(ConnectionError, FileNotFoundError), _connected(container.pid) as connection:
        connection.sendall(b"000chost:devices")
        answer = bytearray()
        while part := connection.recv(1 << 16):
            answer += part
        assert answer[:4] == b"OKAY", f"adb in {container}: {bytes(answer)!r}"
        rows = (line.split("\t") for line in answer[8:].decode().splitlines())
        return {row[0]: row[1] for row in rows if len(row) == 2}
    return {}


def _connected(pid: int) -> socket.socket:
    """A connection to a container's adb server: this thread is in its network for as long as that takes."""
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        theirs = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(theirs)
            connection = socket.socket()
        finally:
            _enter(own)
            os.close(theirs)
    finally:
        os.close(own)
    # A socket stays in the network in which it was made.
    connection.settimeout(20)
    try:
        connection.connect(("127.0.0.1", _PORT))
    except BaseException:
        connection.close()
        raise
    return connection


def _enter(network: int) -> None:
    assert _libc.setns(network, _CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
