"""systemd-udevd and our udev rule: those that are there, else ours for the time."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from hotplugd.host.sysfs import boot
from hotplugd.model.entry import slot_links, slot_made, slot_of_file
from tests.support.lab.claims import claim
from tests.support.lab.wait import ended, eventually

RULE = Path(__file__).parents[3] / "rules" / "99-hotplugd.rules"
SLOTS = Path("/dev/hotplugd")
# Network interfaces have none, and those of other namespaces would never be heard of.
_NODES = ("--subsystem-nomatch=net",)
_JUST_NOW = 60.0
_PROBE = "/sys/class/vc/vcs1"
_PROGRAMS = ("/lib/systemd/systemd-udevd", "/usr/lib/systemd/systemd-udevd", "/sbin/udevd")
_INSTALLED = (
    "/etc/udev/rules.d",
    "/usr/local/lib/udev/rules.d",
    "/usr/lib/udev/rules.d",
    "/lib/udev/rules.d",
)
# Of a udevd that tests started, in its environment.
_OURS = "HOTPLUGD_TESTS"
_FOR_THE_TIME = Path("/run/udev/rules.d", RULE.name)


@contextmanager
def udevd() -> Iterator[None]:
    """A udevd runs, with our rule, and has processed every device; afterwards all is as it was."""
    with ExitStack() as undo:
        undo.callback(_tidy_slots, existed=SLOTS.exists())
        undo.enter_context(_daemon())
        undo.enter_context(_rule())
        yield


def slot_said(properties: Mapping[str, str]) -> str:
    """The slot that our udev rule means, which cannot read the boot's id."""
    return properties["HOTPLUGD_SLOT"].replace("-boot-", f"-{boot()}-")


def settle() -> None:
    """Wait until udevd has nothing left to do."""
    subprocess.run(["udevadm", "settle", "--timeout=30"], check=True)


def trigger(*arguments: str) -> None:
    """Have the kernel tell udevd of present devices once more, and wait until udevd is done with each."""
    subprocess.run(["udevadm", "trigger", "--settle", *arguments], check=True, timeout=60)


@contextmanager
def _daemon() -> Iterator[None]:
    """A udevd runs. Other tests may run at the same time: the first one starts it, the last one ends it."""
    with claim("udevd", 0, shared=True) as users:
        with claim("udevd", 1):
            if process() is None:
                _start()
        try:
            yield
        finally:
            with claim("udevd", 1):
                pid = process()
                if pid is not None and _is_ours(pid) and users.make_sole():
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGTERM)
                    eventually(lambda: ended(pid))


def _start() -> None:
    program = next((each for each in _PROGRAMS if os.access(each, os.X_OK)), shutil.which("systemd-udevd"))
    assert program is not None, "udevd is not installed; on Debian: apt-get install udev"
    subprocess.run([program, "--daemon"], check=True, env={**os.environ, _OURS: "1"})
    eventually(lambda: process() or 0)
    for kind in ("subsystems", "devices"):
        subprocess.run(["udevadm", "trigger", f"--type={kind}", "--action=add"], check=True)
    settle()


def _is_ours(pid: int) -> bool:
    """Whether tests started this udevd."""
    with suppress(OSError):
        return f"{_OURS}=1".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return False


@contextmanager
def _rule() -> Iterator[None]:
    """Our rule holds. Other tests may run at the same time: the last one takes it away."""
    if any(Path(folder, RULE.name).exists() for folder in _INSTALLED):
        trigger(*_NODES)
        yield
        return
    users = os.open("/run/udev", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(users, fcntl.LOCK_SH)
        _FOR_THE_TIME.parent.mkdir(parents=True, exist_ok=True)
        # At once: udevd may read it for somebody else's event while it is being written.
        fresh = _FOR_THE_TIME.with_suffix(f".{os.getpid()}")
        shutil.copy(RULE, fresh)
        fresh.replace(_FOR_THE_TIME)
        eventually(_carried_out, pause=0.1)
        trigger(*_NODES)
        yield
    finally:
        with suppress(BlockingIOError):
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _FOR_THE_TIME.unlink(missing_ok=True)
            with suppress(OSError):  # somebody else has rules there
                _FOR_THE_TIME.parent.rmdir()
            eventually(lambda: not _carried_out(), pause=0.1)
            trigger(*_NODES)
        os.close(users)


@contextmanager
def ruled_by(rule: Path) -> Iterator[None]:
    """This rule file holds in place of ours."""
    _replace(rule)
    try:
        yield
    finally:
        _replace(RULE)


@contextmanager
def another_rule(name: str, text: str) -> Iterator[None]:
    """A rule file of this name holds beside ours."""
    path = _FOR_THE_TIME.with_name(name)
    # Where our rule is installed nobody has made the folder.
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    subprocess.run(["udevadm", "control", "--reload"], check=True)
    settle()
    try:
        yield
    finally:
        path.unlink()
        subprocess.run(["udevadm", "control", "--reload"], check=True)


def _replace(rule: Path) -> None:
    # At once: udevd may read it for somebody else's event while it is being written.
    fresh = _FOR_THE_TIME.with_suffix(f".{os.getpid()}")
    shutil.copy(rule, fresh)
    fresh.replace(_FOR_THE_TIME)
    subprocess.run(["udevadm", "control", "--reload"], check=True)
    settle()


def _carried_out() -> bool:
    """Whether udevd goes by our rule. It looks for changed rules by itself too, within three seconds."""
    subprocess.run(["udevadm", "control", "--reload"], check=False, capture_output=True)
    trigger(_PROBE)
    found = subprocess.run(["udevadm", "info", "--query=property", _PROBE], check=True, capture_output=True)
    return b"HOTPLUGD_SLOT=" in found.stdout


def process() -> int | None:
    """The udevd that serves this machine, or None."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            with suppress(OSError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                name = Path(words[0].decode(errors="replace")).name
                if name in ("systemd-udevd", "udevd") and _is_master(entry):
                    return int(entry.name)
    return None


def _is_master(entry: Path) -> bool:
    """Not one of udevd's workers, and hearing what we hear: uevents go by network namespace."""
    fields = (entry / "stat").read_text().rpartition(")")[2].split()
    parent = Path("/proc", fields[1], "cmdline")
    is_worker = parent.exists() and b"udevd" in parent.read_bytes().split(b"\0")[0]
    ours = Path("/proc/self/ns/net").stat().st_ino
    return not is_worker and (entry / "ns/net").stat().st_ino == ours


def _is_held(link: Path) -> bool:
    """Whether a daemon that runs sees to a slot's link."""
    of = slot_of_file(link.name, boot())
    with suppress(FileNotFoundError):
        if of:
            with open(slot_made(of), "rb") as mark:
                try:
                    fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return True
    return False


def _tidy_slots(*, existed: bool) -> None:
    """The daemon leaves its folder and a lock file, on purpose; the tests leave nothing.

    What leads somewhere, is beside what does, is locked, or was noted just now, is in use.
    """
    if not SLOTS.exists():
        return
    for path in SLOTS.iterdir():
        if path.is_symlink():
            if not path.exists() and not _is_held(path):
                path.unlink(missing_ok=True)
            continue
        of = slot_of_file(path.name, boot())
        if of and any(map(os.path.exists, slot_links(of))):
            continue
        with suppress(FileNotFoundError):
            # Another test's, between a crash and the next start.
            if (
                path.name.startswith((".adding-", ".links-", ".records-"))
                and time.time() - path.stat().st_mtime < _JUST_NOW
            ):
                continue
        with suppress(BlockingIOError, FileNotFoundError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
    if not existed:
        with suppress(OSError):
            SLOTS.rmdir()
