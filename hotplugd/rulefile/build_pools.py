"""Builds the pools of a document's section `pools` from its nodes, as `build` does it with rules."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from hotplugd.rulefile.build_pool_health import files_of, flap_of, ready_of
from hotplugd.rulefile.decode import Decoder, Field
from hotplugd.rulefile.grammar import Grammar
from hotplugd.rulefile.parse import Source, Span
from hotplugd.rules.duration import seconds
from hotplugd.rules.pattern import Pattern
from hotplugd.rules.pools import Pool

# Each is compared with the names of all instances.
MOST_PATTERNS: Final = 1_000


@dataclass(frozen=True, slots=True)
class BuiltPool:
    """A pool, less what is wrong with it, and where its name stands."""

    pool: Pool
    source: Source
    span: Span


@dataclass(frozen=True, slots=True)
class PoolName:
    """A pool's name as a rule has it, and where it stands."""

    name: str
    source: Source
    span: Span


def pools_of(decoder: Decoder, field: Field, grammar: Grammar) -> Iterator[BuiltPool]:
    """The pools of a section; the decoder gathers what is wrong.

    field  the key `pools` and its value
    grammar  has the keys of a pool
    """
    for name, value in decoder.named(field):
        fields = decoder.fields(value, grammar.pool, name)
        texts = {
            key: text
            for key in ("project", "per_instance", "keep", "expect", "leases_file")
            if key in fields and (text := decoder.text(fields[key])) is not None
        }
        instances = decoder.texts(fields["instances"]) if "instances" in fields else ()
        if len(instances) > MOST_PATTERNS:
            decoder.error(fields["instances"].name.span, f"more than {MOST_PATTERNS} patterns")
            instances = ()
        keep_stopped = decoder.flag(fields["keep_stopped"]) if "keep_stopped" in fields else None
        pool = Pool(
            name.text,
            tuple(map(Pattern.of, instances)),
            texts.get("project", "default"),
            int(texts.get("per_instance", "0")),
            keep_stopped is True,
            int(texts.get("expect", "0")),
            seconds(texts["keep"]) or 0.0 if "keep" in texts else 0.0,
            files=files_of(decoder, fields["files"], grammar.pool_file) if "files" in fields else (),
            leases_file=texts.get("leases_file", ""),
            ready=ready_of(decoder, fields["ready"], grammar.ready) if "ready" in fields else None,
            flap=flap_of(decoder, fields["flap"], grammar.flap) if "flap" in fields else None,
        )
        yield BuiltPool(pool, decoder.source, name.span)
