"""The JSON of commands that answer by rules and devices alone, and of `plan`. The keys stay."""

from __future__ import annotations

from typing import TypedDict

from hotplugd.app.documents import ChangeJson, HoldJson, ProblemJson, UnmatchedJson
from hotplugd.app.pool_documents import ClaimJson, LeaseJson
from hotplugd.app.try_rules import TriedJson


class RelatedJson(TypedDict):
    """Another place that a diagnostic speaks of. Keys as in Diagnostic."""

    file: str
    line: int
    column: int
    message: str
    source: str
    width: int


class DiagnosticJson(TypedDict):
    """What is wrong with a file. severity: `error` or `warning`. line, column: from 1, in characters. source:
    the line; width: how much of it is meant. whole: the file is meant, and no line of it.
    """

    severity: str
    file: str
    line: int
    column: int
    message: str
    hint: str
    source: str
    width: int
    related: RelatedJson | None
    whole: bool


class CheckJson(TypedDict):
    """`check --json`. rules, hubs, pools: their names; no rules where there are errors."""

    rules: list[str]
    hubs: list[str]
    pools: list[str]
    diagnostics: list[dict[str, object]]


class CheckDevicesJson(CheckJson):
    """`check --devices FILE --json`. devices: none where there are errors."""

    devices: list[TriedJson]


class PlanJson(TypedDict):
    """`plan --json`. unmatched: as in Status. by: as in Explain. claims: those that are not met, by the
    leases that a daemon would find and make that starts now. unleased: as in Status, by the same leases.
    """

    changes: list[ChangeJson]
    holds: list[HoldJson]
    claims: list[ClaimJson]
    problems: list[ProblemJson]
    unmatched: list[UnmatchedJson]
    unleased: list[LeaseJson]
    by: str


class DetachAllJson(TypedDict):
    """`detach --all --json`. changes: what was taken out; problems: what was not, and why."""

    changes: list[ChangeJson]
    problems: list[ProblemJson]


class SuggestionJson(TypedDict):
    """A rule, and what it goes by. match: values by match keys. others: devices that are plugged in and that
    it takes, too. rule: it as YAML. problems: why the device stays on the host all the same.
    """

    match: dict[str, list[str]]
    why: str
    others: list[str]
    rule: str
    problems: list[str]


class SuggestJson(TypedDict):
    """`suggest DEVICE --json`. rule: the one that takes the device now, or null. suggestions: best first."""

    device: str
    rule: str | None
    suggestions: list[SuggestionJson]


class SuggestHubsJson(TypedDict):
    """`suggest hubs --json`. hubs: the section as YAML."""

    hubs: str


class TestJson(TypedDict):
    """A test, and the file that has it."""

    name: str
    file: str


class TestsJson(TypedDict):
    """`test --json`. diagnostics: as in Check; each test that fails is one."""

    tests: list[TestJson]
    diagnostics: list[dict[str, object]]


class UsbOrderJson(TypedDict):
    """`reset --json` and `port --json`. taken, done: whether it was done. message: what was, or why nothing
    was; more: devices that stand against it, or that may be meant.
    """

    taken: bool
    done: bool
    message: str
    more: list[str]
