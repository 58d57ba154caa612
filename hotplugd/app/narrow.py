"""A part of what the daemon says: what is about one instance or one rule, or problems alone. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hotplugd.app.documents import StatusJson


def narrowed(
    status: StatusJson,
    instance: str | None = None,
    rule: str | None = None,
    *,
    only_problems: bool = False,
    by_hand: bool = False,
) -> StatusJson:
    """The status with nothing but what is about an instance (`name` or `project/name`) and a rule.

    A problem tells in its text alone which instance it is about. One of no device and no rule, such as a
    server that is away, is about all.

    by_hand  what somebody decided by hand, and what is about these devices, alone
    """
    decided = {each["device"] for each in status["overrides"] if each["present"]}

    def is_named(each: Mapping[str, object]) -> bool:
        return instance is None or instance in (each["instance"], f"{each['project']}/{each['instance']}")

    def is_in(each: Mapping[str, object]) -> bool:
        return is_named(each) and (not by_hand or each.get("by_hand") is True or each["device"] in decided)

    def is_by(each: Mapping[str, object]) -> bool:
        return rule is None or each["rule"] == rule

    places = [each for each in (*status["attachments"], *status["pending"], *status["holds"]) if is_in(each)]
    devices = {each["device"] for each in places}
    return {
        **status,
        "attachments": [
            each for each in status["attachments"] if is_in(each) and is_by(each) and not only_problems
        ],
        "pending": [each for each in status["pending"] if is_in(each) and is_by(each) and not only_problems],
        "holds": [each for each in status["holds"] if is_in(each) and is_by(each)],
        "claims": [each for each in status["claims"] if is_named(each) and rule is None and not by_hand],
        "overrides": [
            each for each in status["overrides"] if is_named(each) and rule is None and not only_problems
        ],
        "problems": [
            each
            for each in status["problems"]
            if not (each["device"] or each["rule"])
            or (
                is_by(each)
                and (not by_hand or each["device"] in decided)
                and (instance is None or each["device"] in devices or _names(each["message"], instance))
            )
        ],
    }


def _names(message: str, instance: str) -> bool:
    """Whether a message has the instance's name as a word."""
    name = instance.rpartition("/")[2]
    return name in "".join(each if each.isalnum() or each == "-" else " " for each in message).split()
