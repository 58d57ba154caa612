"""A private LXD, or Incus, beside whatever runs on the machine: its own folder, socket, pool and image."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from glob import glob
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self, cast

from hotplugd.host.pool_lock import POOL_LOCK
from tests.support.lab import image
from tests.support.lab.api import Api, ServerError, metadata_of
from tests.support.lab.container import Container
from tests.support.lab.wait import NotInTime, ended, eventually

_names = count(1)

Software = Literal["lxd", "incus"]
_CHOICE: Final = "HOTPLUGD_SERVER"
# The daemon's name, and the Debian packages that it is in; Debian keeps incusd out of the path.
_PROGRAMS: Final = {"lxd": ("lxd", "lxd lxd-client"), "incus": ("incusd", "incus-base incus-client")}


def software() -> Software:
    """Whose server the tests start: LXD's, or what the environment says."""
    name = os.environ.get(_CHOICE, "lxd")
    assert name in ("lxd", "incus"), f"expected {_CHOICE} to be lxd or incus, and found {name}"
    return "incus" if name == "incus" else "lxd"


class Manager:
    """A server that runs, whoever started it: what is done in it."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.api = Api(socket)
        self.image = ""

    def initialise(self) -> None:
        """Give a new server a pool and the image."""
        self.api.request("POST", "/1.0/storage-pools", {"name": "default", "driver": "dir"})
        disk = {"root": {"type": "disk", "path": "/", "pool": "default"}}
        self.api.request("PATCH", "/1.0/profiles/default", {"devices": disk})
        done = self.api.request(
            "POST", "/1.0/images", image.build(), {"Content-Type": "application/octet-stream"}
        )
        self.image = str(metadata_of(done)["fingerprint"])

    def launch(
        self,
        name: str = "",
        *,
        config: dict[str, str] | None = None,
        devices: dict[str, dict[str, str]] | None = None,
        project: str = "default",
        start: bool = True,
    ) -> Container:
        """A new container, started unless told otherwise; a name is made up where none is given."""
        container = Container(self.api, name or f"t{os.getpid()}-{next(_names)}", project)
        self.api.request(
            "POST",
            f"/1.0/instances?project={project}",
            {
                "name": container.name,
                "source": {"type": "image", "fingerprint": self.image},
                "config": config or {},
                "devices": devices or {},
            },
        )
        if start:
            container.start()
        return container

    def containers(self) -> list[Container]:
        """All there are, of all projects."""
        found = self.api.list("/1.0/instances?all-projects=true&recursion=1")
        return [Container(self.api, str(each["name"]), str(each["project"])) for each in found]

    def version(self) -> str:
        """Its name and version, as it says: `lxd 5.0.2`."""
        said = cast("Mapping[str, object]", self.api.get("/1.0")["environment"])
        return f"{said['server']} {said['server_version']}"

    def project(self, name: str) -> None:
        """A new project that shares the images, profiles and pool of `default`."""
        features = {"features.images": "false", "features.profiles": "false"}
        self.api.request("POST", "/1.0/projects", {"name": name, "config": features})


class Server(Manager):
    """A private one. Starts when it is entered; leaves no container, process, mount or file behind.

    folder  short, since a unix socket's path is at most 107 bytes; a new one where it is left out
    within  words before the command, such as of a program that gives it another /dev
    """

    def __init__(self, folder: Path | None = None, within: Sequence[str] = ()) -> None:
        self._software = software()
        self.folder = folder or Path(tempfile.mkdtemp(prefix="hpl-", dir="/tmp"))
        self.folder.chmod(0o711)  # an unprivileged container's root passes through
        super().__init__(self.folder / self._software / "unix.socket")
        self.log = self.folder / f"{self._software}.log"
        self._within = tuple(within)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            undo.callback(self.close)
            self.data.mkdir()
            self.start()
            self.initialise()
            undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- the process ------------------------------------------------------------------------------------

    def start(self, deadline: float = 60.0) -> None:
        """Start the server on its folder, also again after `stop` or `kill`, and wait until it is ready.

        After a boot of the host it starts its containers first.
        """
        assert self._process is None, "the private server runs already"
        name, packages = _PROGRAMS[self._software]
        program = shutil.which(name, path=f"{os.environ['PATH']}:/usr/libexec/incus")
        assert program is not None, f"{name} is not installed; on Debian: apt-get install {packages}"
        with self.log.open("ab") as log:
            # A session of its own: Ctrl-C is for us, who then take it down in order.
            self._process = subprocess.Popen(
                [*self._within, program, "--group", "root"], env=self.environment, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        process = self._process

        def ready() -> bool:
            code = process.poll()
            if code is not None:
                raise RuntimeError(f"the private server ended with {code}:\n{self.tail()}")
            with suppress(OSError, ServerError):
                self.api.get("/internal/ready")
                return True
            return False

        try:
            eventually(ready, deadline, pause=0.02)
        except NotInTime as error:
            raise NotInTime(f"{error}; the server's log ends with\n{self.tail()}") from None

    def stop(self) -> None:
        """End the server in an orderly way; containers go on running."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the server as a crash would; containers go on running."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop and start."""
        self.stop()
        self.start()

    def start_again(self) -> None:
        """Start the server if it was stopped."""
        if self._process is None:
            self.start()

    def freeze(self) -> None:
        """Stop the server from doing anything, its socket staying open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen server go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    @property
    def pid(self) -> int:
        """Its process; it must run."""
        assert self._process is not None
        return self._process.pid

    @property
    def data(self) -> Path:
        """The server's own folder, with its database and its containers."""
        return self.folder / self._software

    @property
    def environment(self) -> dict[str, str]:
        """What `lxc` and `lxd`, or `incus` and `incusd`, need to speak to this server."""
        return {**os.environ, f"{self._software.upper()}_DIR": str(self.data)}

    def tail(self, lines: int = 40) -> str:
        """The end of the server's log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    # --- inner workings ---------------------------------------------------------------------------------

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(30)
            self._process = None

    def close(self) -> None:
        """Take everything down, also after a crash or half a start."""
        with ExitStack() as undo:
            undo.callback(shutil.rmtree, self.folder, ignore_errors=True)
            undo.callback(self._leave_pools)
            undo.callback(self._unmount)
            undo.callback(self._end, signal.SIGKILL)
            undo.callback(self._end_monitors)
            undo.callback(self._end_gently)
            undo.callback(self._delete_containers)

    def _delete_containers(self) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        self.thaw()
        with suppress(OSError, ServerError):
            for container in self.containers():
                with suppress(ServerError):
                    container.delete()

    def _end_gently(self) -> None:
        with suppress(subprocess.TimeoutExpired):
            self._end(signal.SIGTERM)

    def _end_monitors(self) -> None:
        """The processes that hold containers whose server cannot be asked any more, and what runs in them."""
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal() and self._is_monitor(entry):
                pid = int(entry.name)
                name = _command_line(entry).rpartition(" ")[2]
                with suppress(OSError):
                    children = (entry / "task" / entry.name / "children").read_text().split()
                    for child in children:
                        os.kill(int(child), signal.SIGKILL)
                    os.kill(pid, signal.SIGKILL)
                    eventually(partial(ended, pid), 10)
                _remove_cgroups(name)

    def _is_monitor(self, entry: Path) -> bool:
        words = _command_line(entry)
        return words.startswith("[lxc monitor]") and f"{self.folder}/" in words

    def _leave_pools(self) -> None:
        """Pools are another server's: those of a server that is gone would be kept for it."""
        with suppress(FileNotFoundError):
            if Path(POOL_LOCK).read_text(errors="replace").startswith(f"{self.folder}/"):
                os.unlink(POOL_LOCK)

    def _unmount(self) -> None:
        """What is mounted below our folder, the last first."""
        places = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        for place in reversed(places):
            if place.startswith(f"{self.folder}/"):
                subprocess.run(["umount", "--lazy", place], check=False, stderr=subprocess.DEVNULL)


def _command_line(process: Path) -> str:
    with suppress(OSError):
        return (process / "cmdline").read_bytes().rstrip(b"\0").decode(errors="replace").replace("\0", " ")
    return ""


def _remove_cgroups(container: str) -> None:
    """What liblxc's monitor would have taken away of a container's control groups."""
    # Not Path.glob: others end meanwhile, and their folders with them.
    for folder in map(Path, glob(f"/sys/fs/cgroup/**/lxc.*.{container}", recursive=True)):
        for below in sorted(glob(f"{folder}/**/", recursive=True), reverse=True):
            with suppress(OSError):  # somebody else's of that name, in use
                os.rmdir(below)
