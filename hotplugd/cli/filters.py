"""The options of `status`, `devices` and `plan` that choose what is shown: all mean the same by them."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

import click

from hotplugd.app.selection import Selection

_OPTIONS = (
    click.option("--instance", metavar="NAME", help="What is in this instance, or should be. A glob."),
    click.option("--rule", metavar="NAME", help="What this rule takes. A glob."),
    click.option("--location", metavar="NAME", help="What is in the port of this name: shelf-1/4. A glob."),
    click.option("--unmatched", is_flag=True, help="What no rule takes, alone."),
    click.option("--problems", is_flag=True, help="What is not attached, and why, alone."),
)


def with_filters(command: Callable[..., object]) -> Callable[..., object]:
    """Give a command these options, as `selection`."""

    @wraps(command)
    def wrapped(
        *words: object,
        instance: str | None,
        rule: str | None,
        location: str | None,
        unmatched: bool,
        problems: bool,
        **options: object,
    ) -> object:
        return command(*words, selection=Selection(instance, rule, location, unmatched, problems), **options)

    found: Callable[..., object] = wrapped
    for option in reversed(_OPTIONS):
        found = option(found)
    return found
