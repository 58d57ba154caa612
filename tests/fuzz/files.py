"""Files that people, or a daemon of before, wrote: hubs, hooks, rule tests, records, and the state file."""

from __future__ import annotations

import json
import os
import re
from functools import cache
from pathlib import Path
from typing import Final

from hotplugd.app.event_documents import FIELDS
from hotplugd.app.record import NoRecord, record, recorded
from hotplugd.app.state_file import State, StateError, StateFile, written
from hotplugd.hooks import settings as hooks_settings
from hotplugd.hooks.command_input import WordError, document, variables, words
from hotplugd.model.values import Device
from hotplugd.rulefile.cases import failure, parse_cases
from hotplugd.rulefile.load import parse
from hotplugd.rules.hubs import Hubs
from tests.fuzz import holds, made
from tests.fuzz.feed import HOSTILE, Feed, as_json
from tests.fuzz.sockets import folder

# --- hubs ---------------------------------------------------------------------------------------------------

_PLACES: Final = (
    "pci-0000:00:14.0-usb-0:1", "pci-0000:00:14.0-usbv3-0:1", "pci-0000:00:14.0", "platform-x-usb-0:1.2.3",
    "usb",
)  # fmt: skip
_PORTS: Final = ("1", "4.2", "1.1.1.1.1.1", "0", "256", "1.", "a", "1-4.2", "'", "")
_BELOW: Final = re.compile(r"[1-9][0-9]*(\.[1-9][0-9]*)*")
_LABELS: Final = ("a", "1", "01", "x" * 64, "a/b", "*", "")


def hubs(data: bytes) -> None:
    """A section of hubs, nearly right or not: places for what is wrong, and a location that can be shown."""
    feed = Feed(data)
    section = {
        (feed.text() if feed.chance(12) else feed.pick(("shelf-1", "shelf-2", "rack"))): _hub(feed)
        for _ in range(feed.pick((1, 1, 1, 2, 3, 0)))
    }
    match = {"location": feed.text() if feed.chance(12) else feed.pick(("shelf-1/a", "shelf-1/*", "*"))}
    whole = {
        "hubs": feed.warped(section) if feed.chance(6) else section,
        "rules": [{"name": "r", "match": match, "attach": {"to": "box"}}],
    }
    # JSON is YAML but for what it escapes.
    raw = as_json(whole)
    loaded = parse(raw, "fuzz.yaml")
    for each in loaded.diagnostics:
        holds.is_a_place(each, None)
    assert not loaded.errors or not loaded.rules.rules
    for hub in loaded.rules.hubs.hubs:
        for label, below in hub.ports.items():
            assert _BELOW.fullmatch(below)
            assert hub.location(label).count("/") == 1
    ports = [below for hub in loaded.rules.hubs.hubs for below in hub.ports.values()]
    device = made.in_hub(feed, ports) if feed.chance() else made.device(feed)
    location = loaded.rules.hubs.location(device)
    holds.can_be_shown(location)
    _is_its_place(loaded.rules.hubs, device, location)
    holds.agree(loaded.rules, device)


def _is_its_place(found: Hubs, device: Device, location: str) -> None:
    """Each port has one name and one place, and a device has the name of the port that it is in."""
    assert len(set(found.locations)) == len(found.locations)
    places = found.places(lambda _: True)
    assert len(places) <= 2 * len(found.locations)
    if not location:
        return
    named = found.named(location)
    assert location in found.locations
    assert named is not None
    assert device.usb is not None
    assert f".{device.usb.kernel.partition('-')[2]}".endswith(f".{named[1]}")


def _hub(feed: Feed) -> object:
    odd = feed.chance(6)
    labels, below = ((*_LABELS, feed.text()), (*_PORTS, feed.text())) if odd else (_LABELS[:2], _PORTS[:3])
    ports = {feed.pick(labels): feed.pick(below) for _ in range(1 + feed.byte() % 3)}
    if not odd:
        ports = {f"{label}{number}": each for number, (label, each) in enumerate(ports.items())}
    if feed.chance():
        return {"ports": ports, "serial": feed.text() if odd else feed.pick(("H1", "H2"))}
    both = {"serial": "H1"} if odd and feed.chance() else {}
    return {"ports": ports, "path": _paths(feed) if odd else feed.pick(_PLACES[:2]), **both}


def _paths(feed: Feed) -> object:
    return feed.pick((feed.pick(_PLACES), [feed.pick(_PLACES), feed.pick(_PLACES)], feed.text(), []))


# --- hooks --------------------------------------------------------------------------------------------------

_EVENTS: Final = (
    "device.add", "device.*", "*", "lease.begun", "nothing", "[", "claim.waits", "events.lost", "",
)  # fmt: skip
_RUN: Final = (
    "/bin/echo", "echo", "-x", "./x", "{serial}", "--serial={serial}", "{instance}:{path}", "{{", "--",
    "{{{device}",
    "{rule}", "{", "{nothing}", "a\0b", "/bin/{serial}", "",
)  # fmt: skip
_MATCHED: Final = ("instance", "serial", "rule", "device", "event", "nothing", "level")


def hooks(data: bytes) -> None:
    """A file of hooks, and events that say anything: words stay words, and none becomes an option."""
    feed = Feed(data[1:])
    raw = data[1:] if data[:1] < b"\x60" else _hooks(feed)
    text = raw.decode("utf-8", "replace")
    found, wrong = hooks_settings.parse(text, "hooks.yaml")
    for each in wrong:
        holds.is_a_place(each, None)
    event = _event(feed)
    for hook in found:
        assert 0 < hook.timeout <= 3600
        hook.takes(event)
        try:
            command = words(hook.run, event)
        except WordError as error:
            holds.can_be_shown(str(error))
            continue
        assert len(command) == len(hook.run)
        assert command[0] == hook.run[0].replace("{{", "{").replace("}}", "}")
        for word, template in zip(command, hook.run, strict=True):
            assert "\0" not in word
            os.fsencode(word)
            if word.startswith("-") and not template.startswith("-"):
                assert "--" in hook.run
    given = variables(event, {"HOTPLUGD_SERIAL": "old", "PATH": "/bin", "NOTIFY_SOCKET": "/x"})
    assert given.get("PATH") == "/bin"
    assert given.get("HOTPLUGD_SERIAL") != "old" or event.get("serial") == "old"
    for name, value in given.items():
        assert "=" not in name
        assert "\0" not in value
        os.fsencode(value)
    assert json.loads(document(event)) is not None
    assert document(event).count(b"\n") == 1


def _hooks(feed: Feed) -> bytes:
    several = {"hooks": [_hook(feed) for _ in range(1 + feed.byte() % 4)]}
    return as_json(feed.warped(several) if feed.chance(4) else several)


def _hook(feed: Feed) -> object:
    odd = feed.chance(4)
    events, run = (_EVENTS, _RUN) if odd else (_EVENTS[:4], _RUN[4:11:2])
    found: dict[str, object] = {
        "on": feed.pick((feed.pick(events), [feed.pick(events), feed.pick(events)])),
        "run": [feed.pick(_RUN[:4] if odd else _RUN[:2]), *feed.several(lambda: feed.pick(run), 4)],
    }
    if feed.chance():
        found["name"] = feed.text() if odd else f"{feed.byte() % 8}"
    if feed.chance():
        found["match"] = {
            feed.pick(_MATCHED[:4]): feed.text() if odd else feed.pick(("*", "1A*", "box|lab/box"))
        }
    if feed.chance(3):
        found["timeout"] = feed.pick(("2h", "0s", "1", feed.text())) if odd else feed.pick(("30s", "1h"))
    return found


def _event(feed: Feed) -> dict[str, object]:
    keys = (*FIELDS, "project", "A=B", "x\0", "1", "")
    found = {feed.pick(keys): feed.json(2) if feed.chance(4) else feed.text() for _ in range(feed.byte() % 8)}
    return {"event": feed.pick(_EVENTS[:1] + _EVENTS[3:4]), **found}


# --- rule tests and records ---------------------------------------------------------------------------------

_CASE_RULES: Final = parse(
    f"rules: [{', '.join(made.TEXTS)}]\nhubs: {{shelf-1: {{path: {_PLACES[0]}, ports: {{a: '4.2'}}}}}}\n",
    "x.yaml",
).rules
_DEVICE: Final[dict[str, object]] = {
    "subsystem": "usb", "id": "18d1:4ee7", "serial": "1A0021", "port": "1-4.2", "interface": ["ff:42:01"],
    "location": "shelf-1/a", "kernel": "1-4.2", "property": {"ID_MODEL": "x"}, "attr": {"product": "y"},
    "parent": {"subsystem": "usb"}, "mac": "00:e0:4c:68:01:02", "driver": "z", "devtype": "usb_device",
}  # fmt: skip
_CASE: Final = {"to": ["box", "lab/box"], "path": "/dev/t-A", "pool": "x"}


def rule_tests(data: bytes) -> None:
    """A file of rule tests: what is wrong has a place, and whatever device it makes up is judged."""
    feed = Feed(data[1:])
    several = [_case(feed) for _ in range(1 + feed.byte() % 3)]
    raw = (
        data[1:]
        if data[:1] < b"\x60"
        else as_json(feed.warped({"tests": several}) if feed.chance(4) else {"tests": several})
    )
    text = raw.decode("utf-8", "replace")
    cases, wrong = parse_cases(text, "tests.yaml", _CASE_RULES.hubs)
    for each in wrong:
        holds.is_a_place(each, None)
    for case in cases:
        holds.agree(_CASE_RULES, case.device)
        if (told := failure(case, _CASE_RULES)) is not None:
            holds.is_a_place(told, None)


def _case(feed: Feed) -> object:
    device = {key: each for key, each in _DEVICE.items() if feed.chance(3) or key == "subsystem"}
    if feed.chance(4):
        device[feed.pick(tuple(_DEVICE))] = feed.text()
    kept = {key: each for key, each in _CASE.items() if feed.chance()}
    return {"name": "a", "rule": "t", **kept, "device": device} | (
        {"nowhere": True} if feed.chance(8) else {}
    )


def records(data: bytes) -> None:
    """A record of devices: read as it was written, and one that is damaged is refused."""
    feed = Feed(data)
    devices = {each.syspath: each for each in (made.device(feed) for _ in range(1 + feed.byte() % 3))}
    text = record(devices.values())
    back = recorded(text)
    assert record(back) == text
    for device in back:
        holds.agree(made.ALL, device)
    warped = as_json(feed.warped(json.loads(text))).decode()
    try:
        found = recorded(warped if not feed.chance(8) else feed.text() + warped[: feed.number(4000)])
    except NoRecord as error:
        holds.can_be_shown(str(error))
        return
    for device in found:
        holds.agree(made.ALL, device)


# --- the state file -----------------------------------------------------------------------------------------

_BY: Final = {"uid": 0, "user": "root", "login": "me"}
_STATE: Final = {
    "version": 1,
    "overrides": [
        {
            "of": {
                "identity": "serial:1A0021", "subsystem": "usb", "part": "", "id": "18d1:4ee7",
                "serial": "1A0021", "boot": "0123abcd",
            },
            "project": "default", "instance": "box",
            "since": "2026-11-26T10:00:00Z", "by": _BY, "device": "/dev/x", "model": "m", "port": "1-4.2",
        }
    ],
    "leases": {
        "boot": "0123456789abcdef",
        "away": [
            {
                "key": "serial:1A0021", "pool": "android", "project": "default", "instance": "box",
                "claim": "phone", "place": "shelf-1/a", "since": "2026-11-26T10:00:00Z", "boottime": 17.5,
                "socket": ["1-4.2", "2-4.2"],
            }
        ],
        "order": ["default box phone", "default other phone"],
        "quarantines": [
            {
                "key": "serial:1A0022", "pool": "android", "place": "", "count": 5, "within": 60,
                "since": "2026-11-26T10:00:00Z", "quiet": 600,
            }
        ],
    },
    "cordons": [
        {"kind": "location", "name": "shelf-1/*", "reason": "dusty", "since": "x", "by": _BY},
        {"kind": "instance", "name": "default/box", "reason": "", "since": "x", "by": _BY},
        {"kind": "device", "name": "serial:1A0023", "reason": "", "since": "x", "by": _BY},
        {"kind": "pool", "name": "android", "reason": "", "since": "x", "by": _BY},
    ],
}  # fmt: skip


def state(data: bytes) -> None:
    """A state file of anything: read or refused, and what was read is written and read as the same."""
    feed = Feed(data[1:])
    raw = data[1:] if data[:1] < b"\x20" else as_json(_warped_state(feed))
    path = _state_path()
    path.write_bytes(raw)
    file = StateFile(path)
    try:
        found = file.read()
    except StateError as error:
        holds.can_be_shown(str(error))
        aside = file.set_aside()
        assert aside.read_bytes() == raw
        aside.unlink()
        assert file.read() == State()
        file.write(State())
        assert StateFile(path).read() == State()
        return
    try:
        file.write(found)
    except StateError as error:
        holds.can_be_shown(str(error))
        assert path.read_bytes() == raw
        return
    assert path.read_bytes() == written(found)
    assert StateFile(path).read() == found


def _warped_state(feed: Feed) -> object:
    """The file with other values in one of its lists or in all, or with other texts."""
    kind = feed.byte() % 4
    if kind == 0:
        return feed.warped(_STATE)
    if kind == 1:
        key = feed.pick(tuple(_STATE))
        return {**_STATE, key: feed.warped(_STATE[key])}
    return _with_texts(feed, _STATE)


def _with_texts(feed: Feed, value: object) -> object:
    if isinstance(value, dict):
        return {key: _with_texts(feed, each) for key, each in value.items()}
    if isinstance(value, list):
        return [_with_texts(feed, each) for each in value]
    if isinstance(value, str) and feed.chance(8):
        return feed.text()
    return feed.number(1 << 16) if isinstance(value, float) else value


@cache
def _state_path() -> Path:
    return Path(folder(), "state.json")


HOOK_SEEDS: Final = (
    *(b"\0" + each.encode("utf-8", "surrogatepass") for each in HOSTILE),
    b"\0hooks: [{name: a, on: device.*, run: [/bin/echo, '{serial}'], match: {instance: box}, timeout: 5s}]",
    *(b"\xff" + bytes(range(each, each + 120)) for each in range(0, 120, 10)),
)
STATE_SEEDS: Final = (
    b"\0" + json.dumps(_STATE).encode(), b"\0", b"\0{", b"\0[]", b'\0{"version": 1}', b"\0" + b"[" * 5000,
    b'\0{"version": 1, "overrides": []}', b'\0{"version": 2, "overrides": []}', b"\xff" * 40,
)  # fmt: skip
