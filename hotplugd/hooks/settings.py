"""The file of hooks: which command runs on which event.

It is a file of its own, /etc/hotplugd/hooks.yaml, beside the daemon's configuration. The daemon never reads
it: a mistake in it keeps no device from its instance, and what is in it, as the token of a service, is not
told to whoever may read the daemon's settings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from hotplugd.app.event_documents import FIELDS
from hotplugd.app.systemd import MESSAGE_IDS
from hotplugd.hooks.command_input import Event, check_program, check_word
from hotplugd.model.text import quoted
from hotplugd.rulefile.decode import Decoder, Field
from hotplugd.rulefile.diagnostics import Diagnostic
from hotplugd.rulefile.discover import Reading, not_utf8, read
from hotplugd.rulefile.parse import Source, YamlNode, YamlScalar, parse_yaml
from hotplugd.rulefile.tables import Key, Table
from hotplugd.rules import duration
from hotplugd.rules.complaint import Complaint
from hotplugd.rules.pattern import Pattern, PatternError

LOST: Final = "events.lost"
"""The event that stands for those that the daemon does not keep any more."""

EVENTS: Final = (*MESSAGE_IDS, LOST)
_TIMEOUT: Final = 30.0
_LONGEST: Final = 3600.0
_LONGEST_NAME: Final = 64
_MOST: Final = 200
_INSTANCE: Final = "instance"
_DEFAULT_PROJECT: Final = "default/"
# Fields by which no hook can match: they say when the event was, or which it is.
_UNMATCHED: Final = ("event", "timestamp", "boottime", "cursor", "before", "exception")


@dataclass(frozen=True, slots=True)
class Hook:
    """A hook.

    on       patterns of the names of events
    match    patterns by the name of a field; each field has to match one of its patterns
    run      the command's words, which may be templates
    timeout  seconds
    """

    name: str
    on: tuple[Pattern, ...]
    run: tuple[str, ...]
    match: Mapping[str, tuple[Pattern, ...]]
    timeout: float = _TIMEOUT

    def takes(self, event: Event) -> bool:
        """Whether it is for this event."""
        name = str(event.get("event", ""))
        return any(each.matches(name) for each in self.on) and all(
            any(pattern.matches(value) for pattern in patterns for value in _values(event, field))
            for field, patterns in self.match.items()
        )


def _values(event: Event, field: str) -> tuple[str, ...]:
    value = event.get(field)
    if value is None:
        return ()
    text = value if isinstance(value, str) else str(value)
    # As everywhere: an instance of the default project may be named with it.
    return (text, _DEFAULT_PROJECT + text) if field == _INSTANCE and "/" not in text else (text,)


def _pattern(text: str) -> Complaint | None:
    try:
        Pattern.of(text)
    except PatternError as error:
        return Complaint(f"'{quoted(text)}' is no pattern: {error}")
    return None


def _event(text: str) -> Complaint | None:
    if (wrong := _pattern(text)) is not None:
        return wrong
    pattern = Pattern.of(text)
    if any(map(pattern.matches, EVENTS)):
        return None
    close = get_close_matches(text, EVENTS, 1)
    hint = f"did you mean '{close[0]}'?" if close else "hotplugd-log-events(5) has all events"
    return Complaint(f"no event is called '{quoted(text)}'", hint)


def _timeout(text: str) -> Complaint | None:
    seconds = duration.seconds(text)
    if seconds is not None and seconds <= _LONGEST:
        return None
    return Complaint(f"'{quoted(text)}' is no time from 1s to 1h", "such as 30s or 2m")


def _name(text: str) -> Complaint | None:
    if text and len(text) <= _LONGEST_NAME and text.isprintable():
        return None
    return Complaint(f"'{quoted(text)}' is no name: 1 to {_LONGEST_NAME} printable characters")


_MATCH: Final = Table(
    "`match`",
    tuple(
        Key(name, "texts", f"Patterns of {about}.", text=_pattern)
        for name, about in ((each, FIELDS[each]) for each in FIELDS if each not in _UNMATCHED)
    ),
)
_HOOK: Final = Table(
    "a hook",
    (
        Key("name", "text", "What `status` calls it; without it, its number in the file.", text=_name),
        Key("on", "texts", "The names of events, or patterns of them.", text=_event, required=True),
        Key("match", "keys", "Patterns of the event's fields; each has to match.", item=_MATCH),
        Key(
            "run", "texts",
            "The command, a word an item. `{serial}` and the other fields of events in braces become part of "
            "the word; `{{` is a brace. No shell reads it.",
            text=check_word, required=True,
        ),
        Key(
            "timeout", "text", "How long it may run: 30s without it, 1h at most.", text=_timeout,
            json=f"^{duration.PATTERN}$",
        ),
    ),
)  # fmt: skip
TABLE: Final = Table("a file of hooks", (Key("hooks", "items", "The hooks.", item=_HOOK, required=True),))


def load(path: Path, reading: Reading = lambda _: None) -> tuple[tuple[Hook, ...], tuple[Diagnostic, ...]]:
    """What a file says, and what is wrong with it. reading: called before it is opened, which may hang"""
    reading(path)
    raw = read(path)
    if isinstance(raw, Diagnostic):
        return (), (raw,)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        return (), (not_utf8(raw, str(path), error),)
    return parse(text, str(path))


def parse(text: str, file: str) -> tuple[tuple[Hook, ...], tuple[Diagnostic, ...]]:
    """What the text of a file says, and what is wrong with it. file: what diagnostics call it."""
    source = Source.of(file, text.removeprefix("\ufeff"))
    root, wrong = parse_yaml(source)
    decoder = Decoder(source)
    hooks = tuple(_hooks(decoder, root))
    found = sorted((*wrong, *decoder.diagnostics), key=lambda each: (each.line, each.column))
    return hooks, tuple(found)


def _hooks(decoder: Decoder, root: YamlNode | None) -> Iterator[Hook]:
    if root is None or (isinstance(root, YamlScalar) and root.is_null):
        # Comments alone: no hooks.
        return
    fields = decoder.fields(root, TABLE)
    if "hooks" not in fields:
        return
    items = decoder.items(fields["hooks"], "hooks")
    if len(items) > _MOST:
        decoder.error(fields["hooks"].name.span, f"{len(items)} hooks; {_MOST} are the most")
        return
    seen: dict[str, YamlScalar | None] = {}
    for number, node in enumerate(items, 1):
        hook, named = _hook(decoder, decoder.fields(node, _HOOK), number)
        if hook is None:
            continue
        if hook.name in seen and named is not None:
            first = seen[hook.name]
            related = decoder.source.related(first.span, "the first one") if first is not None else None
            decoder.diagnostics.append(
                decoder.source.error(named.span, f"two hooks are called '{quoted(hook.name)}'", "", related)
            )
        seen[hook.name] = named
        yield hook


def _hook(
    decoder: Decoder, fields: Mapping[str, Field], number: int
) -> tuple[Hook | None, YamlScalar | None]:
    """A hook, and where its name stands. None where a part of it is wrong or missing."""
    named = fields["name"].value if "name" in fields else None
    name = decoder.text(fields["name"]) if "name" in fields else f"hook {number}"
    on = decoder.texts(fields["on"]) if "on" in fields else ()
    match = dict(_match(decoder, fields["match"])) if "match" in fields else {}
    run = decoder.texts(fields["run"]) if "run" in fields else ()
    timeout = decoder.text(fields["timeout"]) if "timeout" in fields else ""
    if run and (wrong := check_program(run[0])) is not None:
        decoder.error(decoder.one_or_more(fields["run"])[0].span, wrong.message, wrong.hint)
        return None, None
    if name is None or timeout is None or not on or not run:
        return None, None
    seconds = duration.seconds(timeout) if timeout else None
    hook = Hook(name, tuple(map(Pattern.of, on)), run, match, seconds or _TIMEOUT)
    return hook, named if isinstance(named, YamlScalar) else None


def _match(decoder: Decoder, field: Field) -> Iterator[tuple[str, tuple[Pattern, ...]]]:
    for name, each in decoder.fields(field.value, _MATCH, field.name).items():
        if patterns := decoder.texts(each):
            yield name, tuple(map(Pattern.of, patterns))
