"""The daemon's own configuration: where the server is, where the rules are, where sockets are.

Read with the same decoder as the rules, so that its errors have their places and hints as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from hotplugd.app.grants import DEFAULT_ALLOW, VERBS, Allowed
from hotplugd.model.text import quoted
from hotplugd.reconcile.hold_off import MOST
from hotplugd.rulefile import validate, validate_pools
from hotplugd.rulefile.decode import Decoder, Field
from hotplugd.rulefile.diagnostics import Diagnostic, Related
from hotplugd.rulefile.discover import DEFAULT_FOLDERS, Reading, not_utf8, read
from hotplugd.rulefile.parse import Source, YamlNode, YamlScalar, YamlSequence, parse_yaml
from hotplugd.rulefile.tables import Key, Table
from hotplugd.rules.complaint import Complaint
from hotplugd.rules.pattern import Pattern

DEFAULT: Final = Path("/etc/hotplugd/config.yaml")
HOOKS: Final = "hooks.yaml"
"""The name of the file of hooks, beside the configuration."""
CONTROL: Final = Path("/run/hotplugd/control.sock")
INJECT: Final = Path("/run/hotplugd-inject.sock")
SEAL: Final = Path("/run/hotplugd-seal.sock")
ROOTS: Final = Path("/run/hotplugd-roots.sock")
UDEVDB: Final = Path("/run/hotplugd-udevdb.sock")
USB: Final = Path("/run/hotplugd-usb.sock")
STATE: Final = Path("/var/lib/hotplugd/state.json")
UDEV_RULES: Final = Path("/run/udev/rules.d")
_NOWHERE: Final = "none"
_UNNAMED: Final[Mapping[str, Related]] = MappingProxyType({})
_MOST_DIGITS: Final = 5
_LONGEST_SOCKET: Final = 107  # unix(7): sun_path
_LONGEST_GROUP: Final = 256
_LAST_GROUP: Final = 0xFFFFFFFE  # -1 is no group: chown(2)


@dataclass(frozen=True, slots=True)
class Config:
    """What config.yaml says.

    server is `auto`, a socket's path, or an https URL. udev_rules: where to write what tells the host's
    software to leave alone what goes into instances; None for nowhere. most_plugs: how often a device may be
    plugged in within two minutes before it is held off; 0 for no limit. state: the file of what people
    decide by hand.

    named  where in the file each of `rules` stands
    text   what the file has in it; empty where there is none
    """

    server: str = "auto"
    rules: tuple[Path, ...] = DEFAULT_FOLDERS
    control: Path = CONTROL
    inject: Path = INJECT
    seal: Path = SEAL
    roots: Path = ROOTS
    udevdb: Path = UDEVDB
    usb: Path = USB
    udev_rules: Path | None = UDEV_RULES
    most_plugs: int = MOST
    state: Path = STATE
    allow: tuple[Allowed, ...] = DEFAULT_ALLOW
    named: Mapping[str, Related] = field(default_factory=lambda: _UNNAMED, compare=False, repr=False)
    text: str = field(default="", compare=False, repr=False)


def _server(text: str) -> Complaint | None:
    if text == "auto":
        return None
    if text.startswith("/"):
        return _absolute(text)
    try:
        url = urlsplit(text)
        known = url.scheme == "https" and bool(url.hostname) and url.port != 0
    except ValueError:
        known = False
    if known:
        return None
    return Complaint(f"'{quoted(text)}' is no server", "auto, a socket's path, or https://host:8443")


def _absolute(text: str) -> Complaint | None:
    if text.startswith("/") and "\0" not in text:
        return None
    return Complaint(f"'{quoted(text)}' is not an absolute path", "begin with /")


def _socket(text: str) -> Complaint | None:
    if len(text.encode()) > _LONGEST_SOCKET:
        return Complaint(f"longer than the {_LONGEST_SOCKET} bytes that a socket's path may have")
    return _absolute(text)


def _folder(text: str) -> Complaint | None:
    return None if text == _NOWHERE else _absolute(text)


def _number(text: str) -> Complaint | None:
    if text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS:
        return None
    return Complaint(f"'{quoted(text)}' is no number from 0 to {'9' * _MOST_DIGITS}", "0 is no limit")


def _group(text: str) -> Complaint | None:
    if text.isascii() and text.isdecimal() and len(text) <= _LONGEST_GROUP and int(text) > _LAST_GROUP:
        return Complaint(f"'{quoted(text)}' is no group's number: the last one is {_LAST_GROUP}")
    if text and ":" not in text and text.isprintable() and len(text) <= _LONGEST_GROUP:
        return None
    return Complaint(f"'{quoted(text)}' is no group's name or number")


def _verb(text: str) -> Complaint | None:
    if text in VERBS:
        return None
    return Complaint(f"'{quoted(text)}' is nothing that a group can be allowed", f"one of {', '.join(VERBS)}")


_ALLOW: Final = Table(
    "an item of `allow`",
    (
        Key("group", "text", "The group's name or number.", text=_group, required=True),
        Key("may", "texts", f"What its members may ask for: {', '.join(VERBS)}.", text=_verb, required=True),
        Key(
            "instances", "texts",
            "The instances for which they may ask that: names or patterns; without it all of the project.",
            text=validate_pools.instances,
        ),
        Key("project", "text", "The project of those instances.", text=validate.project),
        Key(
            "pools", "texts",
            "The pools for whose devices they may ask that; without it all devices. `read`, `reload`, `undo` "
            "and `hooks` are not about devices of pools.",
            text=validate_pools.name,
        ),
    ),
)  # fmt: skip
# Regular expressions for editors, by what judges a text.
PATTERNS: Final[Mapping[Callable[[str], Complaint | None], str]] = MappingProxyType(
    {
        _server: "^(auto|/.*|https://.+)$",
        _absolute: "^/",
        _socket: "^/",
        _folder: f"^({_NOWHERE}|/.*)$",
        _number: f"^[0-9]{{1,{_MOST_DIGITS}}}$",
    }
)
TABLE: Final = Table(
    "a configuration",
    (
        Key("server", "text", "Where LXD or Incus answers.", text=_server),
        Key("rules", "texts", "Files and folders of rules.", text=_absolute),
        Key("control", "text", "The daemon's control socket.", text=_socket),
        Key("inject", "text", "The socket of the program that injects uevents.", text=_socket),
        Key("seal", "text", "The socket of the program that seals nodes.", text=_socket),
        Key("roots", "text", "The socket of the program that opens the roots of containers.", text=_socket),
        Key("udevdb", "text", "The socket of the program that keeps udev's records inside.", text=_socket),
        Key("usb", "text", "The socket of the program that revokes USB devices.", text=_socket),
        Key("udev_rules", "text", "Where hotplugd writes udev rules, or none.", text=_folder),
        Key("state", "text", "The file of what people decide by hand.", text=_absolute),
        Key("allow", "items", "What groups may ask the daemon for, besides root.", item=_ALLOW),
        Key("most_plugs", "text", "Plugs of a device within two minutes; 0: any.", text=_number),
    ),
)


def load(path: Path, reading: Reading = lambda _: None) -> tuple[Config, tuple[Diagnostic, ...]]:
    """What a file says, and what is wrong with it. At the default place it may be missing."""
    reading(path)
    if path == DEFAULT and not path.exists():
        return Config(), ()
    raw = read(path)
    if isinstance(raw, Diagnostic):
        return Config(), (raw,)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        return Config(), (not_utf8(raw, str(path), error),)
    return parse(text, str(path))


def parse(text: str, file: str) -> tuple[Config, tuple[Diagnostic, ...]]:
    """What the text of a configuration says, and what is wrong with it. file: what diagnostics call it.

    Where something is wrong, the rest of what it says counts.
    """
    source = Source.of(file, text.removeprefix("\ufeff"))
    root, wrong = parse_yaml(source)
    decoder = Decoder(source)
    config = replace(_read(decoder, root), text=text)
    return config, tuple(sorted((*wrong, *decoder.diagnostics), key=lambda each: (each.line, each.column)))


def _read(decoder: Decoder, root: YamlNode | None) -> Config:
    config = Config()
    if root is None or (isinstance(root, YamlScalar) and root.is_null):
        return config
    fields = decoder.fields(root, TABLE)
    server = decoder.text(fields["server"]) if "server" in fields else None
    rules = decoder.texts(fields["rules"]) if "rules" in fields else ()
    control = decoder.text(fields["control"]) if "control" in fields else None
    inject = decoder.text(fields["inject"]) if "inject" in fields else None
    seal = decoder.text(fields["seal"]) if "seal" in fields else None
    roots = decoder.text(fields["roots"]) if "roots" in fields else None
    udevdb = decoder.text(fields["udevdb"]) if "udevdb" in fields else None
    usb = decoder.text(fields["usb"]) if "usb" in fields else None
    folder = decoder.text(fields["udev_rules"]) if "udev_rules" in fields else None
    most = decoder.text(fields["most_plugs"]) if "most_plugs" in fields else None
    state = decoder.text(fields["state"]) if "state" in fields else None
    allow = tuple(_allowed(decoder, fields["allow"])) if "allow" in fields else config.allow
    return Config(
        server or config.server,
        tuple(map(Path, rules)) or config.rules,
        Path(control) if control else config.control,
        Path(inject) if inject else config.inject,
        Path(seal) if seal else config.seal,
        Path(roots) if roots else config.roots,
        Path(udevdb) if udevdb else config.udevdb,
        Path(usb) if usb else config.usb,
        None if folder == _NOWHERE else Path(folder) if folder else config.udev_rules,
        int(most) if most else config.most_plugs,
        Path(state) if state else config.state,
        allow,
        _named(decoder.source, fields["rules"]) if "rules" in fields else config.named,
    )


def _allowed(decoder: Decoder, field: Field) -> Iterator[Allowed]:
    for node in decoder.items(field, "allow"):
        fields = decoder.fields(node, _ALLOW)
        texts = {
            key: text
            for key in ("group", "project")
            if key in fields and (text := decoder.text(fields[key])) is not None
        }
        verbs = decoder.texts(fields["may"]) if "may" in fields else ()
        instances = decoder.texts(fields["instances"]) if "instances" in fields else ("*",)
        pools = decoder.texts(fields["pools"]) if "pools" in fields else ()
        if "group" in texts and verbs and instances and bool(pools) == ("pools" in fields):
            may = tuple(each for each in VERBS if each in verbs)
            yield Allowed(
                texts["group"],
                may,
                tuple(map(Pattern.of, instances)),
                texts.get("project", "default"),
                frozenset(pools),
            )


def _named(source: Source, field: Field) -> Mapping[str, Related]:
    items = field.value.items if isinstance(field.value, YamlSequence) else (field.value,)
    return {
        each.text: source.related(each.span, "the configuration names it here")
        for each in items
        if isinstance(each, YamlScalar)
    }


def traced(config: Config, diagnostics: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """Diagnostics about rules. Those about a whole file or folder get the place where it is named."""
    return tuple(
        replace(each, related=config.named[each.file]) if each.whole and each.file in config.named else each
        for each in diagnostics
    )
