"""A program inside a container that keeps a handle on a device node, to open it again later."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from types import TracebackType
from typing import Final, Self

from tests.support.lab.container import Container

# Joins a container as its root. It is in the container's control groups, user and mount namespace, and not in
# its process namespace: so it is there after a stop, as one is to whom those inside have passed a handle on.
_JOIN: Final = """
import errno, os, select, sys, ctypes
pid, path = sys.argv[1:]
libc = ctypes.CDLL(None, use_errno=True)
# The /proc in there is of other processes.
mine = os.open("/proc/self/fd", os.O_PATH)
groups = [line.rstrip().split(":") for line in open(f"/proc/{pid}/cgroup")]
for _, controllers, group in groups:
    for root in ("/sys/fs/cgroup/" + controllers.replace("name=", ""), "/sys/fs/cgroup/unified"):
        try:
            with open(f"{root}{group}/cgroup.procs", "w") as file:
                file.write(str(os.getpid()))
        except OSError:
            pass
spaces = [(name, os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY)) for name in ("user", "mnt")]
for name, space in spaces:
    if name == "mnt" or not os.path.samestat(os.fstat(space), os.stat("/proc/self/ns/user")):
        assert libc.setns(space, 0) == 0, os.strerror(ctypes.get_errno())
        if name == "user":
            os.setgroups([]), os.setgid(0), os.setuid(0)
"""
# Opens a node without opening its device, and does what it is told.
_KEEPER: Final = f"""{_JOIN}
node = os.open(path, os.O_PATH)
print(node, flush=True)
def again():
    os.close(os.open(str(node), os.O_RDONLY | os.O_NONBLOCK, dir_fd=mine))
def loosen():
    os.chmod(str(node), 0o777, dir_fd=mine)
def take():
    os.chown(str(node), 0, 0, dir_fd=mine)
for line in sys.stdin:
    try:
        {{"open": again, "chmod": loosen, "chown": take}}[line.strip()]()
    except OSError as error:
        print(errno.errorcode[error.errno], flush=True)
    else:
        print("done", flush=True)
"""
# Opens the device, and reads from it when it is told to; so does a child of it, by what it has inherited.
_OPENER: Final = f"""{_JOIN}
def read():
    try:
        os.lseek(device, 0, os.SEEK_SET)
        os.read(device, 18)
    except OSError as error:
        print(errno.errorcode[error.errno], flush=True)
    else:
        print("done", flush=True)
device = os.open(path, os.O_RDWR | os.O_NONBLOCK)
asked, ask = os.pipe()
if os.fork() == 0:
    os.close(ask)
    while os.read(asked, 1):
        read()
    os._exit(0)
print(device, flush=True)
for line in sys.stdin:
    if line.strip() == "child":
        os.write(ask, b".")
    else:
        read()
"""
# Takes a handle on each node that is at the path for as long as it runs.
_CATCHER: Final = f"""{_JOIN}
import stat
caught = {{}}
print(0, flush=True)
while not select.select([sys.stdin], [], [], 0)[0]:
    try:
        node = os.open(path, os.O_PATH)
    except OSError:
        continue
    found = os.fstat(node)
    if stat.S_ISCHR(found.st_mode) and found.st_ino not in caught:
        caught[found.st_ino] = node
    else:
        os.close(node)
print(*caught.values(), flush=True)
sys.stdin.read()
"""


class _Inside:
    """A program that has joined a container, and is asked by lines, while the context lasts."""

    def __init__(self, container: Container, path: str, program: str) -> None:
        words = [sys.executable, "-c", program, str(container.pid), path]
        self._process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={}
        )
        number = self._read()
        assert number.isdecimal(), "the program could not join, or open the node"
        self._number = int(number)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of it."""
        self._process.kill()
        self._process.communicate()

    def _is_sealed(self, number: int) -> bool:
        status = os.stat(f"/proc/{self._process.pid}/fd/{number}")
        assert stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode)
        return (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (0, 0, 0)

    def _do(self, what: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


class Handle(_Inside):
    """A handle on the node at a path inside."""

    def __init__(self, container: Container, path: str) -> None:
        super().__init__(container, path, _KEEPER)

    @property
    def sealed(self) -> bool:
        """Whether the node is the host's root's alone, and for nobody to open."""
        return self._is_sealed(self._number)

    def open(self) -> str:
        """What comes of opening the device by the handle: `done`, or the error's name."""
        return self._do("open")

    def undo(self) -> list[str]:
        """What comes of trying to get at it: for everybody, and for itself."""
        return [self._do("chown"), self._do("chmod"), self._do("open")]


class Opened(_Inside):
    """A descriptor by which a USB device or a tty is open, of its node at a path inside."""

    def __init__(self, container: Container, path: str) -> None:
        super().__init__(container, path, _OPENER)

    def read(self) -> str:
        """What comes of reading the first bytes by it: `done`, or the error's name."""
        return self._do("read")

    def read_in_child(self) -> str:
        """The same of a child, which has inherited it."""
        return self._do("child")

    @property
    def pid(self) -> int:
        """The process that has it."""
        return self._process.pid


class Catcher(_Inside):
    """Takes a handle on each device node that comes to a path inside, as fast as it can."""

    def __init__(self, container: Container, path: str) -> None:
        super().__init__(container, path, _CATCHER)
        self._caught: list[int] | None = None

    def caught(self) -> int:
        """Take no more. Returns how many it has."""
        if self._caught is None:
            self._caught = [int(each) for each in self._do("stop").split()]
        return len(self._caught)

    @property
    def sealed(self) -> bool:
        """Whether all that it has are as `Handle.sealed` says."""
        assert self._caught is not None, "it still takes more"
        return all(map(self._is_sealed, self._caught))
