"""The JSON Schema of the configuration, for editors. `python -m hotplugd.app.config_schema` prints it."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

from hotplugd.app.settings import PATTERNS, TABLE
from hotplugd.rulefile.json_schema import Json, table_schema


def as_text() -> str:
    """The schema as the file in the package has it."""
    keys = (
        replace(key, json=PATTERNS[key.text]) if key.text is not None and key.text in PATTERNS else key
        for key in TABLE.keys
    )
    document: Json = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "hotplugd configuration",
        **table_schema(replace(TABLE, keys=tuple(keys))),
    }
    # What is empty, or has comments alone, is as if the file was not there.
    document["type"] = ["object", "null"]
    return json.dumps(document, indent=2) + "\n"


if __name__ == "__main__":
    sys.stdout.write(as_text())
