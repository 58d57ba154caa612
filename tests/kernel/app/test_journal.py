"""`hotplugd history` with a real systemd-journald: what is written, and what is read of it."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.lab.journal import Journal
from tests.support.lab.nobody import as_nobody

pytestmark = pytest.mark.usefixtures("root")
# Writes events as the daemon does: each word is a JSON object with `level` and `event`.
_WRITE = """
import json, sys
from hotplugd.app.event_buffer import EventBuffer
from hotplugd.app.systemd import logger
from hotplugd.host.sysfs import boot
log = logger("journal", buffer=EventBuffer(boot()))
for word in sys.argv[1:]:
    fields = json.loads(word)
    getattr(log, fields.pop("level", "info"))(fields.pop("event"), **fields)
"""
_READ_ONLY = """
for each in / /tmp /var/tmp /dev/shm "$PWD"; do
  if mountpoint -q "$each"; then mount -o remount,ro,bind "$each"; fi
done
! touch /tmp/x /var/tmp/x 2>/dev/null
exec "$@"
"""
PHONE = {
    "device": "/dev/bus/usb/001/064", "identity": "serial:R5C001", "serial": "R5C001", "port": "1-4.2",
    "location": "shelf-1/4", "model": "Pixel_8", "slot": "c-189-63-1a2b3c4d-9", "rule": "phones",
}  # fmt: skip
IN = {**PHONE, "instance": "lab/runner-1", "entry": "hp-1", "path": "/dev/bus/usb/001/064"}
LIFE = [
    {"event": "starting", "version": "1"},
    {"event": "device.seen", **PHONE, "cause": "plug"},
    {"event": "device.asked", **IN, "action": "add", "cause": "plug"},
    {"event": "device.add", **IN, "action": "add", "cause": "plug", "after_plug": "12.0 ms"},
    {"event": "device.problem", "level": "warning", **IN, "reason": "it is not seen inside"},
    {"event": "device.seen", "device": "/dev/ttyUSB0", "identity": "serial:A5", "serial": "A5"},
]
END = [
    {"event": "problem.over", **IN, "reason": "it is not seen inside"},
    {"event": "device.gone", **PHONE, "cause": "plug"},
    {"event": "device.asked", **IN, "action": "remove", "cause": "plug"},
    {"event": "device.remove", **IN, "action": "remove", "cause": "plug"},
]
NAMES = [each["event"] for each in LIFE[1:5]]


class Scene:
    """A journal, and a configuration whose daemon does not run."""

    def __init__(self, folder: Path, journal: Journal) -> None:
        self.journal = journal
        self.config = folder / "config.yaml"
        self.rules = folder / "r.yaml"
        self.rules.write_text("rules: [{name: phones, match: {id: '18d1:*'}, attach: {to: runner-1}}]\n")
        self.config.write_text(f"rules: {self.rules}\ncontrol: {folder / 'none.sock'}\n")

    def write(self, *events: dict[str, Any]) -> None:
        done = self.journal.run(sys.executable, "-c", _WRITE, *map(json.dumps, events))
        assert done.returncode == 0, done.stderr
        self.journal.sync()

    def words(self, *words: str) -> tuple[str, ...]:
        return ("history", *words, "--config", str(self.config))

    def history(self, *words: str) -> list[dict[str, Any]]:
        done = self.journal.hotplugd(*self.words(*words, "--json"))
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return [json.loads(each) for each in done.stdout.splitlines()]


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that everybody may read."""
    with tempfile.TemporaryDirectory(prefix="hph-", dir="/tmp") as made:
        Path(made).chmod(0o755)
        yield Path(made)


@pytest.fixture
def scene(folder: Path) -> Iterator[Scene]:
    with Journal() as journal:
        yield Scene(folder, journal)


def names(events: list[dict[str, Any]]) -> list[str]:
    return [each["event"] for each in events]


def test_what_was_written_is_read_by_every_name(scene: Scene) -> None:
    scene.write(*LIFE)
    found = scene.history("R5C001")
    assert names(found) == NAMES
    for told, written in zip(found, LIFE[1:5], strict=True):
        assert written.items() <= {"level": "info", **told}.items()
        assert told["timestamp"].endswith("Z")
        assert {"boottime", "cursor"} <= told.keys()
    for name in (
        "serial:R5C001",
        "/dev/bus/usb/001/064",
        "1-4.2",
        "shelf-1/4",
        "c-189-63-1a2b3c4d-9",
        "R5C*",
    ):
        assert scene.history(name) == found, name
    assert names(scene.history("lab/runner-1")) == NAMES[1:]
    assert names(scene.history("A5")) == ["device.seen"]


def test_since_begins_with_what_was_so(scene: Scene) -> None:
    scene.write(*LIFE)
    scene.write(*END)
    every = scene.history("R5C001")
    begin = every[4]["timestamp"]
    found = scene.history("R5C001", "--since", begin)
    before = [each for each in found if each.get("before")]
    assert names(before) == ["device.add", "device.problem"]
    assert [each for each in found if not each.get("before")] == every[4:]
    for since in ("1h", "3 hours ago", "yesterday", "2020-01-01", "@0"):
        assert scene.history("R5C001", "--since", since) == every, since
    assert scene.history("R5C001", "--since", "0s") == []
    # As `history` itself prints it.
    shown = scene.journal.hotplugd(*scene.words("R5C001")).stdout.splitlines()[1]
    pasted = scene.history("R5C001", "--since", shown[:29])
    assert names([each for each in pasted if not each.get("before")])[-4:] == names(END)


def test_a_start_ends_the_problems_of_a_daemon_that_was_killed(scene: Scene) -> None:
    scene.write(*LIFE)
    scene.write(LIFE[0], {"event": "device.attached", **IN})
    found = scene.history("R5C001", "--since", "0s")
    assert names(found) == ["device.attached"]


def test_what_was_deleted_while_no_daemon_ran_is_attached_no_more(scene: Scene) -> None:
    scene.write(*LIFE)
    scene.write(LIFE[0], {"event": "server.connected", "server": "lxd"}, {"event": "ready"})
    for name in ("lab/runner-1", "lab/runner-*"):
        assert scene.history(name, "--since", "0s") == [], name


def test_an_absent_device_is_explained(scene: Scene) -> None:
    scene.write(*LIFE, *END)
    done = scene.journal.hotplugd(*scene.words("R5C001"))
    last = done.stdout.splitlines()[-1]
    assert last.startswith("now: not plugged in; rule phones would take it; last seen 20")
    assert last.endswith(" at shelf-1/4")
    scene.rules.write_text("rules: []\n")
    done = scene.journal.hotplugd(*scene.words("R5C001"))
    assert "; rule phones took it, and is not in force any more; " in done.stdout
    done = scene.journal.hotplugd("explain", "R5C001", "--config", str(scene.config))
    assert "not plugged in; rule phones took it, and is not in force any more; last seen 20" in done.stderr
    # It is there, and what is in an instance is no one device.
    scene.write(LIFE[1])
    assert "now:" not in scene.journal.hotplugd(*scene.words("R5C001")).stdout
    assert "now:" not in scene.journal.hotplugd(*scene.words("lab/runner-1")).stdout


def test_one_that_was_never_seen_is_explained_by_the_rules(scene: Scene) -> None:
    scene.rules.write_text("rules: [{name: hub-2, match: {serial: 1A0015}, attach: {to: runner-1}}]\n")
    scene.write(*LIFE)
    done = scene.journal.hotplugd(*scene.words("1A0015"))
    assert done.returncode == 1
    assert "nothing is known of 1A0015" in done.stderr
    assert "it is not plugged in; rule hub-2 would take it" in done.stderr


def test_files_that_were_rotated_are_read_too(scene: Scene) -> None:
    scene.write(*LIFE)
    scene.journal.rotate()
    scene.write(*END)
    scene.journal.rotate()
    assert names(scene.history("R5C001")) == [*NAMES, *names(END)]


def test_it_is_read_where_nothing_can_be_written(scene: Scene) -> None:
    scene.write(*LIFE)
    words = (sys.executable, "-m", "hotplugd", *scene.words("R5C001", "--json"))
    done = scene.journal.run("unshare", "--mount", "sh", "-ec", _READ_ONLY, "sh", *words)
    assert (done.returncode, done.stderr) == (0, "")
    assert names([json.loads(each) for each in done.stdout.splitlines()]) == NAMES


def test_others_cannot_write_what_is_read(scene: Scene) -> None:
    forged = (
        "import os; os.setuid(65534); from systemd import journal; journal.send('x', SYSLOG_IDENTIFIER="
        "'hotplugd', HOTPLUGD_EVENT='device.add', DEVICE='/dev/x', HOTPLUGD_SERIAL='R5C001')"
    )
    scene.write(*LIFE)
    preloaded = f"import systemd.journal, encodings.ascii; {forged}"
    assert scene.journal.run(sys.executable, "-c", preloaded).returncode == 0
    scene.journal.sync()
    assert names(scene.history("R5C001")) == NAMES


def test_who_may_not_read_it_is_told(scene: Scene) -> None:
    scene.write(*LIFE)
    done = as_nobody(*scene.words("R5C001"), within=scene.journal.within)
    assert done.returncode == 1
    assert (
        "this user may not read the system's journal: root may, and the group systemd-journal" in done.stderr
    )
    assert "nothing is known of R5C001" in done.stderr


def test_no_journal_at_all_is_told(tmp_path: Path) -> None:
    with ExitStack() as undo:
        scene = Scene(tmp_path, undo.enter_context(Journal(runs=False)))
        done = scene.journal.hotplugd(*scene.words("R5C001"))
        assert done.returncode == 1
        assert done.stderr.startswith(
            "hotplugd: there is no journal; what is known is what the running daemon keeps, its last ten"
        )
