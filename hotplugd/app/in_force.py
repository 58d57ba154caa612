"""The settings that are in force: read from files, and told to other commands as the texts of these files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hotplugd.app import settings as configuration
from hotplugd.app.settings import Config
from hotplugd.rulefile.diagnostics import Diagnostic, errors_of
from hotplugd.rulefile.discover import Reading
from hotplugd.rulefile.load import load as load_rules
from hotplugd.rulefile.load import parse_all
from hotplugd.rules.ruleset import RuleSet

_SOURCE: Final = ("file", "text")


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of the daemon, and the diagnostics of their files.

    sources  the files of rules that there were, and their texts
    """

    config: Config
    rules: RuleSet
    diagnostics: tuple[Diagnostic, ...] = ()
    sources: tuple[tuple[str, str], ...] = ()

    @property
    def errors(self) -> tuple[Diagnostic, ...]:
        """The diagnostics that are errors: with any, these settings are not to be used."""
        return errors_of(self.diagnostics)


def load(path: Path, reading: Reading = lambda _: None) -> Settings:
    """The settings of a configuration file and the rules that it names. Raises nothing."""
    config, wrong = configuration.load(path, reading)
    loaded = load_rules(config.rules, reading=reading)
    told = (*wrong, *configuration.traced(config, loaded.diagnostics))
    return Settings(config, loaded.rules, told, loaded.sources)


def texts(path: Path, settings: Settings) -> Mapping[str, object]:
    """What `parse_settings` reads. path: the configuration's file."""
    return {
        "file": str(path),
        "config": settings.config.text,
        "rules": [list(source) for source in settings.sources],
    }


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
