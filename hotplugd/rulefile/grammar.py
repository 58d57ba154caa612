"""The rule language as tables: every key, what it takes and what it means.

`check` decodes files by these tables; the JSON Schema and the reference page are made from them. The rows of
match keys come from the registry (rules/keys.py); a new key of another mapping starts with a row here.

The tables are written by hand and not with pydantic: its import alone takes 110 ms of the 150 that
`hotplugd check` may, it resolves values before it judges them where the text as written is what counts, and
its locations would have to be mapped back to the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from hotplugd.plan.kinds.registry import kind_names
from hotplugd.rulefile import validate, validate_hubs, validate_pools
from hotplugd.rulefile.grammar_health import FILE, FLAP, OF_POOLS, READY, ready_keys
from hotplugd.rulefile.tables import Key, Table
from hotplugd.rules.keys import GROUPS, KEYS, MatchKey


@dataclass(frozen=True, slots=True)
class Grammar:
    """The tables of the language with the match keys of one registry."""

    registry: tuple[MatchKey, ...]
    file: Table
    rule: Table
    match: Table
    attach: Table
    companion: Table
    hub: Table
    pool: Table
    flap: Table
    ready: Table
    pool_file: Table

    @classmethod
    def of(cls, registry: Sequence[MatchKey]) -> Grammar:
        """The grammar whose match keys are those of the registry."""
        keys = tuple(registry)
        match, attach = _match_keys(keys), _attach_keys(keys)
        belongs = {
            **{key.name: "under `attach`" for key in attach},
            **{key.name: "under `match`" for key in match},
            "path": "under `match` or `attach`",
            **{key.name: "in a rule, that is, in an item of the list `rules`" for key in _RULE},
            "ports": "in a hub, below its name under `hubs`",
            "per_instance": "in a pool, below its name under `pools`",
            "keep": "in a pool, below its name under `pools`",
            "keep_stopped": "in a pool, below its name under `pools`",
            "expect": "in a pool, below its name under `pools`",
            **{key.name: "in a pool, below its name under `pools`" for key in OF_POOLS if key is not READY},
            "name": "in a rule, or under `attach` for a network interface",
        }
        of_pools = tuple(key for key in _POOL if key.name not in ("instances", "project", READY.name))
        aliases = {alias: key.name for key in (*match, *attach) for alias in key.aliases}

        def table(label: str, own: tuple[Key, ...], others: tuple[Key, ...] = ()) -> Table:
            elsewhere = {key.name: belongs[key.name] for key in others}
            return Table(label, own, elsewhere, aliases)

        return cls(
            keys,
            table("a rule file", _FILE, (*_RULE, *of_pools, *(key for key in _HUB if key.name == "ports"))),
            table("a rule", _RULE, (*match, *attach)),
            table("`match`", match, (*attach, *_RULE)),
            table("`attach`", attach, (*match, *_RULE, *of_pools)),
            table("an item of `with`", _companion_keys(keys)),
            table("a hub", _HUB, _RULE),
            table("a pool", _POOL, (*(key for key in attach if key.name != "project"), *_RULE)),
            table("`flap`", FLAP),
            table("`ready`", ready_keys(keys)),
            table("an item of `files`", FILE),
        )


_FILE: Final = (
    Key(
        "rules",
        "rules",
        "The rules, in the order in which they count: the first match wins.",
    ),
    Key(
        "hubs",
        "hubs",
        "Hubs by their names, whose ports the match key `location` means. All files name the same hubs.",
        text=validate_hubs.name,
        json=validate_hubs.NAME_JSON,
    ),
    Key(
        "pools",
        "pools",
        "Pools by their names: devices that any of several instances may have, one instance each at a time.",
        text=validate_pools.name,
        json=validate_pools.NAME_JSON,
    ),
)

_POOL: Final = (
    Key(
        "instances",
        "texts",
        "The instances that may have devices of it: a name, a pattern such as runner-*, or a list of them.",
        text=validate_pools.instances,
        required=True,
    ),
    Key("project", "text", "The project of those instances, if not `default`.", text=validate.project),
    Key(
        "per_instance",
        "text",
        "How many devices an instance without a claim gets while it runs. Left out, or 0, it gets none.",
        text=validate_pools.per_instance,
        json=validate_pools.NUMBER_JSON,
    ),
    Key(
        "keep",
        "text",
        "For how long a lease outlives the absence of its device: 30s, 10m, "
        "2h, 1d. Left out, it ends when the device is pulled.",
        text=validate_pools.keep,
        json=validate_pools.SPAN_JSON,
    ),
    Key("keep_stopped", "flag", "Whether an instance that stops keeps the devices that it has."),
    Key(
        "expect",
        "text",
        "How many devices there should be: fewer are a problem, which names the empty ports of hubs.",
        text=validate_pools.expect,
        json=validate_pools.NUMBER_JSON,
    ),
    *OF_POOLS,
)

_HUB: Final = (
    Key(
        "path",
        "texts",
        "The hub's place: its ID_PATH, pci-0000:00:14.0-usb-0:1.4; of a USB 3 hub that of its USB 2 half. "
        "Without -usb-0:… it is a controller's, whose own ports get names.",
        text=validate_hubs.path,
        json="^[^*?|]+$",
    ),
    Key("serial", "text", "The hub's serial number, in the place of `path`.", text=validate_hubs.serial),
    Key(
        "ports",
        "ports",
        "The port's path below the hub, by the port's label: 4, or 4.1 where the hub is a tree of hubs.",
        text=validate_hubs.label,
        json=validate_hubs.LABEL_JSON,
        required=True,
    ),
)

_RULE: Final = (
    Key(
        "name",
        "text",
        "What messages call the rule. No two rules have the same name.",
        text=validate.rule_name,
        required=True,
    ),
    Key(
        "description",
        "text",
        "What the rule is for, in words: `explain` and `status --rules` show it.",
        text=validate.description,
    ),
    Key("enabled", "flag", "`false` switches the rule off: it is checked, and takes no device."),
    Key("match", "match", "Which devices it takes: all keys must match.", required=True),
    Key("attach", "attach", "Where the device goes."),
    Key("ignore", "flag", "The device goes nowhere, whatever later rules say."),
)


def _match_keys(registry: tuple[MatchKey, ...]) -> tuple[Key, ...]:
    """The keys of `match`: those of the registry, the groups, and what nests other matches."""
    return (
        *(
            Key(key.name, key, key.about, json=validate.match_json(key.form), aliases=key.aliases)
            for key in registry
        ),
        *(
            Key(
                group.name,
                group,
                group.about,
                text=validate.attribute if group.paths else None,
                aliases=group.aliases,
            )
            for group in GROUPS
        ),
        Key(
            "parent",
            "match",
            "A whole match that some device above this one must meet.",
            aliases=("kernels", "attrs", "subsystems", "drivers"),
        ),
        Key("any", "matches", "Whole matches, one of which must be met.", aliases=("or",)),
        Key("not", "match", "A whole match that must not be met."),
    )


def _link(registry: tuple[MatchKey, ...]) -> Key:
    return Key(
        "link",
        "texts",
        "A link inside that leads to the node, or several: below /dev, dots allowed; may be templates. by-id "
        "and the like stand for udev's own links of the device.",
        text=partial(validate.link, keys=registry),
        json=validate.LINK_JSON,
        aliases=("symlink", "links"),
    )


def _named(words: Sequence[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} or {last}"


def _attach_keys(registry: tuple[MatchKey, ...]) -> tuple[Key, ...]:
    return (
        Key(
            "to",
            "texts",
            "The instance, or several, each of which gets the device; a name may be a template: ci-{serial}.",
            text=partial(validate.instance, keys=registry),
            aliases=("instance", "instances", "container", "containers", "target"),
        ),
        Key(
            "pool",
            "text",
            "In place of `to`: the pool that the device is of. Whichever instance it is leased to gets it.",
            text=validate_pools.name,
            json=validate_pools.NAME_JSON,
        ),
        Key("project", "text", "The project of the instances, if not `default`.", text=validate.project),
        Key(
            "path",
            "text",
            "The node's path inside, below /dev; may be a template. Left out, it is the host's; where that "
            "has a dot, `_` stands for it, and a link has the host's path.",
            text=partial(validate.node_path, keys=registry),
            json="^/dev/[^.]+$",
        ),
        _link(registry),
        Key(
            "as",
            "text",
            f"What goes in: {_named(kind_names())}. Left out, it follows from the subsystem; of a GPU each "
            f"node goes in by itself where any rule takes some of them alone.",
            text=validate.kind,
            json=f"^({'|'.join(kind_names())})$",
            aliases=("type",),
        ),
        Key(
            "name",
            "text",
            "The name of the network interface inside; may be a template. Left out, it is the host's.",
            text=partial(validate.interface_name, keys=registry),
        ),
        Key("uid", "text", "The owner's number inside.", text=validate.uid, json=validate.NUMBER_JSON),
        Key("gid", "text", "The group's number inside.", text=validate.gid, json=validate.NUMBER_JSON),
        Key("user", "text", "The owner's name, looked up inside.", text=validate.user, aliases=("owner",)),
        Key("group", "text", "The group's name, looked up inside.", text=validate.group),
        Key(
            "mode",
            "text",
            'Permissions in octal: "0660".',
            text=validate.mode,
            json=validate.MODE_JSON,
            aliases=("permissions",),
        ),
        Key("force", "flag", "Attach what is otherwise kept on the host: hubs, and what it uses itself."),
        Key(
            "share",
            "flag",
            "Whether the device may be in several instances at once. Left out, a GPU may.",
            aliases=("shared",),
        ),
        Key(
            "udev",
            "flag",
            "Where no udevd runs inside: have programs there find udev's properties of it, such as ID_INPUT.",
        ),
        READY,
        Key(
            "with",
            "companions",
            "Devices below this one that go along: subsystems, `partition`, or items with match and path.",
            aliases=("along", "children"),
        ),
    )


def _companion_keys(registry: tuple[MatchKey, ...]) -> tuple[Key, ...]:
    return (
        Key("match", "match", "Which devices below this one go along.", required=True),
        Key(
            "path",
            "text",
            "The node's path inside, as under `attach`.",
            text=partial(validate.node_path, keys=registry),
            json="^/dev/[^.]+$",
        ),
        _link(registry),
    )


GRAMMAR: Final = Grammar.of(KEYS)
"""The language with the registry as it is."""
