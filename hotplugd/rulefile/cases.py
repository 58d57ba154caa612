"""Rule tests: YAML with devices and where they must go, read with places for what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from hotplugd.model.lease import Lease
from hotplugd.model.text import quoted
from hotplugd.model.values import Device, InstanceName
from hotplugd.plan.desired import wants
from hotplugd.rulefile.decode import Decoder, Field
from hotplugd.rulefile.diagnostics import Diagnostic
from hotplugd.rulefile.made_up import MadeUpError, made_up
from hotplugd.rulefile.parse import (
    InvalidNode,
    Source,
    Span,
    YamlMapping,
    YamlNode,
    YamlScalar,
    YamlSequence,
    parse_yaml,
)  # fmt: skip
from hotplugd.rulefile.tables import Key, Table
from hotplugd.rules.hubs import NO_HUBS, Hubs
from hotplugd.rules.keys import GROUPS
from hotplugd.rules.ruleset import Rule, RuleSet

_FILE: Final = Table("a file of rule tests", (Key("tests", "rules", "The tests.", required=True),))
_TEST: Final = Table(
    "a test",
    (
        Key("name", "text", "What the output calls it.", required=True),
        Key("device", "match", "The device: values of match keys.", required=True),
        Key("to", "texts", "The instances that it must go to, as `name` or `project/name`."),
        Key("nowhere", "flag", "It must go nowhere."),
        Key("pool", "text", "The pool that it must be of."),
        Key("rule", "text", "The rule that must take it."),
        Key("path", "text", "Where it must be inside."),
    ),
)
_PARENT: Final = "parent"
_DEEPEST: Final = 8


@dataclass(frozen=True, slots=True)
class Case:
    """A device, and what must become of it; None: the test does not say.

    to    the instances, sorted; none where it must go nowhere
    pool  the pool that it must be of
    """

    name: str
    device: Device
    to: tuple[str, ...] | None
    rule: str | None
    pool: str | None
    path: str | None
    source: Source
    span: Span


def parse_cases(text: str, file: str, hubs: Hubs = NO_HUBS) -> tuple[list[Case], tuple[Diagnostic, ...]]:
    """The tests in a text, and what is wrong with it. Raises nothing. hubs: those whose ports have names"""
    source = Source.of(file, text.removeprefix("\ufeff"))
    root, wrong = parse_yaml(source)
    reader = _Reader(source, hubs)
    cases = [] if root is None or isinstance(root, InvalidNode) else [*reader.cases(root)]
    if root is None and not wrong:
        reader.error(Span(0, 0, 0, 1), "no tests here", "a file of rule tests begins with `tests:`")
    told = sorted((*wrong, *reader.diagnostics), key=lambda each: (each.line, each.column))
    return cases, tuple(told)


def failure(case: Case, rules: RuleSet) -> Diagnostic | None:
    """What is wrong with where the rules put the device; None where that is what the test says."""
    found = wants(rules, case.device, holder=_somebody)
    pool = _pool(found.rule)
    names = tuple(sorted(str(want.instance) for want in found.wants))
    names = (f"an instance of pool '{pool}'",) if pool and names else names
    taken = found.rule.name if found.rule is not None else None
    by = f" by {_rule(taken)}" if taken is not None else ", for no rule takes it"
    why = "".join(f"; {each.message}" for each in found.problems)
    message = hint = ""
    if case.to is not None and names != case.to:
        message = f"goes {_places(names)}{by}{why}; it must go {_places(case.to)}"
        hint = _why_not(case, rules, taken)
    elif case.rule is not None and case.rule != taken:
        message = f"is taken by {_rule(taken)}; it must be by rule '{quoted(case.rule)}'"
        hint = _why_not(case, rules, taken)
    elif case.pool is not None and case.pool != pool:
        message = f"is of {_pool_named(pool)}{by}{why}; it must be of pool '{quoted(case.pool)}'"
        hint = _why_not(case, rules, taken)
    elif case.path is not None and not found.wants:
        message = f"goes nowhere{by}{why}; it must be at {quoted(case.path)}"
    elif case.path is not None and any(want.target != case.path for want in found.wants):
        message = f"is at {quoted(found.wants[0].target)} inside; it must be at {quoted(case.path)}"
    if not message:
        return None
    return case.source.error(case.span, f"test '{quoted(case.name)}': the device {message}", hint)


def _places(names: tuple[str, ...]) -> str:
    return f"to {', '.join(map(quoted, names))}" if names else "nowhere"


def _somebody(_: Device) -> Lease | None:
    """Each device of a pool is leased to some instance, of whatever name."""
    return Lease(InstanceName("default", "any"), "any")


def _pool(rule: Rule | None) -> str:
    return rule.attach.pool if rule is not None and rule.attach is not None else ""


def _pool_named(pool: str) -> str:
    return f"pool '{pool}'" if pool else "no pool"


def _rule(taken: str | None) -> str:
    return f"rule '{taken}'" if taken is not None else "no rule"


def _why_not(case: Case, rules: RuleSet, taken: str | None) -> str:
    """What the device lacks for the rule that should take it; empty where that is not known."""
    names = [each.name for each in rules.rules]
    if case.rule is not None and case.rule not in names:
        close = get_close_matches(case.rule, names, 1)
        return f"there is no such rule; did you mean '{close[0]}'?" if close else "there is no such rule"
    for verdict in rules.explain(case.device):
        goes = verdict.rule.attach.to if verdict.rule.attach is not None else ()
        meant = verdict.rule.name == case.rule if case.rule is not None else set(case.to or ()) & set(goes)
        if meant and verdict.failed is not None and verdict.rule.name != taken:
            return f"rule '{verdict.rule.name}': {verdict.failed}"
        if meant and not verdict.rule.enabled:
            return f"rule '{verdict.rule.name}' is off"
    return ""


class _Reader(Decoder):
    """Reads the tests of one document. hubs: those whose ports have names"""

    def __init__(self, source: Source, hubs: Hubs) -> None:
        super().__init__(source)
        self._hubs = hubs

    def cases(self, root: YamlNode) -> Iterator[Case]:
        """The tests without errors."""
        fields = self.fields(root, _FILE)
        for item in self.items(fields["tests"], "tests") if "tests" in fields else ():
            if (case := self._case(item)) is not None:
                yield case

    def _case(self, node: YamlNode) -> Case | None:
        before = len(self.diagnostics)
        fields = self.fields(node, _TEST)
        name = self.text(fields["name"]) if "name" in fields else None
        to = self.texts(fields["to"]) if "to" in fields else ()
        nowhere = self.flag(fields["nowhere"]) is True if "nowhere" in fields else False
        rule = self.text(fields["rule"]) if "rule" in fields else None
        pool = self.text(fields["pool"]) if "pool" in fields else None
        path = self.text(fields["path"]) if "path" in fields else None
        device = self._device(fields["device"].value) if "device" in fields else None
        if "nowhere" in fields and self.flag(fields["nowhere"]) is False:
            hint = "leave `nowhere` out, or write `nowhere: true`"
            self.error(fields["nowhere"].value.span, "`nowhere: false` says nothing", hint)
        elif "to" in fields and "nowhere" in fields:
            self.error(fields["nowhere"].name.span, "a test has either `to` or `nowhere`", "take one out")
        elif len(self.diagnostics) == before and not {"to", "nowhere", "rule", "pool"} & fields.keys():
            hint = "write `to: runner-1`, `nowhere: true`, or `rule` or `pool` with a name"
            self.error(fields["name"].name.span, "the test does not say where the device must go", hint)
        if len(self.diagnostics) > before or name is None or device is None:
            return None
        says = "to" in fields or nowhere
        places = tuple(sorted(each.removeprefix("default/") for each in to)) if says else None
        return Case(name, device, places, rule, pool, path, self.source, fields["name"].value.span)

    def _device(self, node: YamlNode, depth: int = 0) -> Device | None:
        """The device that a mapping of match keys makes; None where something is wrong with it."""
        if not isinstance(node, YamlMapping):
            self.wrong_type(node, "match keys and values", None)
            return None
        values: dict[str, tuple[str, ...]] = {}
        parent: Device | None = None
        names: dict[str, YamlScalar] = {}
        before = len(self.diagnostics)
        for key, value in node.pairs:
            self._note(names, key.text, key)
            if key.text == _PARENT and depth < _DEEPEST:
                parent = self._device(value, depth + 1)
            elif isinstance(value, YamlMapping) and key.text in (group.name for group in GROUPS):
                for name, inner in value.pairs:
                    self._note(names, f"{key.text}.{name.text}", name)
                    values[f"{key.text}.{name.text}"] = self._texts(Field(_VALUE, name, inner))
            else:
                values[key.text] = self._texts(Field(_VALUE, key, value))
        if len(self.diagnostics) > before:
            return None
        if not node.pairs:
            self.error(node.span, "a device without values", "such as {id: '18d1:4ee7', serial: X}")
            return None
        try:
            return made_up(values, parent, f"it{depth}", self._hubs)
        except MadeUpError as error:
            span = names[error.key].span if error.key in names else node.pairs[0][0].span
            self.error(span, str(error), error.hint)
            return None

    def _note(self, names: dict[str, YamlScalar], name: str, key: YamlScalar) -> None:
        if name in names:
            self.twice(key, names[name], "text")
        names.setdefault(name, key)

    def _texts(self, field: Field) -> tuple[str, ...]:
        items = field.value.items if isinstance(field.value, YamlSequence) else (field.value,)
        return tuple(text for item in items if (text := self.judged(item, field)) is not None)


_VALUE: Final = Key("value", "text", "A value.")
