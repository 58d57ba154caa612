"""Rule files and configurations, as bytes and as texts that are nearly right."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from hotplugd.app import settings as configuration
from hotplugd.app.udev_ignore import ignore_rules
from hotplugd.model.ports import Unreachable
from hotplugd.rulefile.load import parse
from hotplugd.server.discover import find_server
from tests.fuzz import holds, made
from tests.fuzz.feed import HOSTILE, Feed

_KEYS: Final = (
    "subsystem", "devtype", "kernel", "driver", "id", "vendor_id", "product_id", "serial", "port", "path",
    "location", "mac", "interface",
    "property", "attr", "parent", "any", "not", "name", "match", "attach", "ignore", "to", "project", "link",
    "as", "uid",
    "gid", "user", "group", "mode", "force", "share", "with", "rules", "<<", "vendor", "required",
    "hubs", "ports",
)  # fmt: skip
_VALUES: Final = (
    "a", "'*'", "usb", "tty", "net", "block", "usb|tty", "'18d1'", "'18d1:4ee7'", "'1-4.2'", "'1-*'",
    "'ff:42:*'", "true",
    "false", "box", "'ci-{serial}'", "'{'", "/dev/x", "'/dev/x-{kernel}'", "'[a-c]*'", "'[!a]?'",
    "'[[:alpha:]]'", "'a\\*'",
    "default", "'0660'", "1000", "nic", "node", "gpu", "partition", "root", "''", "~", "'00:e0:4c:68:01:02'",
    "*a", "&a b",
    "!!str x", "|\n  x", "[]", "{}", "eth0", "a/1", "'a/*'", "'{location}'", "'pci-0000:00:14.0-usb-0:1'",
)  # fmt: skip
_MATCH: Final = _KEYS[:18]
_ATTACH: Final = (
    "to",
    "project",
    "path",
    "link",
    "as",
    "name",
    "uid",
    "gid",
    "user",
    "group",
    "mode",
    "force",
    "share",
    "with",
)
_ONE: Final = frozenset(_ATTACH) - {"to", "link", "with"}
_PATTERNS: Final = ("'*'", "'?*'", "A", "'1A0021'", "'*A*|B'", "'[!a-z]*'", "'[[:alpha:]]?'", "'a\\*'", "'é'")
_PROPER: Final = {
    "subsystem": ("usb", "tty", "net", "block", "'*'", "drm", "'usb|tty'"),
    "id": ("'18d1:4ee7'", "'*'", "'18d1:*'"), "vendor_id": ("'18d1'", "'*'", "18D1"),
    "product_id": ("'4ee7'", "'*'"),
    "port": ("'1-4.2'", "'1-*'", "'*'"), "interface": ("'ff:42:*'", "'*'", "ff:42:01"),
    "mac": ("'00:e0:4c:68:01:02'", "'*'"),
    "to": ("box", "'ci-{serial}'", "'a{vendor_id}-{product_id}'", "'{kernel}'"), "project": ("lab",),
    "as": ("nic", "node"),
    "path": ("/dev/x", "'/dev/x-{kernel}'", "/dev/d/{serial}", "'pci*'"),
    "link": ("/dev/a.b", "'/dev/{serial}'"),
    "name": ("eth0",), "uid": ("0", "1000"), "gid": ("7",), "user": ("root",), "group": ("dialout",),
    "mode": ("'0660'", "600"),
    "force": ("true", "false"), "share": ("true", "false"),
    "with": ("tty", "partition", "{match: {kernel: '*'}, link: /dev/l}"),
}  # fmt: skip


def rule_bytes(data: bytes) -> None:
    """Any bytes as a rule file."""
    loaded = parse(data, "fuzz.yaml")
    text = None
    if b"\0" not in data:
        try:
            text = data.decode()
        except UnicodeDecodeError:
            text = None
    for each in loaded.diagnostics:
        holds.is_a_place(each, text)
    assert not loaded.errors or not loaded.rules.rules
    for one in _SAMPLES:
        holds.agree(loaded.rules, one)


def rule_words(data: bytes) -> None:
    """Rules in the words of the language, which are often right; then devices that they are asked about."""
    feed = Feed(data)
    rules = [f"  - {_rule(feed, number)}\n" for number in range(1 + feed.byte() % 4)]
    text = "rules:\n" + "".join(rules)
    loaded = parse(text, "fuzz.yaml")
    for each in loaded.diagnostics:
        holds.is_a_place(each, text)
    found = made.device(feed)
    for one in (found, *_SAMPLES):
        holds.agree(loaded.rules, one)
    for usb in (True, False):
        for line in ignore_rules(loaded.rules, [found.syspath, feed.text()], usb=usb).splitlines():
            holds.can_be_shown(line)
            assert line.count('"') % 2 == 0
            assert not set(line) & set("`$\\%") or line.startswith("#")


def _rule(feed: Feed, number: int) -> str:
    does = "ignore: true" if feed.chance(4) else f"attach: {_attach(feed)}"
    if feed.chance(16):
        does += f", {feed.pick(_KEYS)}: {_value(feed, 2)}"
    return f"{{name: r{number}, match: {_match(feed, 2)}, {does}}}"


def _match(feed: Feed, depth: int) -> str:
    pairs = []
    for key in dict.fromkeys(feed.several(lambda: feed.pick(_MATCH), 3) or ["serial"]):
        if key in ("parent", "not"):
            value = _match(feed, depth - 1) if depth else "{kernel: '*'}"
        elif key == "any":
            branches = (
                [_match(feed, depth - 1) for _ in range(1 + feed.byte() % 2)] if depth else ["{id: '*'}"]
            )
            value = f"[{', '.join(branches)}]"
        elif key in ("property", "attr"):
            value = f"{{{feed.pick(made.PROPERTIES + made.ATTRS)}: {_proper(feed, 'serial')}}}"
        else:
            value = _proper(feed, key)
        pairs.append(f"{key}: {value}")
    return f"{{{', '.join(pairs)}}}"


def _attach(feed: Feed) -> str:
    keys = dict.fromkeys(["to", *feed.several(lambda: feed.pick(_ATTACH), 2)])
    return "{" + ", ".join(f"{key}: {_proper(feed, key)}" for key in keys) + "}"


def _proper(feed: Feed, key: str) -> str:
    """A value that the key takes; now and then another."""
    if feed.chance(24):
        return _value(feed, 1)
    proper = _PROPER.get(key, _PATTERNS)
    if key in _ONE:
        return feed.pick(proper)
    return feed.pick((feed.pick(proper), feed.pick(proper), f"[{feed.pick(proper)}, {feed.pick(proper)}]"))


def _value(feed: Feed, depth: int) -> str:
    if depth and feed.chance(6):
        return f"[{', '.join(_value(feed, depth - 1) for _ in range(feed.byte() % 3))}]"
    if depth and feed.chance(12):
        return f"{{{feed.pick(_KEYS)}: {_value(feed, depth - 1)}}}"
    if feed.chance(6):
        text = "".join(char for char in feed.text() if char.isprintable())
        return "'" + text.replace("'", "''") + "'"
    return feed.pick(_VALUES)


def config_bytes(data: bytes) -> None:
    """Any bytes, or nearly right ones, as a configuration."""
    feed = Feed(data[1:])
    if data[:1] < b"\x80":
        raw = data[1:]
    else:
        keys = ("server", "rules", "control", "inject", "udev_rules", "serve")
        values = (
            "auto",
            "none",
            "/run/x",
            "[/etc/a, /b]",
            "https://host:8443",
            "https://[::1",
            "https://a:0",
            "/" + "x" * 200,
        )
        pick = (*values, *_VALUES)
        raw = "".join(
            f"{feed.pick(keys)}: {feed.pick(pick) if not feed.chance(4) else feed.text()!r}\n"
            for _ in range(feed.byte() % 5)
        ).encode("utf-8", "surrogatepass")
    os.ftruncate(_FILE, 0)
    os.pwrite(_FILE, raw, 0)
    config, wrong = configuration.load(Path(f"/proc/self/fd/{_FILE}"))
    for each in wrong:
        holds.is_a_place(each)
    for path in (*config.rules, config.control, config.inject, config.udev_rules):
        assert path is None or path.is_absolute()
        assert path is None or "\0" not in str(path)
    assert len(str(config.control).encode()) <= 107  # sun_path
    try:
        assert find_server(config.server, {})
    except Unreachable as error:
        holds.can_be_shown(str(error))


_FILE: Final = os.memfd_create("fuzz")
_SAMPLES: Final = tuple(made.device(Feed(bytes(range(start, start + 90)))) for start in (0, 40, 80, 120, 160))
RULE_SEEDS: Final = tuple(
    each.read_bytes()
    for folder in ("rules", "tests/unit/rulefile")
    for each in sorted((Path(__file__).parents[2] / folder).rglob("*.yaml"))
    if each.stat().st_size < 4096  # what is longer says nothing new
) + tuple(each.encode("utf-8", "surrogatepass") for each in (*HOSTILE, *made.TEXTS, "rules: " + "[" * 200))
CONFIG_SEEDS: Final = tuple(
    b"\0" + each
    for each in ((Path(__file__).parents[2] / "config.example.yaml").read_bytes(), b"server: auto\n")
)
WORDS: Final = tuple(f"{each}: " for each in _KEYS) + _VALUES
