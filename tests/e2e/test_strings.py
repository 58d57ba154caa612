"""Devices that say anything, through the real daemon into a real container: nothing of it gets anywhere."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import pytest

from hotplugd.systemd import MESSAGE_IDS
from tests.fuzz.holds import can_be_shown
from tests.lab.container import Container
from tests.lab.daemon import Daemon, command
from tests.lab.server import Server
from tests.lab.usb import Phone, Plugged, Usb
from tests.lab.wait import eventually

_CANARY = Path("/dev/shm/hotplugd-canary")
# What udev's properties can have in them: no NUL, and no line's end where they come from a file.
STRINGS = {
    "a path": "../../../../dev/null",
    "a shell's words": f"$(touch {_CANARY})",
    "more of a shell's words": f"`touch {_CANARY}`;touch {_CANARY}|touch {_CANARY}",
    "a flag": "--flag",
    "a sequence": "\x1b[2J\x1b]0;title\x07\x9b31m",
    "the other direction": "\u202egnirts\u2066",
    "code units": "\U0001f600" * 63,
    "half a character": "A\udced\udca0\udc80B\udcff",
    "a line of JSON": '","event":"forged"}',
    "an assignment": "A ENV{HOTPLUGD_SLOT}=x",
    "a format": "%s%n{serial}{0}",
    "an entry's name": "hp-0123456789abcdef",
}
# Of sysfs, where udev has no serial number of the device.
RAW = {"a NUL": b"A\0B", "lines": b"A\n12:00:00 forged\r\nB", "bytes": b"\xff\xfe\x1b[2J\xed\xa0\x80"}
# As the name of a link these are harmless.
LINKED = {"a flag", "an entry's name"}
VENDORS = ("18d1", "1d6d", "1d6e", "1d6f")
RULES = """
rules:
  - {{name: flag, match: {{vendor_id: "1d6d"}}, attach: {{to: "{{serial}}"}}}}
  - {{name: named, match: {{vendor_id: "1d6e"}}, attach: {{to: "{box}-{{serial}}"}}}}
  - {{name: linked, match: {{vendor_id: "1d6f"}}, attach: {{to: {box}, link: "/dev/by-id/{{serial}}"}}}}
  - {{name: inside, match: {{vendor_id: "18d1"}}, attach: {{to: {box}}}}}
"""


@dataclass(frozen=True, slots=True)
class Scene:
    """A daemon and nasty phones: inside are those of which a rule asks for no string."""

    running: Daemon
    container: Container
    inside: Sequence[Plugged]
    held: Sequence[Plugged]
    before: frozenset[str]


def below_dev(container: Container) -> frozenset[str]:
    """Everything below /dev inside, as `find` there has it."""
    return frozenset(container.run("find", "/dev").output.splitlines())


@pytest.fixture(scope="module")
def scene(server: Server) -> Iterator[Scene]:
    """One for all: nobody changes it."""
    _CANARY.unlink(missing_ok=True)
    with ExitStack() as undo:
        container = server.launch()
        undo.callback(container.delete)
        usb = undo.enter_context(Usb())
        running = undo.enter_context(Daemon(server.socket, RULES.format(box=container), usb.environment))
        before = below_dev(container)
        inside, held = [], []
        for at, (name, text) in enumerate(STRINGS.items(), 1):
            more = {"ID_MODEL": text, "ID_VENDOR_FROM_DATABASE": text, "NAME": text}
            phones = [Phone(vendor, serial=text, properties=more) for vendor in VENDORS]
            plugged = [usb.plug(phone, str(10 * at + kind)) for kind, phone in enumerate(phones)]
            inside.append(plugged[0])
            held += plugged[1:-1]
            (inside if name in LINKED else held).append(plugged[-1])
        for at, raw in enumerate(RAW.values(), 1):
            phone = usb.plug(Phone(), str(at))
            usb.says(phone, "serial", raw)
            inside.append(phone)
        eventually(lambda: all(container.look(each.node) for each in inside))
        eventually(lambda: problems(running) >= {each.node for each in held})
        yield Scene(running, container, inside, held, before)
    assert not _CANARY.exists()


def problems(running: Daemon) -> set[str]:
    found = cast("list[dict[str, str]]", running.status()["problems"])
    return {each["device"] for each in found}


def test_entries_and_links_have_names_of_ours_alone(scene: Scene) -> None:
    for name, config in scene.container.devices.items():
        assert re.fullmatch("hp-[0-9a-f]{16}", name)
        assert re.fullmatch(r"/dev/hotplugd/c-189-[0-9]+-[0-9]+(\.r)?", config["source"])
        assert re.fullmatch("/dev/bus/usb/[0-9]{3}/[0-9]{3}", config["path"])
        can_be_shown(*config.values())
    for link in Path("/dev/hotplugd").iterdir():
        assert re.fullmatch(
            r"[bc]-[0-9]+-[0-9]+-i?[0-9]+(\.r|\.made)?|\.(lock|(adding|new)-[0-9a-f]{16})-[0-9a-f]{16}|\.[a-z]+",
            link.name,
        )


def test_inside_there_is_nothing_but_their_nodes(scene: Scene) -> None:
    more = below_dev(scene.container) - scene.before
    nodes = {each.node for each in scene.inside}
    assert {path for path in more if re.fullmatch("/dev/bus/usb/[0-9]{3}/[0-9]{3}", path)} >= nodes
    links = {"/dev/by-id", *(f"/dev/by-id/{STRINGS[name]}" for name in LINKED)}
    assert all(re.fullmatch("/dev/bus(/usb(/[0-9]{3}(/[0-9]{3})?)?)?", path) for path in more - links)
    for each in scene.held:
        assert scene.container.look(each.node) is None


def test_the_log_is_one_event_a_line(scene: Scene) -> None:
    scene.running.reload()
    lines = scene.running.log().splitlines()
    assert len(lines) == scene.running.log().count("\n") > len(STRINGS)
    for line in lines:
        can_be_shown(line)
        event = json.loads(line)
        assert event["event"] in {*MESSAGE_IDS, "leave-alone.written", "slot.swept"}
        for value in event.values():
            can_be_shown(str(value))


@pytest.mark.parametrize("terminal", [False, True], ids=["piped", "on a terminal"])
def test_what_commands_print_moves_no_cursor(scene: Scene, terminal: bool) -> None:
    # `devices` and `status` show all of them; one whose strings are udev's, and one with the kernel's alone.
    nodes = [scene.inside[4].node, scene.inside[-1].node]
    commands = [["devices", "--all"], ["status"], ["plan"], *(["explain", node] for node in nodes)]
    for words in commands:
        shown = _on_a_terminal(scene.running, words) if terminal else _piped(scene.running, words)
        can_be_shown(shown, lines=True)
        assert len(shown) > 10


def test_what_commands_print_as_json_is_json_of_plain_characters(scene: Scene) -> None:
    serials = set()
    for each in json.loads(_piped(scene.running, ["devices", "--json"])):
        serials.add(each.get("serial"))
    assert serials >= set(STRINGS.values())
    for words in (["status", "--json"], ["plan", "--json"], ["explain", scene.inside[0].node, "--json"]):
        shown = _piped(scene.running, words)
        assert shown.isascii()
        can_be_shown(shown, lines=True)
        json.loads(shown)


def test_what_udevd_is_told_has_nothing_of_theirs(scene: Scene) -> None:
    (files,) = [list((scene.running.folder / "udev").iterdir())]
    text = "".join(each.read_text() for each in files)
    can_be_shown(text, lines=True)
    assert [each for each in STRINGS.values() if each in text] == []


def _piped(running: Daemon, words: Sequence[str]) -> str:
    done = running.ask(*words)
    assert done.returncode in (0, 1)
    assert "Traceback" not in done.stderr
    return done.stdout


def _on_a_terminal(running: Daemon, words: Sequence[str]) -> str:
    """What a command writes on a terminal, but for colours and the terminal's own carriage returns."""
    name, *rest = words
    parent, child = pty.openpty()
    environment = {**running.environment, "TERM": "xterm-256color", "COLUMNS": "200"}
    with os.fdopen(parent, "rb", buffering=0) as screen:
        with subprocess.Popen(
            [*command(), name, "--config", str(running.config), *rest],
            stdin=child, stdout=child, stderr=child, env=environment,
        ) as process:  # fmt: skip
            os.close(child)
            raw = b"".join(iter(_reader(screen), b""))
        assert process.returncode in (0, 1)
    text = re.sub("\x1b\\[[0-9;]*m", "", raw.decode())
    return text.replace("\r\n", "\n")


def _reader(screen: IO[bytes]) -> Callable[[], bytes]:
    def read() -> bytes:
        try:
            return screen.read(1 << 16) or b""
        except OSError:  # the other side is closed
            return b""

    return read
