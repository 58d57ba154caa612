"""What has to wait, until when and why: what `status`, `plan` and `explain` say of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from hotplugd.aio.backoff import NEVER
from hotplugd.model.values import InstanceName
from hotplugd.plan.change import Plan
from hotplugd.reconcile.batching import Batching


class Wait(NamedTuple):
    """until: the event loop's time, NEVER where it is an event that ends it. why: what it waits for."""

    until: float
    why: str
    event: str = ""


@dataclass(frozen=True, slots=True)
class Held:
    """Something that a rule asks for, or asks for no more, and that has to wait.

    device, rule  as a problem has them
    instance      in which it would be done; None of a device that is held off wherever it would go
    place         the syspath at which every device is held off, or empty
    """

    device: str
    rule: str
    wait: Wait
    instance: InstanceName | None = None
    place: str = ""


def held(name: InstanceName, plan: Plan, batching: Batching, waits: Iterable[Wait], now: float) -> list[Held]:
    """What of an instance's plan has to wait, by what befell its entries and for what all of it waits."""
    holds = [
        Held(each.device, each.rule, Wait(NEVER, each.message, f"{name} runs"), name) for each in plan.out
    ]
    common = list(waits)
    for change in plan.changes:
        until, why = batching.wait(change)
        own = Wait(until, why, f"{name} is stopped" if until == NEVER else "")
        longest = max((own, *common), key=lambda each: each.until)
        if longest.until > now:
            holds.append(Held(change.device, change.rule, longest, name))
    return holds
