"""The reference page of the rule language. `python -m hotplugd.rulefile.reference` prints it as Markdown."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Final

from hotplugd.rulefile.grammar import GRAMMAR, Grammar
from hotplugd.rulefile.tables import Key, Table
from hotplugd.rules.keys import KeyGroup, MatchKey
from hotplugd.rules.udev_links import FOLDERS

_HEAD: Final = """\
<!-- Made by `python -m hotplugd.rulefile.reference`; do not edit. -->

# The rule language

A rule file is YAML with a list, `rules`, with hubs that have names, `hubs`, with pools of devices, `pools`,
or with several of these. The first rule whose `match` holds decides about a device. Values are read as they
are written: `0403` is a text.
"""
_HUB: Final = """\
A hub has either `path` or `serial`. By its path it is whatever hub is in that place; by its serial number it
may move, and whatever hub says that number is taken for it. A USB 3 hub is two hubs, with a path each, which
may differ: the one of its USB 2 half counts, and `path` with `usbv3` for `usb` is the other. `hotplugd
topology` shows both as one, and `hotplugd suggest hubs` writes this section.
"""
_POOL: Final = """\
An instance asks for devices of a pool by claims in its configuration, `user.hotplugd.claim.NAME`: see
[pools](../how-to/pools.md). The rule that puts a device into the pool says how it goes in: its links, owner
and mode.
"""
_READY: Final = """\
The command runs as root inside, and says by its exit code 0 that the device is ready. `adb` is the adb server
that runs inside: it is asked, and none is started. A rule's `ready` stands in place of its pool's.
"""
_FLAP: Final = """\
A device of the pool that is plugged in more than `count` times `within` that time is quarantined: its lease
ends and nobody is given it, until a minute passes without another plug, or `within` where that is longer.
That time doubles with each quarantine that comes within an hour of the last one, to an hour at most.
"""
_MATCH: Final = """\
All keys of a match must hold. A value is a pattern of udev's or a list of them: `*` is any text, `?` any
character, `[a-f]` one of these, `[!a-f]` one that is not among these, and `a|b` either. A backslash
stands before a character that is meant as it is. The case of hex digits does not matter.

*udev* is the key of udev's rules for the same value; of a USB device, where others have it under another key.
*index* says whether rules are found by an exact value of the key, *place* whether the value says where the
device is plugged in, and *early* whether it is known of a USB device before udevd has processed it. A rule
that asks for nothing else, with `to` and `mode`, attaches a USB device then, unless an earlier rule has to
wait.
"""
_TEMPLATES: Final = """\
`to`, `path`, `link` and `name` may be templates: `{serial}` stands for the device's value of the match key
`serial`, of several values the first. `{location}` has a dash where the value has a slash, `{serial}` of a
USB device is as udev writes it, with `_` for blanks and slashes, and `{property.ID_MODEL}` is a property of
udev's. A template may name every property, and every key of the first table under *match*; in `to` not those
whose values have colons: COLONS. `{{` and `}}` are braces. A rule does not attach a device that has no value
for a key that a template names, or whose value makes no legal name or path.

## udev's links

In `link`, FOLDERS stand for all links that udev has made to the device's node in a folder of that name:
`by-id` for /dev/serial/by-id/…, /dev/disk/by-id/… and so on. Each is inside where it is on the host, and
leads to the node's path inside. A device that has none gets none. Links that udev makes or removes later are
made or removed inside, too. A link that another device in the instance has already is a problem, and the
second device is not attached, as with a `link` that the rule names: `by-path` differs where two devices say
the same of themselves. `by-label` and `by-uuid` are what somebody wrote on a disk.
"""
_VALUES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "text": "a text",
        "texts": "a text, or a list of them",
        "flag": "`true` or `false`",
        "match": "a match",
        "matches": "a list of matches",
        "attach": "keys of `attach`",
        "companions": "a text, or a list of texts and items",
        "rules": "a list of rules",
        "hubs": "hubs by their names",
        "pools": "pools by their names",
        "ports": "paths by labels",
        "flap": "keys of `flap`",
        "files": "a list of files",
        "ready": "`adb`, or keys of `ready`",
    }
)


def reference(grammar: Grammar = GRAMMAR) -> str:
    """The reference page of a grammar, as Markdown."""
    return "\n".join(_page(grammar))


def _page(grammar: Grammar) -> Iterator[str]:
    yield _HEAD
    yield from _section("A file", grammar.file)
    yield from _section("A rule", grammar.rule)
    yield "A rule has either `attach` or `ignore: true`.\n"
    yield "## match\n"
    yield _MATCH
    yield from _match_keys(grammar.registry)
    yield from _others(grammar.match)
    yield from _section("attach", grammar.attach)
    yield "It needs `to` or `pool`, and not both. `uid` and `user` exclude each other, and so do `gid` and"
    yield "`group`.\n"
    yield from _section("An item of with", grammar.companion)
    yield from _section("A hub", grammar.hub)
    yield _HUB
    yield from _section("A pool", grammar.pool)
    yield _POOL
    yield from _section("An item of files", grammar.pool_file)
    yield from _section("ready", grammar.ready)
    yield _READY
    yield from _section("flap", grammar.flap)
    yield _FLAP
    yield "## Templates\n"
    colons = ", ".join(f"`{key.name}`" for key in grammar.registry if key.form.has_colons)
    folders = ", ".join(f"`{folder}`" for folder in FOLDERS)
    yield _TEMPLATES.replace("COLONS", colons).replace("FOLDERS", folders)


def _match_keys(registry: Iterable[MatchKey]) -> Iterator[str]:
    yield from _table(
        ("key", "meaning", "value", "udev", "index", "place", "early"),
        (
            (
                f"`{key.name}`",
                key.about,
                key.form.value,
                ", ".join(f"`{name}`" for name in (key.usb or key.udev).split(":") if name),
                "yes" if key.rank is not None else "no",
                "yes" if key.place else "no",
                "yes" if key.early is not None else "no",
            )
            for key in registry
        ),
    )


def _others(table: Table) -> Iterator[str]:
    """The keys of `match` that are no match keys."""
    yield from _keys(key for key in table.keys if not isinstance(key.shape, MatchKey))


def _section(title: str, table: Table) -> Iterator[str]:
    yield f"## {title}\n"
    yield from _keys(table.keys)


def _keys(keys: Iterable[Key]) -> Iterator[str]:
    rows = ((f"`{key.name}`", key.about, _value(key), "yes" if key.required else "no") for key in keys)
    yield from _table(("key", "meaning", "value", "required"), rows)


def _value(key: Key) -> str:
    if isinstance(key.shape, MatchKey):
        return key.shape.form.value
    if isinstance(key.shape, KeyGroup):
        return "names, each with a pattern or a list of patterns"
    return "`true`" if key.name == "ignore" else _VALUES[key.shape]


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """A table, with an empty line after it."""
    columns = tuple(head)
    for row in (columns, ["---"] * len(columns), *rows):
        cells = (cell.replace("|", "\\|") for cell in row)
        yield f"| {' | '.join(cells)} |"
    yield ""


if __name__ == "__main__":
    sys.stdout.write(reference())
