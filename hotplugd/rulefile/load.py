"""Loads rule files: rules, or diagnostics."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice
from pathlib import Path
from types import MappingProxyType
from typing import Final

from hotplugd.model.text import counted, quoted
from hotplugd.model.values import Device
from hotplugd.rulefile.build import Builder, BuiltRule, RuleName
from hotplugd.rulefile.build_hubs import BuiltHub
from hotplugd.rulefile.build_pools import BuiltPool, PoolName
from hotplugd.rulefile.decode import MOST_SHOWN
from hotplugd.rulefile.diagnostics import Diagnostic, errors_of
from hotplugd.rulefile.discover import LARGEST, Reading, drop_ins, is_folder, not_utf8, read, too_large, whole
from hotplugd.rulefile.grammar import GRAMMAR, Grammar
from hotplugd.rulefile.lint import lint
from hotplugd.rulefile.lint_hubs import doubles, lint_hubs
from hotplugd.rulefile.lint_pools import lint_pools, pool_errors
from hotplugd.rulefile.parse import Source, parse_yaml
from hotplugd.rules.hubs import Hubs
from hotplugd.rules.ruleset import RuleSet

_NOWHERE: Final[Mapping[str, str]] = MappingProxyType({})
# The characters of all files. A thousand rules for a thousand phones have 200 KB.
_MOST_SIZE: Final = 1 << 24
_MOST_RULES: Final = 20_000
# With more than these no further file is read.
_MOST_DIAGNOSTICS: Final = 300


@dataclass(frozen=True, slots=True)
class Loaded:
    """The contents of rule files. With any error among the diagnostics there are no rules at all.

    Without a rule that has an error a device could match a broader one, so no rule is taken then.

    sources  what was read: the files, and their texts
    """

    rules: RuleSet
    diagnostics: tuple[Diagnostic, ...] = ()
    sources: tuple[tuple[str, str], ...] = ()

    @property
    def errors(self) -> tuple[Diagnostic, ...]:
        """The diagnostics that are errors."""
        return errors_of(self.diagnostics)


def load(
    paths: Sequence[Path],
    controllers: Mapping[str, str] = _NOWHERE,
    reading: Reading = lambda _: None,
    halves: Mapping[str, str] = _NOWHERE,
    subsystems: Collection[str] = (),
    plugged: Collection[Device] = (),
) -> Loaded:
    """The rules of files and folders, in order. Raises nothing: what cannot be read is a diagnostic.

    controllers  the host's USB controllers by the number of each bus, which ports are warned about by
    halves       the paths of the host's USB 3 hubs, as `usb3_halves` has them; hubs are warned about by them
    subsystems   those that the host has, besides the kernel's own
    plugged      the USB devices that are plugged in, with what udevd says of them
    """

    def folder(path: Path) -> bool:
        reading(path)
        return is_folder(path)

    draft = _Draft()
    for folders, group in groupby(paths, folder):
        files = list(group)
        if folders:
            files, unreadable = drop_ins(files, reading)
            draft.diagnostics += unreadable
        reading(None)
        for path in files:
            reading(path)
            content = read(path)
            reading(None)
            if isinstance(content, Diagnostic):
                draft.diagnostics.append(content)
            else:
                _check(content, str(path), draft, GRAMMAR)
            if draft.is_full(str(path)):
                return _loaded(draft, controllers, halves, subsystems, plugged)
    return _loaded(draft, controllers, halves, subsystems, plugged)


def parse(
    text: str | bytes,
    file: str,
    controllers: Mapping[str, str] = _NOWHERE,
    grammar: Grammar = GRAMMAR,
    halves: Mapping[str, str] = _NOWHERE,
) -> Loaded:
    """The rules of one document. `file` is what its diagnostics call it. Raises nothing."""
    draft = _Draft()
    _check(text, file, draft, grammar)
    return _loaded(draft, controllers, halves)


def parse_all(sources: Iterable[tuple[str, str]]) -> Loaded:
    """The rules of several documents, each with what its diagnostics call it. Raises nothing."""
    draft = _Draft()
    for file, text in sources:
        _check(text, file, draft, GRAMMAR)
    return _loaded(draft, _NOWHERE)


@dataclass(slots=True)
class _Draft:
    """What has been read so far.

    names  of all rules, also of those with errors in them
    hubs   likewise, and pools
    pools_asked  the names of pools in rules
    size   of all files, in characters
    wild   how many alternatives with wildcards there are
    """

    written: list[BuiltRule] = field(default_factory=list)
    names: list[RuleName] = field(default_factory=list)
    hubs: list[BuiltHub] = field(default_factory=list)
    pools: list[BuiltPool] = field(default_factory=list)
    pools_asked: list[PoolName] = field(default_factory=list)
    diagnostics: list[Diagnostic] = field(default_factory=list)
    sources: list[tuple[str, str]] = field(default_factory=list)
    size: int = 0
    wild: int = 0

    def is_full(self, file: str) -> bool:
        """Whether reading has to stop; adds a diagnostic unless rules have too many errors."""
        if self.size > _MOST_SIZE:
            message = f"the files of rules have more than {_MOST_SIZE >> 20} MiB together, up to this one"
        elif len(self.names) > _MOST_RULES:
            message = f"more than {_MOST_RULES} rules, up to this file"
        else:
            return len(self.diagnostics) > _MOST_DIAGNOSTICS
        self.diagnostics.append(whole(file, message, "rules may have lists: one for each list is enough"))
        return True


def _loaded(
    draft: _Draft,
    controllers: Mapping[str, str],
    halves: Mapping[str, str] = _NOWHERE,
    subsystems: Collection[str] = (),
    plugged: Collection[Device] = (),
) -> Loaded:
    sources = tuple(draft.sources)
    doubts = [
        *_first(
            (
                _doubles(draft.names),
                doubles(draft.hubs),
                pool_errors(draft.pools, draft.pools_asked),
                lint(draft.written, controllers, subsystems, plugged),
            )
        )
    ]
    diagnostics = (*draft.diagnostics, *doubts)
    if errors_of(diagnostics):
        return Loaded(RuleSet(), diagnostics, sources)
    # A missing rule or hub would make these warnings wrong.
    diagnostics += tuple(
        _first((lint_hubs(draft.hubs, draft.written, halves), lint_pools(draft.pools, draft.written)))
    )
    hubs = Hubs(tuple(built.hub for built in draft.hubs))
    pools = (built.pool for built in draft.pools)
    return Loaded(RuleSet.of((built.rule for built in draft.written), hubs, pools), diagnostics, sources)


def _first(found: Iterable[Iterator[Diagnostic]]) -> Iterator[Diagnostic]:
    """As many of each kind as are shown."""
    return (each for diagnostics in found for each in islice(diagnostics, MOST_SHOWN))


def _check(text: str | bytes, file: str, draft: _Draft, grammar: Grammar) -> None:
    if isinstance(text, bytes):
        raw = text
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            draft.diagnostics.append(not_utf8(raw, file, error))
            return
    if len(text) > LARGEST:
        draft.diagnostics.append(too_large(file))
        return
    draft.size += len(text)
    draft.sources.append((file, text))
    source = Source.of(file, text.removeprefix("\ufeff"))
    root, not_yaml = parse_yaml(source)
    builder = Builder(source, grammar, draft.wild)
    if root is not None or not not_yaml:
        rules = list(builder.rules(root))
        # Nodes that were left out would make the warnings about these rules wrong.
        draft.written += [] if not_yaml else rules
    draft.names += builder.names
    draft.hubs += builder.hubs
    draft.pools += builder.pools
    draft.pools_asked += builder.pools_asked
    draft.wild = builder.wild
    wrong = sorted(
        (*not_yaml, *builder.diagnostics), key=lambda diagnostic: (diagnostic.line, diagnostic.column)
    )
    draft.diagnostics += wrong[:MOST_SHOWN]
    if len(wrong) > MOST_SHOWN:
        more = counted(len(wrong) - MOST_SHOWN, "more error")
        draft.diagnostics.append(whole(file, f"{more} in this file, not shown here"))


def _doubles(names: Sequence[RuleName]) -> Iterator[Diagnostic]:
    """Errors about rules with the same name."""
    seen: dict[str, RuleName] = {}
    for name in names:
        first = seen.setdefault(name.name, name)
        if first is not name:
            related = first.source.related(first.span, "the other one is here")
            message = f"a second rule '{quoted(name.name)}'"
            yield name.source.error(name.span, message, "a name stands for one rule", related)
