"""More of the JSON that commands print, of what the daemon is asked besides its status. The keys stay."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TypedDict

from hotplugd.rulefile.diagnostics import Diagnostic
from hotplugd.rules.ruleset import Rule, RuleSet


class RuleJson(TypedDict):
    """A rule. devices: how many it takes now. taken: how many it took since then, each plug counted."""

    name: str
    file: str
    line: int
    description: str
    enabled: bool
    devices: int
    taken: int


class RulesJson(TypedDict):
    """`status --rules --json`. since: ISO 8601."""

    rules: list[RuleJson]
    since: str


class ReloadJson(TypedDict):
    """`reload --json`. taken: whether what the files say is in force now; else message says why not, and what
    was in force before still is. rules: how many are in force. added, removed, changed: the names of those
    that are new, gone, or other than before. diagnostics: as `check --json` has them.
    """

    taken: bool
    message: str
    rules: int
    added: list[str]
    removed: list[str]
    changed: list[str]
    diagnostics: list[dict[str, object]]


class FindingJson(TypedDict):
    """health: `degraded` or `down`."""

    health: str
    message: str


class HealthJson(TypedDict):
    """`health --json`. health: `well`, or the worst of the findings."""

    health: str
    findings: list[FindingJson]


def rules_json(rules: RuleSet, now: Iterable[Rule], taken: Mapping[str, int], since: str) -> RulesJson:
    """What rules take.

    now    the rule of each device that one takes
    taken  how many devices each took since then, by its name
    """
    devices = Counter(each.name for each in now)
    return {
        "rules": [
            {
                "name": rule.name,
                "file": rule.file,
                "line": rule.line,
                "description": rule.description,
                "enabled": rule.enabled,
                "devices": devices[rule.name],
                "taken": taken.get(rule.name, 0),
            }
            for rule in rules.rules
        ],
        "since": since,
    }


def reload_json(
    before: RuleSet, after: RuleSet, diagnostics: Iterable[Diagnostic], message: str
) -> ReloadJson:
    """What came of a reload. message: why nothing did, or empty. Rules are compared but for their places."""
    old, new = ({rule.name: rule for rule in rules.rules} for rules in (before, after))
    return {
        "taken": not message,
        "message": message,
        "rules": len(new),
        "added": [name for name in new if name not in old],
        "removed": [name for name in old if name not in new],
        "changed": [name for name, each in new.items() if name in old and not _is_same(each, old[name])],
        "diagnostics": [diagnostic.as_json() for diagnostic in diagnostics],
    }


def _is_same(one: Rule, other: Rule) -> bool:
    return (one.match, one.attach, one.enabled) == (other.match, other.attach, other.enabled)
