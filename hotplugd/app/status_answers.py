"""What the daemon answers to other commands of how things are, by its rules and its session."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from hotplugd.app.control_request import ControlRequest
from hotplugd.app.documents import (
    HoldJson,
    StatusJson,
    changes_in_order,
    holds_in_order,
    in_order,
    problems_in_order,
    unmatched_json,
)
from hotplugd.app.event_buffer import EventBuffer
from hotplugd.app.naming import Devices, by_name
from hotplugd.app.override_json import overrides_json
from hotplugd.app.pool_documents import (
    ClaimJson,
    LeaseJson,
    PoolsJson,
    pools_json,
    unleased_json,
    unmet_json,
)
from hotplugd.app.reports import RulesJson, rules_json
from hotplugd.app.session import Session
from hotplugd.model.entry import MARK_SINCE
from hotplugd.model.problem import Problem
from hotplugd.plan.overrides import Overrides
from hotplugd.rules.hubs import Hubs
from hotplugd.rules.ruleset import RuleSet

_DAY: Final = 86400.0
# The most seconds to wait for an event, and those after which a stream without one sends an empty line.
_MOST_WAIT: Final = 60.0
_STILL: Final = 15.0


def status(
    rules: RuleSet,
    session: Session | None,
    overrides: Overrides,
    problems: Iterable[Problem],
    *,
    ready: bool,
    failed_reloads: int,
    cursor: str,
) -> StatusJson:
    """What `hotplugd status --json` shows. cursor: of the last event"""
    server = session.server if session is not None else None
    known = session.reconciler if session is not None else None
    devices = by_name(known.inventory.devices.values()) if known else {}
    hubs = rules.hubs
    taken = {each.device.key for each in known.assignments.wants.values()} if known else set[str]()
    return {
        "ready": ready,
        "server": {
            "address": session.address if session is not None else "",
            "software": server.software if server is not None else "",
            "version": server.version if server is not None else "",
            "connected": session is not None and session.connected,
        },
        "rules": len(rules.rules),
        "devices": known.devices if known else 0,
        "attachments": in_order(known.attachments()) if known else [],
        "pending": changes_in_order(known.pending(), devices, hubs) if known else [],
        "holds": holds(session, devices, hubs) if session is not None else [],
        "claims": _claims(session) if session is not None else [],
        "overrides": overrides_json(overrides, known.inventory.devices.values() if known else ()),
        "problems": problems_in_order(problems, devices, hubs),
        "unmatched": unmatched_json((each for each in devices.values() if each.key not in taken), hubs),
        "unleased": _unleased(session) if session is not None else [],
        "failed_reloads": failed_reloads,
        "lost_events": session.lost_events if session is not None else 0,
        "cursor": cursor,
    }


def rules(in_force: RuleSet, session: Session | None, since: str) -> RulesJson:
    """What `hotplugd status --rules --json` shows. since: when the daemon began to count."""
    known = session.reconciler if session is not None else None
    now = [each.rule for each in known.assignments.wants.values() if each.rule is not None] if known else []
    return rules_json(in_force, now, known.assignments.taken if known else {}, since)


def _claims(session: Session) -> list[ClaimJson]:
    """The claims that are not met."""
    return unmet_json(session.reconciler.assignments.leases.leasing)


def _unleased(session: Session) -> list[LeaseJson]:
    """The devices of pools that are in no instance."""
    attached = {str(each.want.device) for each in session.reconciler.attachments()}
    return unleased_json(session.reconciler.assignments.leases.leasing, attached)


def pools(session: Session | None) -> PoolsJson:
    """What `hotplugd pool --json` shows."""
    if session is None:
        return {"pools": [], "cordons": []}
    known = session.reconciler
    since = {str(each.want.device): each.entry.config.get(MARK_SINCE, "") for each in known.attachments()}
    return pools_json(known.assignments.leases.leasing, since)


async def events(kept: EventBuffer, asked: ControlRequest) -> str:
    """Events after a cursor, as JSON; the first is waited for where that is asked. Raises ValueError."""
    try:
        patience = min(float(asked.query.get("wait", "0")), _MOST_WAIT)
    except ValueError:
        patience = math.nan
    if math.isnan(patience):  # also `nan` itself, which no timer of the loop can be set to
        raise ValueError("expected a number of seconds as `wait`")
    return (await kept.after(asked.query.get("after", ""), patience)).json()


def event_lines(kept: EventBuffer, asked: ControlRequest) -> AsyncIterator[str]:
    """Events after a cursor and all that follow, one a line. Raises ValueError."""
    return kept.lines(asked.query.get("after", ""), _STILL)


def holds(session: Session, devices: Devices, hubs: Hubs) -> list[HoldJson]:
    """What has to wait. devices: as `by_name` gives them"""
    now, clock = asyncio.get_running_loop().time(), datetime.now(UTC)

    def at(until: float) -> str:
        return (clock + timedelta(seconds=min(until - now, _DAY))).isoformat(timespec="seconds")

    return holds_in_order(((each, at(each.wait.until)) for each in session.held()), devices, hubs)
