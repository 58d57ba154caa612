"""The rule language: YAML text into rules with places, and rules against devices with reasons.

    text     -> Loaded    `load` and `parse`: rules, and all that is wrong, each with file, line and column
    Device   -> Taken     `RuleSet.decide`: the first rule that matches, or takes it along
    Device   -> Verdicts  `RuleSet.explain`: the same, with the condition that each other rule fails on
    template -> text      `render`

Pure, but for `load`, which reads the files it is told to.
"""

from hotplugd.rules.diagnostics import Diagnostic, Related
from hotplugd.rules.files import DEFAULT_FOLDERS, others_in
from hotplugd.rules.leave import leave_alone
from hotplugd.rules.load import Loaded, load, parse
from hotplugd.rules.match import Failure, Match
from hotplugd.rules.ruleset import Attach, Companion, Rule, RuleSet, Taken, Verdict, What
from hotplugd.rules.telling import bus_warning, lasting_paths
from hotplugd.rules.template import TemplateError, render
from hotplugd.rules.values import MATCH_KEYS, describe, hidden_interfaces, values

__all__ = [
    "DEFAULT_FOLDERS",
    "MATCH_KEYS",
    "Attach",
    "Companion",
    "Diagnostic",
    "Failure",
    "Loaded",
    "Match",
    "Related",
    "Rule",
    "RuleSet",
    "Taken",
    "TemplateError",
    "Verdict",
    "What",
    "bus_warning",
    "describe",
    "hidden_interfaces",
    "lasting_paths",
    "leave_alone",
    "load",
    "others_in",
    "parse",
    "render",
    "values",
]
