"""How well the daemon works, for probes; problems of rules, claims, pools and USB ports do not count. Pure.

A rule that names a missing instance, two rules for one path, a guard rail, a claim that nobody can read: the
daemon is well. It is degraded where it does part of its work, and down where it does none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from hotplugd.app.reports import FindingJson, HealthJson
from hotplugd.model.text import natural

if TYPE_CHECKING:
    from hotplugd.app.documents import StatusJson

WELL: Final = "well"
DEGRADED: Final = "degraded"
DOWN: Final = "down"
EXIT_CODES: Final = {WELL: 0, DEGRADED: 1, DOWN: 2}
_RELOAD: Final = "reload failed"


def health(status: StatusJson | None, why: str = "") -> HealthJson:
    """The health according to the daemon's status.

    status  None where the daemon does not answer; why: the reason for that
    """
    findings = [_finding(DOWN, why)] if status is None else [*_findings(status)]
    worst = max((each["health"] for each in findings), key=lambda each: EXIT_CODES[each], default=WELL)
    return {"health": worst, "findings": findings}


def _findings(status: StatusJson) -> Iterator[FindingJson]:
    server = status["server"]
    general = [
        f"{each['device']}: {each['message']}" if each["device"] else each["message"]
        for each in status["problems"]
        if not (each["rule"] or each.get("claim") or each.get("pool") or each.get("place"))
    ]
    if not server["connected"]:
        who = " ".join(filter(None, (server["software"], server["address"]))) or "LXD or Incus"
        why = next((each for each in general if not each.startswith(_RELOAD)), "")
        yield _finding(DOWN, f"{who} is not connected" + (f": {why}" if why else ""))
        general = [each for each in general if each != why]
    if not status["ready"]:
        yield _finding(DEGRADED, "the daemon starts, and has not tried everything yet")
    for each in general:
        yield _finding(DEGRADED, each)
    for attachment in status["attachments"]:
        if attachment["verified"] is False:
            where = f"{attachment['device']} in {attachment['instance']}"
            yield _finding(DEGRADED, f"{where} is attached, and was not seen inside")
    failed = {each["device"] for each in status["problems"]} & {each["device"] for each in status["pending"]}
    for device in sorted(failed, key=natural):
        yield _finding(DEGRADED, f"{device} waits: a change failed, and is tried again")


def _finding(how: str, message: str) -> FindingJson:
    return {"health": how, "message": message}
