"""What is known of a device that a command was asked for and that is not there."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hotplugd.app.event_views import Event
    from hotplugd.app.in_force import Settings
    from hotplugd.rules.ruleset import RuleSet


def last_known(name: str, by: Settings) -> str:
    """Why it is not there, which rule would take it and where it was last seen; or empty."""
    from hotplugd.app.event_views import Filter
    from hotplugd.app.history import past

    return told(name, past(by.config.control, Filter("", name)).events, by.rules)


def whose_plug_is_over(name: str, events: Iterable[Event]) -> list[Event]:
    """The events about the one device that is called so, where it is not plugged in any more; else none."""
    from hotplugd.app.event_views import Filter, is_gone

    meant = Filter("", name)
    mine = [each for each in events if meant.meets(each)]
    # An instance or a place has several devices.
    one = len({each.get("identity") for each in mine} - {None}) == 1
    return mine if one and is_gone(mine) else []


def last_place(name: str, control: Path) -> list[str]:
    """When and where it was last seen, in a line, where the daemon's events tell that it is not there."""
    from hotplugd.app.event_views import Filter, absent, last_seen
    from hotplugd.app.history import past

    event = last_seen(whose_plug_is_over(name, past(control, Filter("", name)).events), name)
    # Which rule would take it the daemon has said, where it knows.
    return [absent({**event, "rule": ""}, "")] if event is not None else []


def told(name: str, events: Iterable[Event], rules: RuleSet) -> str:
    """The same by these events."""
    from hotplugd.app.event_views import absent, last_seen

    event = last_seen(events, name)
    would = _would(name, event, rules)
    return absent(event, would) if event is not None or would else ""


def _would(name: str, event: Event | None, rules: RuleSet) -> str:
    """The rule that would take it, by what was last told of it, or else by what it is called."""
    from hotplugd.rulefile.made_up import MadeUpError, made_up

    took = str(event.get("rule", "")) if event is not None else ""
    if took and any(each.name == took and each.enabled for each in rules.rules):
        return took
    known = (
        [{key: str(event[key]) for key in ("serial", "port", "location") if key in event}] if event else []
    )
    for values in known or [{key: name} for key in ("location", "serial", "port")]:
        try:
            device = made_up({key: (text,) for key, text in values.items()}, hubs=rules.hubs)
        except MadeUpError:
            continue
        if (taken := rules.decide(device)) is not None:
            return taken.rule.name
    return ""
