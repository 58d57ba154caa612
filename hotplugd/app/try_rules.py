"""What recorded devices would get by rules."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypedDict

from hotplugd.app.naming import NamedJson, named_json
from hotplugd.app.with_hints import takes_nothing
from hotplugd.model.text import natural
from hotplugd.model.values import Device
from hotplugd.plan.desired import wants
from hotplugd.rules.ruleset import RuleSet


class TriedPlaceJson(TypedDict):
    """A place where a device would be. instance: `name` or `project/name`. path: inside."""

    instance: str
    path: str


class TriedJson(NamedJson):
    """A device of `check --devices --json`. rule: the one that takes it, or null. places: where it would go.
    pool: the one that it would be of, or empty. problems: why it would not go where its rule says, or what
    else is doubtful.
    """

    device: str
    rule: str | None
    ignored: bool
    pool: str
    places: list[TriedPlaceJson]
    problems: list[str]


def tried(rules: RuleSet, devices: Iterable[Device]) -> list[TriedJson]:
    """What each of the devices would get, by their places, as people count."""
    every = sorted(devices, key=lambda each: natural(each.syspath))
    results: list[TriedJson] = []
    for device in every:
        wanted = wants(rules, device)
        attach = wanted.rule.attach if wanted.rule is not None else None
        doubts = takes_nothing(wanted.rule, device, every) if wanted.rule is not None else []
        results.append(
            {
                **named_json(device, hubs=rules.hubs),
                "device": str(device),
                "rule": wanted.rule.name if wanted.rule is not None else None,
                "ignored": wanted.rule is not None and wanted.rule.attach is None,
                "pool": attach.pool if attach is not None else "",
                "places": [{"instance": str(want.instance), "path": want.target} for want in wanted.wants],
                "problems": [*(problem.message for problem in wanted.problems), *doubts],
            }
        )
    return results
