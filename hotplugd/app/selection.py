"""A part of what the daemon, or a plan, says: what is about an instance, a rule or a location. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from hotplugd.app.command_json import PlanJson
    from hotplugd.app.documents import ProblemJson, StatusJson, UnmatchedJson
    from hotplugd.app.override_json import OverrideJson
    from hotplugd.app.pool_documents import ClaimJson, LeaseJson

_Each = TypeVar("_Each", bound=Mapping[str, object])


@dataclass(frozen=True, slots=True)
class Selection:
    """What is asked for: all of it has to hold. Texts are globs.

    instance   `name`, or `project/name`
    unmatched  what no rule takes, alone
    problems   what is not attached, and why, alone: problems, what has to wait, what no rule takes, and
               what is leased to nobody
    by_hand    what somebody decided by hand, and what is about these devices, alone
    """

    instance: str | None = None
    rule: str | None = None
    location: str | None = None
    unmatched: bool = False
    problems: bool = False
    by_hand: bool = False

    @property
    def is_all(self) -> bool:
        """Whether nothing is left out."""
        return self == Selection()

    def has_instance(self, name: object, project: object = "default") -> bool:
        """Whether this instance is selected."""
        wanted = self.instance
        names = (str(name), f"{project}/{name}")
        return wanted is None or any(fnmatchcase(each, wanted) for each in names)

    def has_rule(self, rule: object) -> bool:
        """Whether this rule is selected. rule: a name; empty or None for what none takes"""
        return self.rule is None or (bool(rule) and fnmatchcase(str(rule), self.rule))

    def has_location(self, location: object) -> bool:
        """Whether this location is selected."""
        return self.location is None or (bool(location) and fnmatchcase(str(location), self.location))


def narrowed(status: StatusJson, selection: Selection) -> StatusJson:
    """The status with nothing but what is selected."""
    nothing = selection.problems or selection.unmatched
    places = (*status["attachments"], *status["pending"], *status["holds"])
    problems = _problems(status["problems"], selection, places, status["unmatched"])
    no_override = nothing or selection.rule is not None
    narrow: StatusJson = {
        **status,
        "attachments": [] if nothing else _selected(status["attachments"], selection),
        "pending": [] if nothing else _selected(status["pending"], selection),
        "holds": [] if selection.unmatched else _selected(status["holds"], selection),
        "claims": _claims(status["claims"], selection),
        "overrides": [] if no_override else _overrides(status["overrides"], selection),
        "problems": problems,
        "unmatched": _unmatched(status["unmatched"], selection, problems),
        "unleased": _unleased(status["unleased"], selection),
    }
    return _decided_by_hand(narrow) if selection.by_hand else narrow


def _claims(claims: Sequence[ClaimJson], selection: Selection) -> list[ClaimJson]:
    """The selected claims. A claim that is not met is about no rule and no location."""
    if (
        selection.unmatched
        or selection.by_hand
        or selection.rule is not None
        or selection.location is not None
    ):
        return []
    return [each for each in claims if selection.has_instance(each["instance"], each["project"])]


def _overrides(overrides: Sequence[OverrideJson], selection: Selection) -> list[OverrideJson]:
    return [
        each
        for each in overrides
        if selection.has_instance(each["instance"], each["project"])
        and selection.has_location(each.get("location"))
    ]


def _decided_by_hand(status: StatusJson) -> StatusJson:
    """The status with nothing but what somebody decided by hand."""
    decided = {each["device"] for each in status["overrides"] if each["present"]}

    def of_these(places: Sequence[_Each]) -> list[_Each]:
        return [each for each in places if each.get("by_hand") is True or each["device"] in decided]

    return {
        **status,
        "attachments": of_these(status["attachments"]),
        "pending": of_these(status["pending"]),
        "holds": of_these(status["holds"]),
        "problems": [each for each in status["problems"] if each["device"] in decided or _is_general(each)],
        "unmatched": of_these(status["unmatched"]),
    }


def narrowed_plan(plan: PlanJson, selection: Selection) -> PlanJson:
    """A plan with nothing but what is selected."""
    places = (*plan["changes"], *plan["holds"])
    problems = _problems(plan["problems"], selection, places, plan["unmatched"])
    return {
        **plan,
        "changes": [] if selection.problems or selection.unmatched else _selected(plan["changes"], selection),
        "holds": [] if selection.unmatched else _selected(plan["holds"], selection),
        "claims": _claims(plan["claims"], selection),
        "problems": problems,
        "unmatched": _unmatched(plan["unmatched"], selection, problems),
        "unleased": _unleased(plan["unleased"], selection),
    }


def _problems(
    problems: Sequence[ProblemJson],
    selection: Selection,
    places: Sequence[Mapping[str, object]],
    unmatched: Sequence[UnmatchedJson] = (),
) -> list[ProblemJson]:
    """The selected problems.

    A problem of a device tells in its text alone which instance it is about.

    places     attachments, changes and holds, which say in which instance a device is
    unmatched  what no rule takes
    """
    if selection.unmatched:
        devices = {str(each["device"]) for each in unmatched}
        found = [each for each in problems if each["device"] in devices or _is_general(each)]
        return [each for each in found if not each["device"] or selection.has_location(each.get("location"))]
    inside = {
        str(each["device"]) for each in places if selection.has_instance(each["instance"], each["project"])
    }
    return [
        each
        for each in problems
        if _is_general(each)
        or (
            selection.has_rule(each["rule"])
            and selection.has_location(each.get("location"))
            and (selection.instance is None or each["device"] in inside or _is_of_instance(each, selection))
        )
    ]


def _is_general(problem: ProblemJson) -> bool:
    """Whether it is about no device, rule, claim or pool, such as a server that is away: it is about all."""
    # A daemon of an earlier version does not say the last two.
    return not (problem["device"] or problem["rule"] or problem.get("claim") or problem.get("pool"))


def _is_of_instance(problem: ProblemJson, selection: Selection) -> bool:
    instance = problem.get("instance", "")
    if not instance:
        return not problem.get("pool") and _names(problem["message"], selection)
    project, _, name = instance.rpartition("/")
    return selection.has_instance(name, project or "default")


def _unmatched(
    unmatched: Sequence[UnmatchedJson], selection: Selection, problems: Sequence[ProblemJson]
) -> list[UnmatchedJson]:
    wrong = {each["device"] for each in problems}
    return [
        each
        for each in unmatched
        if selection.instance is None
        and selection.rule is None
        and selection.has_location(each.get("location"))
        and (not (selection.unmatched and selection.problems) or each["device"] in wrong)
    ]


def _unleased(unleased: Sequence[LeaseJson], selection: Selection) -> list[LeaseJson]:
    """Those at a location. What is leased to nobody is of no instance; nothing says which rule takes it."""
    if (
        selection.unmatched
        or selection.by_hand
        or selection.rule is not None
        or selection.instance is not None
    ):
        return []
    return [each for each in unleased if selection.has_location(each["location"])]


def _selected(places: Sequence[_Each], selection: Selection) -> list[_Each]:
    return [
        each
        for each in places
        if selection.has_instance(each["instance"], each["project"])
        and selection.has_rule(each["rule"])
        and selection.has_location(each.get("location"))
    ]


def _names(message: str, selection: Selection) -> bool:
    """Whether a message has the instance's name as a word."""
    words = "".join(each if each.isalnum() or each in "-/" else " " for each in message).split()
    return any(
        selection.has_instance(each.rpartition("/")[2], each.rpartition("/")[0] or "default")
        for each in words
    )
