"""Builds rules from the nodes of a document.

Building goes on after an error, so that all errors are told at once; a rule with an error is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from hotplugd.model.text import quoted
from hotplugd.plan.kinds.registry import is_single
from hotplugd.rulefile.build_hubs import BuiltHub, hubs_of
from hotplugd.rulefile.build_pool_health import ready_of
from hotplugd.rulefile.build_pools import BuiltPool, PoolName, pools_of
from hotplugd.rulefile.decode import Decoder, Field, first_word, what_is
from hotplugd.rulefile.grammar import Grammar
from hotplugd.rulefile.lint_matches import without_node
from hotplugd.rulefile.parse import InvalidNode, Source, Span, YamlMapping, YamlNode, YamlScalar, YamlSequence
from hotplugd.rules import forms
from hotplugd.rules.keys import DEVTYPE, SUBSYSTEM, KeyGroup, MatchKey
from hotplugd.rules.match import AnyOf, KeyTest, Match, Not, Parent, Test, with_default_subsystem
from hotplugd.rules.pattern import Pattern, PatternError
from hotplugd.rules.ruleset import Attach, Companion, Rule
from hotplugd.rules.subsystems import NODELESS

# An event of a device may have to be compared with all of them, and each takes some 0.1 ms to be made.
_MOST_WILD: Final = 10_000
# The match that `partitions` stands for in `with`.
_PARTITIONS: Final = Match(
    (KeyTest(SUBSYSTEM, (Pattern.of("block"),)), KeyTest(DEVTYPE, (Pattern.of("partition"),)))
)


@dataclass(frozen=True, slots=True)
class RuleName:
    """A rule's name, and where it stands."""

    name: str
    source: Source
    span: Span


@dataclass(frozen=True, slots=True)
class BuiltRule:
    """A rule without errors, and where its name stands."""

    rule: Rule
    source: Source
    span: Span


class Builder(Decoder):
    """Builds the rules of one document.

    names  of all its rules, with errors or without
    hubs   likewise, and pools
    pools_asked  the names of pools in rules
    wild   how many alternatives with wildcards there are, with those of documents before
    """

    def __init__(self, source: Source, grammar: Grammar, wild: int = 0) -> None:
        super().__init__(source)
        self._grammar = grammar
        self.names: list[RuleName] = []
        self.hubs: list[BuiltHub] = []
        self.pools: list[BuiltPool] = []
        self.pools_asked: list[PoolName] = []
        self.wild = wild

    def rules(self, root: YamlNode | None) -> Iterator[BuiltRule]:
        """The rules of a document; gathers its hubs, and what is wrong."""
        if isinstance(root, InvalidNode):
            return
        if root is None or (isinstance(root, YamlScalar) and root.is_null):
            self.warning(Span(0, 0, 0, 1), "no rules here", "a rule file begins with `rules:`")
            return
        if isinstance(root, YamlSequence):
            self.error(
                root.span, f"expected keys and values, and found {what_is(root)}", "begin with `rules:`"
            )
            return
        fields = self.fields(root, self._grammar.file)
        if isinstance(root, YamlMapping) and not root.pairs:
            self.error(first_word(root), "a rule file needs `rules`, `hubs` or `pools`")
        self._sections(fields)
        if "rules" in fields and _is_empty(fields["rules"].value):
            # Generated files may have an empty list of rules.
            self.warning(fields["rules"].name.span, "no rules here")
        elif "rules" in fields:
            for item in self.items(fields["rules"], "rules"):
                written = self._rule(item)
                if written is not None:
                    yield written

    def _sections(self, fields: Mapping[str, Field]) -> None:
        """Gathers the hubs and the pools of a document."""
        if "hubs" in fields:
            self.hubs += hubs_of(self, fields["hubs"], self._grammar.hub)
        if "pools" in fields:
            self.pools += pools_of(self, fields["pools"], self._grammar)

    def _rule(self, node: YamlNode) -> BuiltRule | None:
        before = len(self.diagnostics)
        fields = self.fields(node, self._grammar.rule)
        name = self.text(fields["name"]) if "name" in fields else None
        if name is not None:
            self.names.append(RuleName(name, self.source, fields["name"].value.span))
        about = self.text(fields["description"]) if "description" in fields else None
        enabled = self.flag(fields["enabled"]) if "enabled" in fields else True
        match = self._match(fields["match"].value, fields["match"].name) if "match" in fields else None
        attach = self._attach(fields["attach"].value, fields["attach"].name) if "attach" in fields else None
        if "ignore" in fields and self.flag(fields["ignore"]) is False:
            hint = "leave `ignore` out, or write `ignore: true`"
            self.error(fields["ignore"].value.span, "`ignore: false` says nothing", hint)
        if "attach" in fields and "ignore" in fields:
            self.error(
                fields["ignore"].name.span, "a rule either attaches or ignores", "take one of them out"
            )
        elif isinstance(node, YamlMapping) and "attach" not in fields and "ignore" not in fields:
            complete = {"name", "match"} <= fields.keys() and len(node.pairs) == len(fields)
            if complete:
                hint = "say where with `attach: {to: ...}`, or `ignore: true`"
                self.error(first_word(node), "the rule neither attaches nor ignores", hint)
        if attach is not None and match is not None and (complaint := _alone(match, attach)):
            self.error(fields["attach"].name.span, *complaint)
        if len(self.diagnostics) > before or name is None or match is None:
            return None
        line = node.span.line + 1
        registry = self._grammar.registry
        rule = Rule(
            name,
            with_default_subsystem(match),
            attach,
            self.source.file,
            line,
            registry,
            description=about or "",
            enabled=enabled is not False,
        )
        return BuiltRule(rule, self.source, fields["name"].value.span)

    def _match(self, node: YamlNode, key: YamlScalar | None = None) -> Match:
        """The match that a node is, without what is wrong in it."""
        if isinstance(node, YamlMapping) and not node.pairs:
            hint = "a rule for every device would be a mistake"
            self.error(node.span, "an empty match", hint)
        tests = (self._test(field) for field in self.fields(node, self._grammar.match, key).values())
        return Match(tuple(test for group in tests for test in group))

    def _test(self, field: Field) -> tuple[Test, ...]:
        match field.key.shape:
            case MatchKey() as key:
                return (self._key_test(field, key),)
            case KeyGroup() as group:
                return tuple(self._group(field, group))
            case "matches":
                items = self.items(field, field.key.name)
                return (AnyOf(tuple([self._match(item) for item in items])),)
            case _:
                inner = self._match(field.value, field.name)
                return (Not(inner),) if field.key.name == "not" else (Parent(inner),)

    def _group(self, field: Field, group: KeyGroup) -> Iterator[Test]:
        for name, value in self.pairs(field, "names with patterns"):
            self.judged(name, field, field.key.text)
            yield self._key_test(Field(field.key, name, value), group.key(name.text))

    def _key_test(self, field: Field, key: MatchKey) -> KeyTest:
        patterns: list[Pattern] = []
        for item in self.one_or_more(field):
            text = self.judged(item, field)
            if text is None:
                continue
            if (pattern := self._pattern(text.lower() if key.form.is_hex else text, text, item.span)) is None:
                continue
            complaint = forms.match_value(key.form, pattern)
            if complaint is not None:
                self.error(item.span, complaint.message, complaint.hint)
            patterns.append(pattern)
        return KeyTest(key, tuple(patterns))

    def _pattern(self, meant: str, text: str, span: Span) -> Pattern | None:
        """The pattern that is meant by a text; None where it is none, or where there are too many."""
        if self.wild > _MOST_WILD:
            # Too many wildcards, which was reported: compiling more takes too long.
            return None
        try:
            pattern = Pattern.of(meant)
        except PatternError as error:
            self.error(span, f"'{quoted(text)}' is no pattern: {error}")
            return None
        self.wild += len(pattern.wild)
        if self.wild > _MOST_WILD:
            hint = "write out what is meant: whole values cost next to nothing"
            self.error(span, f"more than {_MOST_WILD} patterns with wildcards in all rules", hint)
        return pattern

    def _attach(self, node: YamlNode, key: YamlScalar) -> Attach:
        """What a node says about where the device goes, without what is wrong in it."""
        fields = self.fields(node, self._grammar.attach, key)
        for number, name in (("uid", "user"), ("gid", "group")):
            if number in fields and name in fields:
                later = max(fields[number].name, fields[name].name, key=lambda name: _position(name.span))
                self.error(later.span, f"`{number}` and `{name}` say the same thing", "take one of them out")
        self._see_where(fields, node, key)
        texts = {
            name: self.text(fields[name])
            for name in ("pool", "project", "path", "as", "name", "uid", "gid", "user", "group", "mode")
            if name in fields
        }
        to = self.texts(fields["to"]) if "to" in fields else ()
        force = self.flag(fields["force"]) if "force" in fields else None
        share = self.flag(fields["share"]) if "share" in fields else None
        udev = self.flag(fields["udev"]) if "udev" in fields else None
        uid, gid, mode = texts.get("uid"), texts.get("gid"), texts.get("mode")
        if share and "pool" in fields:
            hint = "take `share` out, or name the instances with `to`"
            self.error(fields["share"].name.span, "a device of a pool is in one instance at a time", hint)
        if (pool := texts.get("pool")) is not None:
            self.pools_asked.append(PoolName(pool, self.source, fields["pool"].value.span))
        return Attach(
            to=to,
            pool=pool or "",
            project=texts.get("project") or "default",
            path=texts.get("path"),
            links=self.texts(fields["link"]) if "link" in fields else (),
            kind=texts.get("as"),
            name=texts.get("name"),
            uid=int(uid) if uid is not None else None,
            gid=int(gid) if gid is not None else None,
            user=texts.get("user"),
            group=texts.get("group"),
            mode=mode.zfill(4) if mode is not None else None,
            force=force is True,
            share=share,
            companions=tuple(self._companions(fields["with"])) if "with" in fields else (),
            udev=udev is True,
            ready=ready_of(self, fields["ready"], self._grammar.ready) if "ready" in fields else None,
        )

    def _see_where(self, fields: Mapping[str, Field], node: YamlNode, key: YamlScalar) -> None:
        """Notes where `attach` says nothing, or two things, about where the device goes."""
        where = [fields[name].name for name in ("to", "pool") if name in fields]
        if len(where) > 1:
            later = max(where, key=lambda name: _position(name.span))
            hint = "take one of them out: `to` is for every instance in it, `pool` for one of several"
            self.error(later.span, "a device goes where `to` or where `pool` says", hint)
        elif where and "pool" in fields and "project" in fields:
            hint = "take it out: the pool has the project, under `pools`"
            self.error(fields["project"].name.span, "`project` is for `to`", hint)
        elif isinstance(node, YamlMapping) and not where and len(node.pairs) == len(fields):
            self.error(key.span, "`attach` needs `to` or `pool`")

    def _companions(self, field: Field) -> Iterator[Companion]:
        """The items of `with`, without those that something is wrong with."""
        for item in self.one_or_more(field):
            if isinstance(item, YamlMapping):
                fields = self.fields(item, self._grammar.companion)
                path = self.text(fields["path"]) if "path" in fields else None
                links = self.texts(fields["link"]) if "link" in fields else ()
                if "match" in fields:
                    match = self._match(fields["match"].value, fields["match"].name)
                    self._has_node(match, fields["match"].value)
                    yield Companion(match, path, links)
            elif (text := self.judged(item, field)) == "partition":
                yield Companion(_PARTITIONS)
            elif text is not None and (pattern := self._pattern(text, text, item.span)) is not None:
                match = Match((KeyTest(SUBSYSTEM, (pattern,)),))
                self._has_node(match, item)
                yield Companion(match)

    def _has_node(self, match: Match, node: YamlNode) -> None:
        """Report an item of `with` that means devices which cannot go anywhere."""
        if nodeless := without_node(match):
            message = f"nothing of subsystem {nodeless} can go along: its devices have no node"
            self.error(node.span, message, NODELESS[nodeless])


def _is_empty(node: YamlNode) -> bool:
    """Whether there is nothing in a list, or nothing in its span."""
    if isinstance(node, YamlSequence):
        return not node.items
    return isinstance(node, YamlScalar) and node.plain and node.is_null


def _alone(match: Match, attach: Attach) -> tuple[str, str] | None:
    """What is wrong with several instances, as far as the rule says what it is about."""
    subsystem = match.test_of(SUBSYSTEM)
    if len(attach.to) <= 1 or subsystem is None or not subsystem.is_exact:
        return None
    only = subsystem.exact
    if is_single(attach.kind, frozenset(only)):
        return "`to` names several instances, and such a device can be in one at a time", "name one"
    if only == {"block"} and attach.share is None:
        hint = "`share: true` attaches it all the same; what two write at once destroys file systems"
        return "`to` names several instances for a disk", hint
    return None


def _position(span: Span) -> tuple[int, int]:
    return span.line, span.column
