"""Builds the hubs of a document's section `hubs` from its nodes, as `build` does it with rules."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from hotplugd.rulefile import validate_hubs
from hotplugd.rulefile.decode import Decoder, Field
from hotplugd.rulefile.parse import Source, Span, YamlMapping, YamlNode, YamlScalar
from hotplugd.rulefile.tables import Table
from hotplugd.rules.hubs import Hub

# A thousand phones need fewer. Each port is compared with the locations that rules name.
MOST_PORTS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Written:
    """A text that a hub has, and where it stands. of: for a port's path its label, else empty."""

    text: str
    span: Span
    of: str = ""


@dataclass(frozen=True, slots=True)
class BuiltHub:
    """A hub without its invalid parts, and its place. span: of its name."""

    hub: Hub
    source: Source
    span: Span
    paths: tuple[Written, ...]
    serial: Written | None
    ports: tuple[Written, ...]


def hubs_of(decoder: Decoder, field: Field, table: Table) -> Iterator[BuiltHub]:
    """The hubs of a section; the decoder gathers what is wrong.

    field  the key `hubs` and its value
    table  the keys of a hub
    """
    for name, value in decoder.named(field):
        fields = decoder.fields(value, table, name)
        paths = tuple(_texts(decoder, fields["path"])) if "path" in fields else ()
        serial = next(_texts(decoder, fields["serial"]), None) if "serial" in fields else None
        _see_place(decoder, name, value, fields)
        ports = tuple(_ports(decoder, fields["ports"])) if "ports" in fields else ()
        hub = Hub(
            name.text,
            tuple(path.text for path in paths),
            serial.text if serial is not None else "",
            MappingProxyType({port.of: port.text for port in ports}),
        )
        yield BuiltHub(hub, decoder.source, name.span, paths, serial, ports)


def _see_place(decoder: Decoder, name: YamlScalar, value: YamlNode, fields: dict[str, Field]) -> None:
    """Notes where a hub is found by nothing, or in two ways."""
    if "path" in fields and "serial" in fields:
        spans = (fields["path"].name.span, fields["serial"].name.span)
        later = max(spans, key=lambda span: (span.line, span.column))
        hint = "take one of them out: `path` is the place, and `serial` goes where the hub goes"
        decoder.error(later, "a hub is found by `path` or by `serial`", hint)
    complete = isinstance(value, YamlMapping) and len(value.pairs) == len(fields)
    if complete and "ports" in fields and not {"path", "serial"} & fields.keys():
        hint = "`hotplugd topology` shows both"
        decoder.error(name.span, "a hub needs `path` or `serial`", hint)


def _ports(decoder: Decoder, field: Field) -> Iterator[Written]:
    """The ports by their labels."""
    for label, value in decoder.named(field):
        text = decoder.judged(value, Field(field.key, label, value), validate_hubs.below)
        if text is not None:
            yield Written(text, value.span, label.text)


def _texts(decoder: Decoder, field: Field) -> Iterator[Written]:
    for node in decoder.one_or_more(field):
        text = decoder.judged(node, field, field.key.text)
        if text is not None:
            yield Written(text, node.span)
