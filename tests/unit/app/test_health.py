"""A probe tells an outage from a mistake in the rules."""

from __future__ import annotations

from typing import cast

import pytest

from hotplugd.app.documents import AttachmentJson, ChangeJson, ProblemJson, StatusJson
from hotplugd.app.health import EXIT_CODES, health


def problem(
    message: str, device: str = "", rule: str = "", instance: str = "", claim: str = "", pool: str = ""
) -> ProblemJson:
    named = {"serial": "", "model": "", "port": "", "location": ""}
    asked = {"instance": instance, "claim": claim, "pool": pool}
    return cast("ProblemJson", {**named, **asked, "device": device, "rule": rule, "message": message})


def status(
    *problems: ProblemJson,
    connected: bool = True,
    ready: bool = True,
    verified: bool | None = True,
    pending: str = "",
) -> StatusJson:
    attached = cast("AttachmentJson", {"device": "/dev/a", "instance": "box", "verified": verified})
    waits = [cast("ChangeJson", {"device": pending})] if pending else []
    return {
        "ready": ready,
        "server": {"address": "/s", "software": "lxd", "version": "5", "connected": connected},
        "rules": 1,
        "devices": 1,
        "attachments": [attached],
        "pending": waits,
        "holds": [],
        "claims": [],
        "overrides": [],
        "problems": list(problems),
        "failed_reloads": 0,
        "unmatched": [],
        "unleased": [],
        "lost_events": 0,
        "cursor": "1a2b3c4d-1",
    }


RELOAD = problem("reload failed, and the old settings stay in force: x")
AWAY = problem("LXD or Incus is not running: there is no socket /s")
RULES = problem("there is no instance 'nobody'", "/dev/a", "r")

CASES = {
    "all is well": (status(), "well", []),
    "a container that does not run": (status(verified=None), "well", []),
    "mistakes in rules": (status(RULES, RULES), "well", []),
    "a claim that nobody can read": (status(problem("x", instance="job", claim="phone")), "well", []),
    "a pool with too few devices": (status(problem("x", pool="android")), "well", []),
    "a change that waits for its turn": (status(pending="/dev/b"), "well", []),
    "it starts": (status(ready=False), "degraded", ["the daemon starts, and has not tried everything yet"]),
    "a reload failed": (status(RELOAD), "degraded", [RELOAD["message"]]),
    "udevd is stuck": (
        status(problem("udevd has not processed it", "/sys/x")),
        "degraded",
        ["/sys/x: udevd has not processed it"],
    ),
    "a node is not inside": (
        status(verified=False),
        "degraded",
        ["/dev/a in box is attached, and was not seen inside"],
    ),
    "a change failed": (
        status(problem("refused", "/dev/a", "r"), pending="/dev/a"),
        "degraded",
        ["/dev/a waits: a change failed, and is tried again"],
    ),
    "an outage": (
        status(AWAY, RULES, connected=False),
        "down",
        [f"lxd /s is not connected: {AWAY['message']}"],
    ),
    "an outage after a reload that failed": (
        status(RELOAD, connected=False),
        "down",
        ["lxd /s is not connected", RELOAD["message"]],
    ),
}


@pytest.mark.parametrize(("said", "expected", "findings"), CASES.values(), ids=CASES)
def test_the_worst_of_the_findings_is_the_health(
    said: StatusJson, expected: str, findings: list[str]
) -> None:
    found = health(said)
    assert found["health"] == expected
    assert [each["message"] for each in found["findings"]] == findings


def test_a_daemon_that_says_nothing_is_down() -> None:
    assert health(None, "it does not run") == {
        "health": "down",
        "findings": [{"health": "down", "message": "it does not run"}],
    }
    assert EXIT_CODES == {"well": 0, "degraded": 1, "down": 2}
