"""The settings that a running daemon goes by, as it tells them to other commands: the texts of its files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from hotplugd.app import settings as configuration
from hotplugd.app.daemon import Settings
from hotplugd.rulefile.load import parse_all

_SOURCE: Final = ("file", "text")


def parse_settings(answer: Mapping[str, object]) -> Settings:
    """The settings that a daemon answers to `settings`. Raises ValueError where these are none."""
    sources = []
    rules = answer.get("rules")
    for each in rules if isinstance(rules, list) else [None]:
        if not isinstance(each, list) or len(each) != len(_SOURCE):
            raise ValueError("the daemon's rules are not told as expected")
        sources.append((str(each[0]), str(each[1])))
    config, wrong = configuration.parse(str(answer.get("config", "")), str(answer.get("file", "")))
    loaded = parse_all(sources)
    found = Settings(config, loaded.rules, (*wrong, *loaded.diagnostics), loaded.sources)
    if found.errors:
        raise ValueError(f"the daemon's settings have errors here: {found.errors[0].message}")
    return found
