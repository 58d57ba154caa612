"""The JSON Schema of rule files, for editors. `python -m hotplugd.rulefile.json_schema` prints it."""

from __future__ import annotations

import json
import sys
from typing import Final

from hotplugd.rulefile.grammar import GRAMMAR, Grammar
from hotplugd.rulefile.tables import Key, Table
from hotplugd.rulefile.validate_hubs import BELOW_JSON
from hotplugd.rules.keys import KeyGroup, MatchKey

Json = dict[str, object]

_SCALAR: Final = ["string", "number"]


def schema(grammar: Grammar = GRAMMAR) -> Json:
    """The JSON Schema of a rule file, made from the tables of the grammar."""
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "hotplugd rules",
        **_mapping(grammar.file, grammar),
        "anyOf": [{"required": [key.name]} for key in grammar.file.keys],
        "definitions": {
            "rule": {
                **_mapping(grammar.rule, grammar),
                "oneOf": [{"required": ["attach"]}, {"required": ["ignore"]}],
            },
            "match": {**_mapping(grammar.match, grammar), "minProperties": 1},
            "attach": {
                **_mapping(grammar.attach, grammar),
                "oneOf": [{"required": ["to"]}, {"required": ["pool"]}],
                "not": {
                    "anyOf": [
                        {"required": ["uid", "user"]},
                        {"required": ["gid", "group"]},
                        {"required": ["pool", "project"]},
                    ]
                },
            },
            "hub": {
                **_mapping(grammar.hub, grammar),
                "oneOf": [{"required": ["path"]}, {"required": ["serial"]}],
            },
            "pool": _mapping(grammar.pool, grammar),
        },
    }


def as_text() -> str:
    """The schema as the file in the package has it."""
    return json.dumps(schema(), indent=2) + "\n"


def table_schema(table: Table) -> Json:
    """The schema of a mapping whose keys take nothing but texts, such as the configuration's."""
    return _mapping(table, GRAMMAR)


def _mapping(table: Table, grammar: Grammar) -> Json:
    mapping: Json = {
        "type": "object",
        "additionalProperties": False,
        "properties": {key.name: {"description": key.about, **_value(key, grammar)} for key in table.keys},
    }
    if required := [key.name for key in table.keys if key.required]:
        mapping["required"] = required
    return mapping


def _value(key: Key, grammar: Grammar) -> Json:  # noqa: C901, PLR0911, PLR0912  # one for each shape
    match key.shape:
        case "text":
            return _scalar(key)
        case "texts" | MatchKey():
            return _one_or_more(_scalar(key))
        case KeyGroup():
            values = _one_or_more(_anything())
            return {"type": "object", "minProperties": 1, "additionalProperties": values}
        case "flag":
            return {"const": True} if key.name == "ignore" else {"type": "boolean"}
        case "match" | "attach":
            return _defined(key.shape)
        case "companions":
            return _some({"anyOf": [_anything(), _mapping(grammar.companion, grammar)]})
        case "matches":
            return _some(_defined("match"))
        case "hubs":
            return _by_name(key, _defined("hub"))
        case "pools":
            return _by_name(key, _defined("pool"))
        case "ready":
            return {"anyOf": [{"const": "adb"}, _mapping(grammar.ready, grammar)]}
        case "files":
            return _some(_mapping(grammar.pool_file, grammar))
        case "flap":
            return _mapping(grammar.flap, grammar)
        case "ports":
            return _by_name(key, {**_anything(), "pattern": BELOW_JSON})
        case "items":
            assert key.item is not None
            return _some(_mapping(key.item, grammar))
        case "keys":
            assert key.item is not None
            return _mapping(key.item, grammar)
        case "rules":
            return {"type": ["array", "null"], "items": _defined("rule")}


def _defined(name: str) -> Json:
    return {"$ref": f"#/definitions/{name}"}


def _by_name(key: Key, value: Json) -> Json:
    names: Json = {"pattern": key.json}
    return {"type": "object", "minProperties": 1, "propertyNames": names, "additionalProperties": value}


def _some(items: Json) -> Json:
    return {"type": "array", "minItems": 1, "items": items}


def _one_or_more(one: Json) -> Json:
    return {"anyOf": [one, _some(one)]}


def _scalar(key: Key) -> Json:
    return {**_anything(), "pattern": key.json} if key.json else _anything()


def _anything() -> Json:
    # An editor takes 0403 for a number; `check` reads it as it is written.
    return {"type": _SCALAR, "minLength": 1}


if __name__ == "__main__":
    sys.stdout.write(as_text())
