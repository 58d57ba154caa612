"""A file system that never answers, inside a container or not.

Not with devices of a made-up USB bus: umockdev's library holds a lock of the whole process meanwhile.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.lab.container import Container

# Mounts a file system over a folder in a process's mount namespace, and answers none of its requests.
_FUSE = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
def must(result):
    assert result == 0, os.strerror(ctypes.get_errno())
pid, place, *spaces = sys.argv[1:]
opened = [os.open(f"/proc/{pid}/ns/{space}", os.O_RDONLY) for space in spaces]
for space, descriptor in zip(spaces, opened):
    if space == "mnt":
        fuse = os.open("/dev/fuse", os.O_RDWR)
    must(libc.setns(descriptor, 0))
    if space == "user":
        os.setgid(0)
        os.setuid(0)
options = f"fd={fuse},rootmode=40000,user_id=0,group_id=0,allow_other"
must(libc.mount(b"hang", place.encode(), b"fuse", 0, options.encode()))
print("mounted", flush=True)
sys.stdin.read()
"""

# The same in the host's, but that every name in there is a device node of a number, until it is looked at.
_NODE = """
import ctypes, os, struct, sys
place, mode, number = sys.argv[1:]
libc = ctypes.CDLL(None, use_errno=True)
fuse = os.open("/dev/fuse", os.O_RDWR)
options = f"fd={fuse},rootmode=40000,user_id=0,group_id=0,allow_other"
assert libc.mount(b"node", place.encode(), b"fuse", 0, options.encode()) == 0, os.strerror(ctypes.get_errno())
print("mounted", flush=True)
# linux/fuse.h: fuse_in_header, fuse_out_header, fuse_init_out, fuse_entry_out with fuse_attr
while True:
    request = os.read(fuse, 1 << 20)
    _, kind, unique = struct.unpack_from("=IIQ", request)
    if kind == 26:
        answer = struct.pack("=IIIIHHII36x", 7, 31, 0, 0, 1, 1, 1 << 16, 1)
    elif kind == 1:
        answer = struct.pack("=QQQQII", 2, 0, 1 << 30, 0, 0, 0)
        answer += struct.pack("=Q40x12xIIIIIII", 2, int(mode), 1, 0, 0, int(number), 4096, 0)
    else:
        continue
    os.write(fuse, struct.pack("=IiQ", 16 + len(answer), 0, unique) + answer)
"""


@contextmanager
def hanging(container: Container, *spaces: str, place: str = "/mnt") -> Iterator[Callable[[], None]]:
    """At this place in there, a file system hangs. Gives what ends its server, and so all waiting for it."""
    words = [sys.executable, "-c", _FUSE, str(container.pid), place, *spaces]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == "mounted\n"
            yield server.kill
        finally:
            server.kill()
            container.run("umount", "-l", place)


@contextmanager
def hanging_here(place: Path) -> Iterator[None]:
    """At this place of the host's a file system hangs."""
    words = [sys.executable, "-c", _FUSE, str(os.getpid()), str(place), "mnt"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == "mounted\n"
            yield
        finally:
            server.kill()
            subprocess.run(["umount", "--lazy", place], check=True)


@contextmanager
def nodes_here(place: Path, mode: int, number: int) -> Iterator[Callable[[], None]]:
    """At this place of the host's every name is a node, and who asks what it is like is never answered.

    number  as in stat(2). Gives what ends its server, and so all waiting for it.
    """
    words = [sys.executable, "-c", _NODE, str(place), str(mode), str(number)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == "mounted\n"
            yield server.kill
        finally:
            server.kill()
            subprocess.run(["umount", "--lazy", place], check=True)


# The init of a container without a server: its root is such a file system, or an overlay of it. It answers
# whatever a mount asks, and says nothing of any name. The init serves it, and is not one that waits for it.
_ROOT = """
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
def must(result):
    assert result == 0, os.strerror(ctypes.get_errno())
kind, place = sys.argv[1:]
fuse = os.open("/dev/fuse", os.O_RDWR)
must(libc.unshare(0x60020000))  # linux/sched.h: CLONE_NEWPID, CLONE_NEWNET, CLONE_NEWNS
if (init := os.fork()) != 0:
    os.write(1, b"%d\\n" % init)  # whole: the other one writes there, too
    os.close(fuse)
    os.waitpid(init, 0)
    sys.exit()
must(libc.mount(b"none", b"/", None, 0x44000, None))  # MS_REC, MS_PRIVATE
must(libc.mount(b"none", place.encode(), b"tmpfs", 0, b""))
os.chdir(place)
for name in ("fuse", "other", "root"):
    os.mkdir(name)
options = f"fd={fuse},rootmode=40000,user_id=0,group_id=0,allow_other"
must(libc.mount(b"hang", b"root" if kind == "fuse" else b"fuse", b"fuse", 0, options.encode()))
if os.fork() == 0:
    os.close(fuse)
    try:
        if kind == "overlay":
            must(libc.mount(b"over", b"root", b"overlay", 0, b"lowerdir=fuse:other"))
        os.chdir("root")
        must(libc.syscall(155, b".", b"."))  # pivot_root(2)
        print("mounted", flush=True)
    finally:
        os._exit(0)
os.close(1)
# linux/fuse.h: fuse_init_out, fuse_attr_out and fuse_kstatfs
root = struct.pack("=Q40x12xIIIIIII", 1, 0o40755, 2, 0, 0, 0, 4096, 0)
answers = {
    26: struct.pack("=IIIIHHII36x", 7, 31, 0, 0, 1, 1, 1 << 16, 1),
    3: struct.pack("=QII", 1 << 30, 0, 0) + root,
    17: struct.pack("=QQQQQIII28x", 1, 1, 1, 1, 1, 4096, 255, 4096),
}
while True:
    request = os.read(fuse, 1 << 20)
    _, asked, unique = struct.unpack_from("=IIQ", request)
    if asked in answers:
        os.write(fuse, struct.pack("=IiQ", 16 + len(answers[asked]), 0, unique) + answers[asked])
    elif asked not in (1, 2, 36, 42):  # FUSE_LOOKUP, FUSE_FORGET, FUSE_INTERRUPT, FUSE_BATCH_FORGET
        os.write(fuse, struct.pack("=IiQ", 16, -38, unique))
"""


@contextmanager
def hanging_root(kind: str, place: Path) -> Iterator[int]:
    """The number of a container's init, whose root hangs: a file system of the kind `fuse`, or `overlay`."""
    words = [sys.executable, "-c", _ROOT, kind, str(place)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        init = int(server.stdout.readline())
        try:
            assert server.stdout.readline() == "mounted\n"
            yield init
        finally:
            os.kill(init, signal.SIGKILL)
