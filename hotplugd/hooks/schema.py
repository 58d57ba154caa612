"""The JSON Schema of the file of hooks, for editors. `python -m hotplugd.hooks.schema` prints it."""

from __future__ import annotations

import json
import sys

from hotplugd.hooks.settings import TABLE
from hotplugd.rulefile.json_schema import Json, table_schema


def as_text() -> str:
    """The schema as the file in the package has it."""
    document: Json = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "hotplugd hooks",
        **table_schema(TABLE),
    }
    # Comments alone are no hooks.
    document["type"] = ["object", "null"]
    return json.dumps(document, indent=2) + "\n"


if __name__ == "__main__":
    sys.stdout.write(as_text())
