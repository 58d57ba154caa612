"""What the daemon tells of each port, and what follows from that for its tile. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from hotplugd.app.documents import AttachmentJson, ChangeJson, HoldJson, ProblemJson, StatusJson
    from hotplugd.app.naming import NamedJson
    from hotplugd.app.pool_documents import LeaseJson, PoolsJson
    from hotplugd.app.topology import PluggedJson

Look = Literal["good", "waiting", "bad", "idle", "free", "absent"]
"""What a tile looks like."""


@dataclass(slots=True)
class Facts:
    """What is told of one port, or of a device that is in none."""

    attachments: list[AttachmentJson] = field(default_factory=list)
    waits: list[ChangeJson | HoldJson] = field(default_factory=list)
    problems: list[ProblemJson] = field(default_factory=list)
    leases: list[LeaseJson] = field(default_factory=list)
    is_unmatched: bool = False

    def devices(self) -> list[str]:
        """The devices that are told of, by what they are called."""
        found = (*self.attachments, *self.waits, *self.leases, *self.problems)
        return [*dict.fromkeys(each["device"] for each in found if each["device"])]

    def identities(self) -> list[str]:
        """What stays of these devices when they are plugged in again."""
        found = (*self.attachments, *self.leases)
        return [*dict.fromkeys(each["identity"] for each in found if each["identity"])]


def facts_of(status: StatusJson, pools: PoolsJson) -> dict[str, Facts]:
    """What is told, by port; by device where there is none."""
    found: dict[str, Facts] = {}

    def of(each: NamedJson, device: str) -> Facts:
        return found.setdefault(each["port"] or device, Facts())

    for attachment in status["attachments"]:
        of(attachment, attachment["device"]).attachments.append(attachment)
    waits: list[ChangeJson | HoldJson] = [*status["pending"], *status["holds"]]
    for wait in waits:
        of(wait, wait["device"]).waits.append(wait)
    for problem in status["problems"]:
        of(problem, problem["place"] or problem["device"]).problems.append(problem)
    for pool in pools["pools"]:
        for lease in pool["devices"]:
            of(lease, lease["device"] or lease["identity"]).leases.append(lease)
    for each in status["unmatched"]:
        of(each, each["device"]).is_unmatched = True
    found.pop("", None)
    return found


def state(facts: Facts, is_plugged: bool, *, is_hub: bool) -> tuple[Look, str, str]:  # noqa: PLR0911
    """What a tile looks like, the word for that, and why it is so."""
    lease = facts.leases[0] if facts.leases else None
    if facts.problems:
        return "bad", "problem", facts.problems[0]["message"]
    if lease is not None and lease["health"] in ("quarantined", "bad"):
        return "bad", lease["health"], lease["health_reason"]
    if any(each["verified"] is False for each in facts.attachments):
        return "bad", "not seen inside", "it is attached, and was not seen inside"
    if facts.waits:
        return "waiting", "waiting", facts.waits[0]["why"]
    if lease is not None and lease["state"] == "releasing":
        return "waiting", "releasing", lease["reason"]
    if facts.attachments:
        return "good", "attached", ""
    if lease is not None:
        word = f"free in {lease['pool']}" if lease["state"] == "free" else lease["state"]
        return "idle", word if lease["present"] else "away", lease["reason"]
    if facts.is_unmatched:
        return "idle", "no rule", "no rule takes it"
    if is_hub:
        return "idle", "hub", "what is plugged into this hub is shown below"
    return ("idle", "not attached", "") if is_plugged else ("free", "free", "")


def called(facts: Facts, plugged: Sequence[PluggedJson]) -> str:
    """What people call what is in a port."""
    told = (*facts.attachments, *facts.leases, *facts.waits)
    models = (each["model"] for each in told)
    products = (each["product"] or each["id"] for each in plugged)
    return next(filter(None, (*products, *models, *facts.devices())), "")


def who(facts: Facts, plugged: Sequence[PluggedJson]) -> list[str]:
    """The instances that have it, or to which it is leased."""
    inside = [(each["project"], each["instance"]) for each in (*facts.attachments, *facts.leases)]
    found = [name if project == "default" else f"{project}/{name}" for project, name in inside if name]
    found += [each.removeprefix("default/") for one in plugged for each in one["instances"]]
    return [*dict.fromkeys(found)]


def since(facts: Facts) -> str:
    """Since when it is attached, or in its state: ISO 8601, or empty."""
    times = [each["since"] for each in facts.attachments if each["since"]]
    return min(times, default=facts.leases[0]["state_since"] if facts.leases else "")


def speed(plugged: Iterable[PluggedJson]) -> str:
    """The highest of the speeds that the kernel tells, in Mbit/s."""
    speeds = []
    for each in plugged:
        try:
            speeds.append(float(each["speed"]))
        except ValueError:
            continue
    fastest = max(speeds, default=0.0)
    if not 0 < fastest < 1e6:  # noqa: PLR2004  # no USB is so fast
        return ""
    return f"{fastest / 1000:g} Gbit/s" if fastest >= 1000 else f"{fastest:g} Mbit/s"  # noqa: PLR2004
