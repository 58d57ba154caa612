"""Whether what somebody asked for can be, when it is done, and what came of it, in words."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from hotplugd.app.find import described
from hotplugd.app.session import Session
from hotplugd.model.entry import names_for
from hotplugd.model.text import counted
from hotplugd.model.values import Device, Inside, Instance, InstanceName
from hotplugd.plan.change import Attachment
from hotplugd.plan.overrides import Override, ever
from hotplugd.plan.planner import plan_instance

# So many seconds it is waited for what comes of a decision.
_OUTCOME: Final = 20.0
_SLACK: Final = 0.05


@dataclass(frozen=True, slots=True)
class Done:
    """What came of it. taken: the decision holds; done: it is so, in the instance too."""

    taken: bool
    done: bool
    message: str


async def settled(session: Session) -> None:
    """Wait until what is done about a decision is done, or does not get on soon."""
    loop = asyncio.get_running_loop()
    until = loop.time() + _OUTCOME
    with suppress(TimeoutError):
        async with asyncio.timeout_at(until):
            await session.reconciler.settled()
            # An instance that was just stopped, or an answer that came too soon: it is tried again at a time.
            while waits := [each.wait.until for each in session.reconciler.held() if each.wait.until < until]:
                await asyncio.sleep(max(min(waits) - loop.time(), 0.0) + _SLACK)
                await session.reconciler.settled()


def in_the_way(session: Session, device: Device, override: Override, instance: Instance) -> str:
    """Why the device cannot be in the instance; empty where it can."""
    assignments = session.reconciler.assignments
    would = assignments.would(device, override)
    if not would.wants:
        return "; ".join(each.message for each in would.problems)
    others = (
        want
        for each in assignments.wants.values()
        if each.device.key != device.key
        for want in each.wants
        if want.instance == instance.id
    )
    attaches = [want.attach for want in would.wants]
    # Whether the names of users and groups are known inside is seen when it goes in.
    known = Inside(
        users={each.user: 0 for each in attaches if each.user},
        groups={each.group: 0 for each in attaches if each.group},
    )
    plan = plan_instance(instance.id, instance, (*others, *would.wants), known)
    return "; ".join(each.message for each in plan.problems if each.device == str(device))


def attached(session: Session, device: Device, override: Override) -> Done:
    """What came of attaching the device."""
    to = override.instance
    there = [
        each
        for each in session.reconciler.attachments()
        if each.want.instance == to and _is_by(each, override)
    ]
    own = next((each for each in there if each.want.device.subsystem == override.of.subsystem), None)
    if not there:
        message = f"{described(device)} goes to {to}, and is not there yet{_why(session, device)}"
        return Done(taken=True, done=False, message=message)
    place = f" as {own.want.target}" if own is not None and own.want.target else ""
    what = f"{described(device)} is attached to {to}{place}"
    if any(each.verified is False for each in there):
        message = f"{what}, and was not seen inside yet{_why(session, device)}"
        return Done(taken=True, done=False, message=message)
    seen = "and seen inside" if all(each.verified for each in there) else "and is there once that runs"
    along = f", with {counted(len(there) - 1, 'device')} that goes along" if len(there) > 1 else ""
    return Done(taken=True, done=True, message=f"{what}{along}, {seen}")


def detached(session: Session, device: Device, override: Override, where: Sequence[InstanceName]) -> Done:
    """What came of detaching the device. where: the instances that it was in."""
    names = names_for(device.slot)
    left = [str(each.instance) for each in session.reconciler.pending() if each.entry.name in names]
    if left:
        message = f"{described(device)} is not out of {', '.join(left)} yet{_why(session, device)}"
        return Done(taken=True, done=False, message=message)
    if not session.connected:
        why = "the server is away, and it is taken out once that answers"
        return Done(taken=True, done=False, message=f"{described(device)} is detached by hand; {why}")
    was = f"taken out of {', '.join(map(str, where))}" if where else "it was in no instance"
    message = f"{described(device)}: {was}, and stays out until `hotplugd undo {override.of.identity}`"
    return Done(taken=True, done=True, message=message)


def undone(session: Session | None, found: Sequence[Override]) -> Done:
    """What came of undoing these."""
    if not found:
        return Done(taken=True, done=True, message="nothing was decided by hand")
    message = f"the rules decide again about {', '.join(each.of.identity for each in found)}"
    if session is None:
        return Done(taken=True, done=False, message=f"{message}, once the daemon has found its server")
    about = {each.of for each in found}
    devices = session.reconciler.inventory.devices.values()
    told, left = [], []
    for device in devices:
        if not about.isdisjoint(ever(device)):
            there, missing = _where(session, device)
            told += [f"{device} is in {each}" for each in there]
            left += [f"{device} is not {each} yet{_why(session, device)}" for each in missing]
    where = "; ".join(filter(None, (", ".join(dict.fromkeys(told)), *dict.fromkeys(left))))
    message += f": {where}" if where else ""
    return Done(taken=True, done=not left, message=message)


def _where(session: Session, device: Device) -> tuple[list[str], list[str]]:
    """The instances that a device is in and should be in; and of the others, where it is not yet: `in c1`,
    `out of c2`.
    """
    known = session.reconciler
    wanted = known.assignments.wants.get(device.key)
    wants = {want.instance: want for want in wanted.wants} if wanted is not None else {}
    seen = {
        each.want.instance: each.verified is not False
        for each in known.attachments()
        if each.want.device.key == device.key
    }
    names = {
        name for slot in (device.slot, *(want.slot for want in wants.values())) for name in names_for(slot)
    }
    waits = {each.instance: None for each in known.pending() if each.entry.name in names}
    away = {} if session.connected else dict.fromkeys((*seen, *wants))
    missing = [f"in {name}" for name in wants if not seen.get(name, False) or name in waits or name in away]
    missing += [f"out of {name}" for name in dict.fromkeys((*waits, *away, *seen)) if name not in wants]
    return [str(name) for name in wants if f"in {name}" not in missing], missing


def _is_by(attachment: Attachment, override: Override) -> bool:
    decided = attachment.want.override
    return decided is not None and decided.of == override.of


def _why(session: Session, device: Device) -> str:
    told = [each.message for each in session.problems() if each.device in (str(device), "")]
    told += [each.wait.why for each in session.held() if each.device == str(device)]
    # An instance's problem may be the server's once more.
    told = [each for each in dict.fromkeys(told) if not any(each.endswith(f": {other}") for other in told)]
    return f": {'; '.join(told)}" if told else "; `hotplugd status` says how it goes"
