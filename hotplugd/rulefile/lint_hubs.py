"""What is wrong or doubtful about hubs with names, all of them and all rules together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Final

from hotplugd.model.text import quoted
from hotplugd.rulefile.build import BuiltRule
from hotplugd.rulefile.build_hubs import MOST_PORTS, BuiltHub, Written
from hotplugd.rulefile.diagnostics import Diagnostic, Related
from hotplugd.rules.hubs import place_below
from hotplugd.rules.keys import LOCATION, Form
from hotplugd.rules.match import KeyTest

_MOST_COMPARISONS: Final = 500_000
_MOST_SHOWN: Final = 16
_NO_SECTION: Final = "write a section `hubs`; `hotplugd suggest hubs` prints one"


def doubles(hubs: Sequence[BuiltHub]) -> Iterator[Diagnostic]:
    """Errors about hubs, places and locations that are there twice."""
    ports = 0
    names: dict[str, Related] = {}
    places: dict[str, Related] = {}
    written: dict[str, tuple[str, Related]] = {}
    for built in hubs:
        name = built.hub.name
        first = names.setdefault(name, built.source.related(built.span, "the other one is here"))
        if first.line != built.span.line + 1 or first.file != built.source.file:
            message = f"a second hub '{quoted(name)}'"
            yield built.source.error(built.span, message, "all ports of a hub go into one", first)
            continue
        ports += len(built.ports)
        if ports > MOST_PORTS:
            yield built.source.error(built.span, f"more than {MOST_PORTS} ports of hubs, up to this one")
            return
        yield from _places(built, places)
        for port in built.ports:
            location = built.hub.location(port.of)
            text = Form.LOCATION.in_template(location)
            other, related = written.setdefault(
                text, (location, built.source.related(port.span, f"{location} is here"))
            )
            if other != location:
                message = f"'{location}' and '{other}' are both '{text}' in a template"
                yield built.source.error(port.span, message, "call one of them otherwise", related)


def _places(built: BuiltHub, places: dict[str, Related]) -> Iterator[Diagnostic]:
    """Where a hub's path, its serial number or the place of one of its ports is another's, too."""

    def seen(key: str, at: Written, what: str) -> Related | None:
        own = built.source.related(at.span, what)
        first = places.setdefault(key, own)
        return first if first is not own else None

    own: list[str] = []
    for path in built.paths:
        if first := seen(f"hub {place_below(path.text, '0')}", path, "it stands here first"):
            message = f"'{path.text}' is a second time the path of a hub"
            yield built.source.error(path.span, message, "", first)
        else:
            own.append(path.text)
    serial = built.serial
    if serial is not None and (first := seen(f"serial {serial.text}", serial, "it stands here first")):
        message = f"'{quoted(serial.text)}' is a second time the serial number of a hub"
        hint = "two hubs with one serial number are told apart by `path`"
        yield built.source.error(serial.span, message, hint, first)
    below: dict[str, Written] = {}
    for port in built.ports:
        if (twin := below.setdefault(port.text, port)) is not port:
            related = built.source.related(twin.span, f"port '{twin.of}' is here")
            message = f"port '{port.of}' is the same place as port '{twin.of}'"
            yield built.source.error(port.span, message, "a place has one label", related)
            continue
        for text in own:
            place = place_below(text, port.text)
            what = f"here it is {built.hub.location(port.of)}"
            if first := seen(f"port {place}", port, what):
                message = f"port '{port.of}' is {place}, which has a name already"
                yield built.source.error(port.span, message, "a place has one name", first)


def lint_hubs(
    hubs: Sequence[BuiltHub], rules: Sequence[BuiltRule], halves: Mapping[str, str]
) -> Iterator[Diagnostic]:
    """Warnings about hubs, and about rules that ask for locations.

    halves  for each USB 3 hub of the host whose path by USB 3 is no hub's by USB 2: that path, and the other
    """
    yield from _locations(hubs, rules)
    for built in hubs:
        for path in built.paths:
            if (other := halves.get(path.text)) is not None:
                message = f"'{path.text}' is the place of a USB 3 hub by the numbers of USB 3"
                hint = f"by those of USB 2, which count here, it is '{other}'"
                yield built.source.diagnostic("warning", path.span, message, hint)
        inner = {above: port for port in built.ports for above in _ways(port.text)}
        for port in built.ports:
            if port.text in inner:
                message = f"in port '{port.of}' is the hub that port '{inner[port.text].of}' is on"
                hint = "take it out: nothing else can be plugged in there"
                yield built.source.diagnostic("warning", port.span, message, hint)


def _ways(below: str) -> Iterator[str]:
    """The ports on the way to a port: 4 and 4.1 for 4.1.2."""
    while "." in below:
        below = below.rpartition(".")[0]
        yield below


def _locations(hubs: Sequence[BuiltHub], rules: Sequence[BuiltRule]) -> Iterator[Diagnostic]:
    """Where rules ask for a location that no port has, and hubs whose ports no rule asks for."""
    hub_of = {built.hub.location(port.of): built.hub.name for built in hubs for port in built.ports}
    asked: set[str] = set()
    compared = 0
    for built in rules:
        patterns = dict.fromkeys(pattern for test in _location_tests(built) for pattern in test.patterns)
        if _names_location(built):
            asked.update(() if patterns else hub_of.values())
            if not hubs:
                message = f"rule '{built.rule.name}' names '{{location}}', and no hub has a name"
                yield built.source.diagnostic("warning", built.span, message, _NO_SECTION)
        for pattern in patterns:
            compared += len(hub_of) if pattern.wild else 1
            if compared > _MOST_COMPARISONS:
                return
            found = filter(pattern.matches, hub_of) if pattern.wild else pattern.exact & hub_of.keys()
            met = {hub_of[location] for location in found}
            asked |= met
            if not met:
                text = quoted(pattern.text)
                message = f"rule '{built.rule.name}' asks for location '{text}', which no hub has"
                yield built.source.diagnostic("warning", built.span, message, _near(pattern.text, hub_of))
    if rules:
        yield from (_unasked(hub) for hub in hubs if hub.hub.name not in asked)


def _unasked(hub: BuiltHub) -> Diagnostic:
    name = hub.hub.name
    hint = f'write `location: "{name}/*"` or `{{location}}` in one'
    return hub.source.diagnostic("warning", hub.span, f"no rule asks for a port of hub '{name}'", hint)


def _names_location(built: BuiltRule) -> bool:
    attach = built.rule.attach
    return attach is not None and LOCATION.name in attach.template_keys()


def _location_tests(built: BuiltRule) -> Iterator[KeyTest]:
    rule = built.rule
    below = [companion.match for companion in rule.attach.companions] if rule.attach is not None else []
    for match in (rule.match, *below):
        yield from (test for test in match.key_tests() if test.key.name == LOCATION.name)


def _near(text: str, hub_of: Mapping[str, str]) -> str:
    """What may have been meant."""
    if not hub_of:
        return _NO_SECTION
    hub, _, label = text.partition("/")
    names = sorted(set(hub_of.values()))
    if hub in names:
        labels = [location.partition("/")[2] for location, name in hub_of.items() if name == hub]
        shown = ", ".join(labels[:_MOST_SHOWN]) + (", …" if len(labels) > _MOST_SHOWN else "")
        return f"the ports of '{hub}': {shown}"
    close = get_close_matches(hub, names, 1)
    if close:
        return f"did you mean '{close[0]}/{quoted(label)}'?"
    return f"hubs: {', '.join(names[:_MOST_SHOWN])}"
