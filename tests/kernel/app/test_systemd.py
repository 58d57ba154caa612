"""What the log looks like, where it goes, and what its names mean."""

from __future__ import annotations

import errno
import json
import os
import pty
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

import pytest

from hotplugd.app import systemd
from hotplugd.app.systemd import MESSAGE_IDS
from tests.support.log_events import logged

# Whoever looks for one of these by its id has nothing to gain: each goes along with one that has an id,
# or is for whoever tries hotplugd out.
_HOSTILE = "1A\x1b[2J\n\u202eevil\udc80"
_TAME = "1A\\x1b[2J\\x0a\\u202eevil\\udc80"
# A traceback has lines, of which none begins like an event.
_TAME_LINES = "1A\\x1b[2J\n    \\u202eevil\\udc80"
_WRITE = """
from hotplugd.app.systemd import logger
log = logger()
log.info("device.add", device="/dev/x", rule="r", instance="lab/c1", action="add", path="/dev/y", why="so")
log.warning("server.away", reason=%r)
try:
    raise ValueError(%r)
except ValueError:
    log.critical("defect", exc_info=True)
log.debug("unheard")
"""
_JOURNAL = """
import os, socket, subprocess, sys
os.makedirs("/run/systemd/journal")
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal, open("/run/stderr", "w+b") as stderr:
    journal.bind("/run/systemd/journal/socket")
    found = os.fstat(stderr.fileno())
    environment = {**os.environ, "JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino + int(sys.argv[2])}"}
    subprocess.run([sys.executable, "-c", sys.argv[1]], env=environment, stderr=stderr, check=True)
    while True:
        try:
            print(journal.recv(1 << 16, socket.MSG_DONTWAIT).hex())
        except BlockingIOError:
            break
    stderr.seek(0)
    sys.stderr.buffer.write(stderr.read())
"""


def _written(environment: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(
        [sys.executable, "-c", _WRITE % (_HOSTILE, _HOSTILE)], capture_output=True, text=True, check=True,
        env={**os.environ, **(environment or {})},
    )  # fmt: skip
    assert done.stdout == ""
    return done.stderr


@pytest.fixture(scope="module")
def lines() -> list[dict[str, str]]:
    return [json.loads(line) for line in _written().splitlines()]


class TestLines:
    """Standard error is no terminal."""

    def test_each_event_is_a_line_of_json(self, lines: list[dict[str, str]]) -> None:
        assert [(each["event"], each["level"]) for each in lines] == [
            ("device.add", "info"),
            ("server.away", "warning"),
            ("defect", "critical"),
        ]

    def test_fields_keep_their_names(self, lines: list[dict[str, str]]) -> None:
        assert {key: lines[0][key] for key in ("device", "rule", "instance", "action", "path", "why")} == {
            "device": "/dev/x", "rule": "r", "instance": "lab/c1",
            "action": "add", "path": "/dev/y", "why": "so",
        }  # fmt: skip

    def test_each_has_the_time_of_day_with_its_zone(self, lines: list[dict[str, str]]) -> None:
        assert all(datetime.fromisoformat(each["timestamp"]).tzinfo is not None for each in lines)

    def test_strings_of_others_are_escaped(self, lines: list[dict[str, str]]) -> None:
        assert lines[1]["reason"] == _TAME

    def test_what_failed_has_its_traceback(self, lines: list[dict[str, str]]) -> None:
        assert lines[2]["exception"].endswith(f"\n    ValueError: {_TAME_LINES}")


class TestTerminal:
    @pytest.fixture(params=["", "1"], ids=["colours", "no colours"])
    def shown(self, request: pytest.FixtureRequest) -> Iterator[tuple[bool, str]]:
        parent, child = pty.openpty()
        environment = {**os.environ, "NO_COLOR": request.param, "TERM": "xterm"}
        with os.fdopen(parent, "rb", buffering=0) as screen:
            subprocess.run(
                [sys.executable, "-c", _WRITE % (_HOSTILE, _HOSTILE)],
                stderr=child,
                env=environment,
                check=True,
            )
            raw = screen.read(1 << 16)
            os.close(child)
            yield not request.param, raw.decode()

    def test_it_is_for_people_in_colours_where_they_want_them(self, shown: tuple[bool, str]) -> None:
        colours, text = shown
        assert ("\x1b[" in text) == colours
        plain = re.sub("\x1b\\[[0-9;]*m", "", text)
        assert re.search(r"^\d\d:\d\d:\d\d\.\d+ .*device\.add .*instance=lab/c1", plain, re.MULTILINE)

    def test_strings_of_others_are_escaped(self, shown: tuple[bool, str]) -> None:
        _, text = shown
        assert "\x1b[2J" not in text
        assert "\u202e" not in text
        assert len([line for line in text.splitlines() if "evil" in line and "1A" in line]) == 1
        assert [line[:5] for line in text.splitlines() if "evil" in line and "1A" not in line] == ["    \\"]


def _journal(off: int = 0) -> tuple[list[dict[str, str]], str]:
    """What systemd's library sends to the journal, in a mount namespace that has a journal of ours."""
    program = 'mount -t tmpfs none /run && exec "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", program, "sh", sys.executable, "-c", _JOURNAL,
         _WRITE % (_HOSTILE, _HOSTILE), str(off)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [dict(_fields(bytes.fromhex(each))) for each in done.stdout.split()], done.stderr


def _fields(message: bytes) -> Iterator[tuple[str, str]]:
    """The journal's native protocol: NAME=value, or NAME, a length and a value with lines in it."""
    while message:
        line, _, message = message.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            length = int.from_bytes(message[:8], "little")
            value, message = message[8 : 8 + length], message[9 + length :]
        yield name.decode(), value.decode()


def _fields_of(sent: Mapping[str, str]) -> dict[str, str]:
    stamps = {"HOTPLUGD_TIMESTAMP", "HOTPLUGD_BOOTTIME", "HOTPLUGD_CURSOR"}
    assert sent.keys() >= stamps
    return {key: value for key, value in sent.items() if not key.startswith("CODE_") and key not in stamps}


class TestJournal:
    @pytest.mark.usefixtures("root")
    def test_events_go_to_it_with_their_fields_where_standard_error_is_it(self) -> None:
        sent, printed = _journal()
        assert printed == ""
        assert _fields_of(sent[0]) == {
            "MESSAGE": "device.add device=/dev/x rule=r instance=lab/c1 action=add path=/dev/y why=so",
            "MESSAGE_ID": MESSAGE_IDS["device.add"], "PRIORITY": "6", "SYSLOG_IDENTIFIER": "hotplugd",
            "DEVICE": "/dev/x", "HOTPLUGD_RULE": "r", "HOTPLUGD_INSTANCE": "lab/c1",
            "HOTPLUGD_ACTION": "add", "HOTPLUGD_PATH": "/dev/y", "HOTPLUGD_WHY": "so",
            "HOTPLUGD_EVENT": "device.add",
        }  # fmt: skip
        assert sent[1]["MESSAGE"] == f"server.away reason={_TAME}"
        assert (sent[1]["PRIORITY"], sent[1]["MESSAGE_ID"]) == ("4", MESSAGE_IDS["server.away"])
        assert sent[2]["PRIORITY"] == "2"
        assert sent[2]["MESSAGE"].endswith(f"\n    ValueError: {_TAME_LINES}")
        assert sent[2]["MESSAGE_ID"] == MESSAGE_IDS["defect"]
        assert len(sent) == 3

    @pytest.mark.usefixtures("root")
    def test_nothing_goes_to_it_where_standard_error_is_something_else(self) -> None:
        sent, printed = _journal(off=1)
        assert sent == []
        assert len(printed.splitlines()) == 3

    @pytest.mark.parametrize("stream", ["", "1", "a:b", "1:2:3", ":", "0:0"])
    def test_a_stream_that_is_none_means_lines(self, stream: str) -> None:
        assert len(_written({"JOURNAL_STREAM": stream}).splitlines()) == 3

    def test_an_event_that_the_catalog_does_not_know_has_no_id(self, monkeypatch: pytest.MonkeyPatch) -> None:
        sent: list[dict[str, object]] = []
        monkeypatch.setattr("systemd.journal.send", lambda _, **fields: sent.append(fields))
        systemd._Journal()({"event": "made.up", "level": "info", "slot": "c-1-2-3"}, "")
        (fields,) = sent
        assert "MESSAGE_ID" not in fields
        assert (fields["HOTPLUGD_EVENT"], fields["HOTPLUGD_SLOT"]) == ("made.up", "c-1-2-3")


_THREADS: Final = 8
_EACH: Final = 200
_MANY: Final = f"""
import threading
from hotplugd.app.systemd import logger
log = logger()
def work(number):
    for each in range({_EACH}):
        log.info("device.add", device="x" * (each * 50), thread=number)
threads = [threading.Thread(target=work, args=(number,)) for number in range({_THREADS})]
for each in threads:
    each.start()
for each in threads:
    each.join()
"""
_ENDLESS: Final = """
from hotplugd.app.systemd import logger
log = logger()
while True:
    log.info("device.add", device="x" * 100)
"""


def _writes(program: str) -> list[str]:
    """What a program writes to standard error, write by write: a socket keeps each as a message."""
    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with mine, subprocess.Popen([sys.executable, "-c", program], stderr=theirs.fileno()) as child:
        theirs.close()
        found = list(iter(lambda: mine.recv(1 << 20).decode(), ""))
    assert child.returncode == 0
    return found


class TestWrites:
    """Each event is one write, with the end of its line."""

    def test_lines_are(self) -> None:
        writes = _writes(_WRITE % (_HOSTILE, _HOSTILE))
        assert [json.loads(each)["event"] for each in writes] == ["device.add", "server.away", "defect"]
        assert all(each.endswith("\n") for each in writes)

    def test_what_is_for_people_is(self) -> None:
        terminal = "import sys\nsys.stderr.isatty = lambda: True\n"
        writes = _writes(terminal + _WRITE % (_HOSTILE, _HOSTILE))
        assert [each.endswith("\n") for each in writes] == [True, True, True]
        assert "ValueError" in writes[2]

    def test_those_of_threads_are(self) -> None:
        found = [json.loads(each) for each in _writes(_MANY)]
        assert sorted({each["thread"] for each in found}) == list(range(_THREADS))
        assert len(found) == _THREADS * _EACH

    def test_a_crash_at_any_moment_leaves_whole_lines(self) -> None:
        for _ in range(20):
            mine, theirs = os.pipe()
            with os.fdopen(mine, "rb") as log:
                child = subprocess.Popen([sys.executable, "-c", _ENDLESS], stderr=theirs)
                os.close(theirs)
                first = log.readline()
                child.kill()
                child.wait()
                lines = (first + log.read()).splitlines(keepends=True)
            assert all(each.endswith(b"\n") and json.loads(each) for each in lines)

    def test_what_is_taken_in_parts_is_written_to_its_end(self, monkeypatch: pytest.MonkeyPatch) -> None:
        written = bytearray()

        def write(_: int, data: bytes) -> int:
            written.extend(data[:3])
            return min(len(data), 3)

        monkeypatch.setattr(os, "write", write)
        systemd.Lines(2).msg("a line")
        assert written == b"a line\n"

    def test_after_a_line_that_was_cut_the_next_one_begins_anew(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        written, room = bytearray(), [3, 0, 100]

        def write(_: int, data: bytes) -> int:
            if not (most := room.pop(0)):
                raise OSError(errno.ENOSPC, "No space left on device")
            written.extend(data[:most])
            return min(len(data), most)

        monkeypatch.setattr(os, "write", write)
        lines = systemd.Lines(2)
        lines.msg("a line")
        lines.msg("another")
        assert written == b"a l\nanother\n"


class TestNames:
    def test_ids_are_unique_and_look_like_ids(self) -> None:
        assert len(set(MESSAGE_IDS.values())) == len(MESSAGE_IDS)
        assert all(re.fullmatch("[0-9a-f]{32}", each) for each in MESSAGE_IDS.values())

    def test_every_event_has_an_id(self, project: Path) -> None:
        # `detach --all`, which has no log, tells the journal alone.
        events = {*logged(project / "hotplugd"), "detach-all.asked"}
        assert events == {*MESSAGE_IDS}
