"""What is wrong or doubtful about pools, all of them and all rules together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Final

from hotplugd.model.text import quoted
from hotplugd.rulefile.build import BuiltRule
from hotplugd.rulefile.build_pools import BuiltPool, PoolName
from hotplugd.rulefile.diagnostics import Diagnostic, Related

_MOST_SHOWN: Final = 16
MOST_POOLS: Final = 1_000


def pool_errors(pools: Sequence[BuiltPool], asked: Sequence[PoolName]) -> Iterator[Diagnostic]:
    """Errors about pools that are there twice, and about rules that name one that is not there.

    asked  the names of pools in all rules
    """
    names: dict[str, Related] = {}
    for number, built in enumerate(pools):
        own = built.source.related(built.span, "the other one is here")
        first = names.setdefault(built.pool.name, own)
        if first is not own:
            message = f"a second pool '{quoted(built.pool.name)}'"
            yield built.source.error(built.span, message, "a name stands for one pool", first)
        if number == MOST_POOLS:
            yield built.source.error(built.span, f"more than {MOST_POOLS} pools, up to this one")
            return
    for name in asked:
        if name.name not in names:
            hint = _near(name.name, sorted(names))
            yield name.source.error(name.span, f"there is no pool '{quoted(name.name)}'", hint)


def lint_pools(pools: Sequence[BuiltPool], rules: Sequence[BuiltRule]) -> Iterator[Diagnostic]:
    """Warnings about pools that no rule puts a device into."""
    filled = {built.rule.attach.pool for built in rules if built.rule.attach is not None}
    for built in pools if rules else ():
        name = built.pool.name
        if name not in filled:
            hint = f"write `attach: {{pool: {name}}}` in one"
            message = f"no rule puts a device into pool '{name}'"
            yield built.source.diagnostic("warning", built.span, message, hint)


def _near(name: str, names: Sequence[str]) -> str:
    """What may have been meant."""
    if not names:
        return f"write a section `pools`: `pools: {{{quoted(name)}: {{instances: runner-*}}}}`"
    close = get_close_matches(name, names, 1)
    if close:
        return f"did you mean '{close[0]}'?"
    return f"pools: {', '.join(names[:_MOST_SHOWN])}" + (", …" if len(names) > _MOST_SHOWN else "")
