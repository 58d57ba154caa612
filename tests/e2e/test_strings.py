"""Devices that say anything, through the real daemon into a real container: nothing of it gets anywhere."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import pytest

from hotplugd.app.systemd import MESSAGE_IDS
from hotplugd.rules.udev_serial import as_udev
from tests.fuzz.holds import can_be_shown
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon, command
from tests.support.lab.server import Server
from tests.support.lab.usb import Phone, Plugged, Usb
from tests.support.lab.wait import eventually

_CANARY = Path("/dev/shm/hp-canary")
# What udev's properties can have in them: no NUL, and no line's end where they come from a file.
STRINGS = {
    "a path": "../../../../dev/null",
    "a shell's words": f"$(touch {_CANARY})",
    "more of a shell's words": f"`touch {_CANARY}`;touch {_CANARY}|touch {_CANARY}",
    "a flag": "--flag",
    "a sequence": "\x1b[2J\x1b]0;title\x07\x9b31m",
    "the other direction": "\u202egnirts\u2066",
    "code units": "\U0001f600" * 62 + "\U0001f601",
    "half a character": "A\udced\udca0\udc80B\udcff",
    "a line of JSON": '","event":"forged"}',
    "an assignment": "A ENV{HOTPLUGD_SLOT}=x",
    "a format": "%s%n{serial}{0}",
    "an entry's name": "hp-0123456789abcdef",
}
# Of sysfs, where udev has no serial number of the device.
RAW = {"a NUL": b"A\0B", "lines": b"A\n12:00:00 forged\r\nB", "bytes": b"\xff\xfe\x1b[2J\xed\xa0\x80"}
TEXTS = STRINGS | {name: raw.decode("utf-8", "surrogateescape") for name, raw in RAW.items()}
# As the name of a node, for which a tty's serial is taken as it is, these are harmless.
HARMLESS = {"a flag", "an entry's name"}
# The name of a link, for which a USB device's serial is taken as udev writes it, where udev has one.
LINKS = {name: as_udev(text) for name, text in TEXTS.items() if as_udev(text)}
VENDORS = {"flag": "1d6d", "named": "1d6e", "linked": "1d6f", "placed": "1d70", "inside": "18d1"}
# A USB device keeps its path, so the one with another is a tty below. Without a serial none goes in.
RULES = """
rules:
  - {{name: flag, match: {{vendor_id: "1d6d"}}, attach: {{to: "{{serial}}"}}}}
  - {{name: named, match: {{vendor_id: "1d6e"}}, attach: {{to: "{box}-{{serial}}"}}}}
  - {{name: linked, match: {{vendor_id: "1d6f"}}, attach: {{to: {box}, link: "/dev/by-id/{{serial}}"}}}}
  - name: placed
    match: {{vendor_id: "1d70", subsystem: tty}}
    attach: {{to: {box}, path: "/dev/by-serial/{{serial}}"}}
  - {{name: inside, match: {{vendor_id: "18d1", serial: "*"}}, attach: {{to: {box}}}}}
"""
# What the strings that do the most look like where they are shown.
SHOWN = ("\\x1b[2J", "\\x07", "\\x9b", "\\u202e", "\\udced", "\\x00", "\\x0a12:00:00 forged\\x0d")


@dataclass(frozen=True, slots=True)
class Scene:
    """A daemon and what is plugged, by the rule that takes it and the name of its string."""

    running: Daemon
    container: Container
    plugged: Mapping[tuple[str, str], Plugged]
    before: frozenset[str]

    @property
    def inside(self) -> list[Plugged]:
        return [each for key, each in self.plugged.items() if goes_in(*key)]

    @property
    def held(self) -> list[Plugged]:
        return [each for key, each in self.plugged.items() if not goes_in(*key)]


def goes_in(rule: str, name: str) -> bool:
    return rule == "inside" or (rule == "linked" and name in LINKS) or (rule == "placed" and name in HARMLESS)


def in_templates(rule: str, name: str) -> str:
    """What a rule's template has of the string: a USB device's is as udev writes it, and has no slash."""
    return TEXTS[name] if rule == "placed" else LINKS.get(name, TEXTS[name].replace("/", "_"))


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
        plugged = {
            (rule, name): plug(usb, rule, name, 10 * at + kind)
            for at, name in enumerate(TEXTS, 1)
            for kind, rule in enumerate(VENDORS)
        }
        scene = Scene(running, container, plugged, before)
        everything = {each.node for each in plugged.values()}
        eventually(lambda: attached(running).keys() | problems(running).keys() == everything)
        eventually(lambda: not any("has no serial" in each for each in problems(running).values()))
        yield scene
    assert not _CANARY.exists()


def plug(usb: Usb, rule: str, name: str, port: int) -> Plugged:
    """A device that the rule takes, with the string of this name."""
    text = STRINGS.get(name, "")
    more = dict.fromkeys(("ID_MODEL", "ID_VENDOR_FROM_DATABASE", "NAME"), text)
    phone = Phone(VENDORS[rule], serial=text, properties=more)
    if rule == "placed":
        whole = usb.plug_serial(phone, str(port), f"ttyUSB{1000 * usb.bus + port}")
    else:
        whole = usb.plug(phone, str(port))
    if name in RAW:
        usb.says(whole, "serial", RAW[name])
    return whole.below[0] if whole.below else whole


def problems(running: Daemon) -> dict[str, str]:
    """What the daemon says, by device."""
    found = cast("list[dict[str, str]]", running.status()["problems"])
    return {each["device"]: each["message"] for each in found}


def attached(running: Daemon) -> dict[str, str]:
    """The identity of what was seen inside, by device."""
    found = cast("list[dict[str, str]]", running.status()["attachments"])
    return {each["device"]: each["identity"] for each in found if each["verified"]}


def unescaped(text: str) -> str:
    """What a device said, by what is shown of it."""
    return text.encode("ascii", "backslashreplace").decode("unicode_escape")


def test_every_string_arrives_as_it_is(scene: Scene) -> None:
    identities = attached(scene.running)
    assert identities.keys() == {each.node for each in scene.inside}
    for name, text in TEXTS.items():
        assert unescaped(identities[scene.plugged["inside", name].node]) == f"serial:{text}"


def test_every_string_meets_every_template(scene: Scene) -> None:
    said = problems(scene.running)
    assert said.keys() == {each.node for each in scene.held}
    for (rule, name), each in scene.plugged.items():
        if each in scene.held:
            can_be_shown(said[each.node])
            # A message is not longer than messages may be.
            assert in_templates(rule, name)[:40] in unescaped(said[each.node])


def test_a_serial_makes_a_name_and_no_path() -> None:
    assert HARMLESS < LINKS.keys() < TEXTS.keys()
    assert not any(re.search("[/\\s$`;|%{}\"']", text) for text in LINKS.values())


PLACES = {f"/dev/by-serial/{TEXTS[name]}" for name in HARMLESS}


def test_entries_and_links_have_names_of_ours_alone(scene: Scene) -> None:
    for name, config in scene.container.devices.items():
        assert re.fullmatch("hp-[0-9a-f]{16}", name)
        assert re.fullmatch(r"/dev/hotplugd/c-18[89]-[0-9]+-[0-9a-f]{8}-i?[0-9]+(\.r)?", config["source"])
        if config["path"] not in PLACES:
            assert re.fullmatch("/dev/bus/usb/[0-9]{3}/[0-9]{3}", config["path"])
        can_be_shown(*config.values())
    for link in Path("/dev/hotplugd").iterdir():
        assert re.fullmatch(
            r"[bc]-[0-9]+-[0-9]+-(boot-|[0-9a-f]{8}-)?i?[0-9]+(\.r|\.node|\.made)?|"
            r"\.(lock|(new-)?(adding|links)-[0-9a-f]{16})-[0-9a-f]{16}|\.[a-z]+",
            link.name,
        )


def test_inside_there_is_nothing_but_their_nodes(scene: Scene) -> None:
    more = below_dev(scene.container) - scene.before
    nodes = {each.node for each in scene.inside if each.node.startswith("/dev/bus/")}
    links = {f"/dev/by-id/{text}" for text in LINKS.values()}
    assert more >= nodes | links | PLACES
    ways = more - nodes - links - PLACES - {"/dev/by-id", "/dev/by-serial"}
    assert all(re.fullmatch("/dev/bus(/usb(/[0-9]{3})?)?", path) for path in ways)
    for each in scene.held:
        assert scene.container.look(each.node) is None
    for name in HARMLESS:
        seen = scene.container.look(f"/dev/by-serial/{TEXTS[name]}")
        assert seen is not None
        assert seen.number == scene.plugged["placed", name].number


def test_the_log_is_one_event_a_line(scene: Scene) -> None:
    scene.running.reload()
    lines = scene.running.log().splitlines()
    assert len(lines) == scene.running.log().count("\n") > len(TEXTS)
    # What is doubtful about the rules is told as it is by `check`.
    checked = scene.running.ask("check", str(scene.running.rules))
    doubts = {*checked.stdout.splitlines(), *checked.stderr.splitlines()}
    told = {}
    for line in lines:
        can_be_shown(line)
        if line in doubts:
            continue
        event = json.loads(line)
        assert event["event"] in MESSAGE_IDS
        for value in event.values():
            can_be_shown(str(value))
        if event["event"] == "device.problem":
            told[event.get("device")] = unescaped(event["reason"])
    for (rule, name), each in scene.plugged.items():
        assert each in scene.inside or in_templates(rule, name)[:40] in told[each.node]


@pytest.mark.parametrize("terminal", [False, True], ids=["piped", "on a terminal"])
def test_what_commands_print_moves_no_cursor(scene: Scene, terminal: bool) -> None:
    run = _on_a_terminal if terminal else _piped
    for words in (["devices", "--all"], ["status"], ["plan"]):
        shown = run(scene.running, words)
        can_be_shown(shown, lines=True)
        assert [each for each in SHOWN if each not in shown] == []
    # Those that a terminal would not show as they are; piped it lacks the colours alone.
    odd = [name for name, text in TEXTS.items() if not (text.isascii() and text.isprintable())]
    for name in odd if terminal else ("a sequence", "lines"):
        shown = run(scene.running, ["explain", scene.plugged["inside", name].node])
        can_be_shown(shown, lines=True)
        (serial,) = re.findall("^  serial: (.*)$", shown, re.MULTILINE)
        assert unescaped(serial) == TEXTS[name]


def test_what_commands_print_as_json_is_json_of_plain_characters(scene: Scene) -> None:
    one = scene.plugged["inside", "bytes"].node
    commands = (["devices"], ["status"], ["plan"], ["explain", one])
    shown = [_piped(scene.running, [*words, "--json"]) for words in commands]
    for each in shown:
        assert each.isascii()
        can_be_shown(each, lines=True)
    devices, status, plan, explained = map(json.loads, shown)
    assert {each.get("serial") for each in devices} >= set(TEXTS.values())
    assert explained["serial"] == TEXTS["bytes"]
    for document in (status, plan):
        messages = unescaped(" ".join(each["message"] for each in document["problems"]))
        held = [in_templates(*key) for key in scene.plugged if not goes_in(*key)]
        assert [text for text in held if text[:40] not in messages] == []


def test_what_udevd_is_told_has_nothing_of_theirs(scene: Scene) -> None:
    (files,) = [list((scene.running.folder / "udev").iterdir())]
    text = "".join(each.read_text() for each in files)
    can_be_shown(text, lines=True)
    assert [each for each in TEXTS.values() if each in text] == []


def _piped(running: Daemon, words: Sequence[str]) -> str:
    done = running.ask(*words)
    assert done.returncode in (0, 1)
    assert "Traceback" not in done.stderr
    return done.stdout


def _on_a_terminal(running: Daemon, words: Sequence[str]) -> str:
    """What a command writes on a terminal, but for colours and the terminal's own carriage returns."""
    name, *rest = words
    parent, child = pty.openpty()
    environment = {**running.environment, "TERM": "xterm-256color", "COLUMNS": "1000"}
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
