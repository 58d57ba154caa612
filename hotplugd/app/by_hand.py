"""What people ask the daemon for by hand: into which instance a device goes, or that it stays out of all.

A decision is kept before anything is done about it. What guard rails, the server or another's entry would
forbid is refused, and nothing is kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from structlog.typing import FilteringBoundLogger

from hotplugd.aio.threads import Threads
from hotplugd.app.control_request import ControlRequest, Handler
from hotplugd.app.device_request import DeviceRequest
from hotplugd.app.endpoints import ATTACH, DETACH, UNDO, Endpoint
from hotplugd.app.find import named
from hotplugd.app.grants import Grant
from hotplugd.app.kept_state import KeptState
from hotplugd.app.outcome import Done, attached, detached, in_the_way, settled, undone
from hotplugd.app.override_json import AskedJson, overrides_json
from hotplugd.app.peer import Peer
from hotplugd.app.peer_names import asked_by, who_asks
from hotplugd.app.permitted import see_own, see_permitted
from hotplugd.app.refusal import Refusal, keep, none_called, ready, several_called, telling
from hotplugd.app.session import Session
from hotplugd.model.asker import Asker
from hotplugd.model.names import is_instance_name
from hotplugd.model.ports import Gone, ServerError
from hotplugd.model.problem import Problem
from hotplugd.model.text import printable, quoted
from hotplugd.model.values import Device, InstanceName
from hotplugd.plan.about import ABOUT, Fields
from hotplugd.plan.change import Attachment
from hotplugd.plan.guard_rails import may_be_used
from hotplugd.plan.identity import model
from hotplugd.plan.overrides import NONE, Override, Overrides, kept_by, meant
from hotplugd.reconcile.device_log import Cause
from hotplugd.rules.keys import PORT

What = Literal["attach", "detach", "undo"]


class ByHand:
    """The decisions of people, in force and in the state file.

    session  gives the session with the server, where there is one
    kept     the state file
    dry_run  a broken state file stays where it is
    """

    def __init__(
        self, log: FilteringBoundLogger, session: Callable[[], Session | None], *, dry_run: bool = False
    ) -> None:
        self._log = log
        self._session = session
        self._threads = Threads()
        self.kept = KeptState(log, self._threads, dry_run=dry_run)
        # One at a time: each writes the file, and the next one begins with what it says then.
        self._turn = asyncio.Lock()

    # --- the file ---------------------------------------------------------------------------------------

    async def load(self, path: Path, cause: Cause) -> None:
        """Take what the state file says. Where it cannot be read what was in force stays so."""
        async with self._turn:
            before = self.overrides
            await self.kept.load(path)
            if self.overrides != before:
                self._take(cause)

    @property
    def overrides(self) -> Overrides:
        """What people decided by hand."""
        return self.kept.state.overrides

    def problems(self) -> list[Problem]:
        """What is wrong with the state file."""
        return self.kept.problems()

    def _take(self, cause: Cause) -> None:
        if (session := self._session()) is not None:
            session.set_overrides(self.overrides, cause)

    async def _keep(self, overrides: Overrides) -> None:
        """Write the decisions, and have them in force. Raises Refusal."""
        await keep(self.kept, lambda state: replace(state, overrides=overrides))
        self._take("asked")

    # --- what is asked for ------------------------------------------------------------------------------

    @property
    def handlers(self) -> Mapping[Endpoint, Handler]:
        """What people can ask for on the control socket."""
        return {ATTACH: self.attach, DETACH: self.detach, UNDO: self.undo}

    async def who(self, peer: Peer) -> Asker:
        """Who is at the other end of the control socket."""
        return await who_asks(self._threads, peer)

    async def attach(self, asked: ControlRequest) -> AskedJson:
        """Have a device in an instance, and nowhere else."""
        return await self._ask("attach", asked)

    async def detach(self, asked: ControlRequest) -> AskedJson:
        """Have a device in no instance."""
        return await self._ask("detach", asked)

    async def undo(self, asked: ControlRequest) -> AskedJson:
        """Have the rules decide about a device again, or about all."""
        return await self._ask("undo", asked)

    async def _ask(self, what: What, asked: ControlRequest) -> AskedJson:
        words = DeviceRequest.of(asked.body)
        by = await self.who(asked.peer)
        async with self._turn:
            try:
                with telling(self._log, what, by, device=quoted(words.device)):
                    if what == "undo":
                        return await self._undo(words, by, asked.grant)
                    return await self._decide(what, words, by, asked.grant)
            except Refusal as refusal:
                return _answer(Done(taken=False, done=False, message=str(refusal)), refusal.more)

    async def _decide(
        self, what: Literal["attach", "detach"], words: DeviceRequest, by: Asker, grant: Grant
    ) -> AskedJson:
        session = ready(self._session())
        device = _find(session, words)
        to = InstanceName(words.project, words.instance) if what == "attach" else None
        fields: Fields = {ABOUT: device, **({"instance": str(to)} if to is not None else {})}
        self._log.info(f"{what}.asked", **fields, **asked_by(by))
        where = [each.want.instance for each in _attachments(session, device)]
        see_permitted(session.rules, device, _concerned(session, device, what), what, to, grant)
        taken = session.rules.decide(device)
        see_own(self.overrides.about(device, taken.anchor if taken is not None else None), by.uid, grant)
        override = _override(device, _devices(session), to, by)
        if to is not None:
            await _see_whether(session, device, override, to)
        await self._keep(self.overrides.with_one(override, device))
        await settled(session)
        if to is not None:
            done = attached(session, device, override)
        else:
            done = detached(session, device, override, where)
        return _answer(done, (), Overrides.made_of([override]), [device])

    async def _undo(self, words: DeviceRequest, by: Asker, grant: Grant) -> AskedJson:
        found = [*self.overrides] if words.everything else self._decided(words)
        see_own(found, by.uid, grant)
        names = ", ".join(dict.fromkeys(each.of.identity for each in found))
        self._log.info("undo.asked", identity=names, **asked_by(by))
        left = self.overrides
        for each in found:
            left = left.without(each.of)
        await self._keep(left)
        session = self._session()
        if session is not None:
            await settled(session)
        devices = _devices(session) if session is not None else []
        return _answer(undone(session, found), (), Overrides.made_of(found), devices)

    def _decided(self, words: DeviceRequest) -> list[Override]:
        """The decision about the device that is called so, whether it is there or not. Raises Refusal."""
        found = {each.of: each for each in self.overrides.named(words.device)}
        if (session := self._session()) is not None:
            hubs = session.rules.hubs
            for device in named(words.device, _devices(session), words.real, hubs):
                if (override := self.overrides.of(device)) is not None:
                    found[override.of] = override
        if not found:
            raise Refusal(
                f"nothing was decided by hand about {quoted(words.device)}; `hotplugd status --by-hand` has "
                f"what was"
            )
        if len(found) > 1:
            more = [f"{each.of.identity} ({each.device})" for each in found.values()]
            raise Refusal(f"several are called {quoted(words.device)}; name one by its identity:", more)
        return [*found.values()]


def _devices(session: Session) -> list[Device]:
    return list(session.reconciler.inventory.devices.values())


def _find(session: Session, words: DeviceRequest) -> Device:
    """The device that is called so. Raises Refusal."""
    found = named(words.device, _devices(session), words.real, session.rules.hubs)
    wants = session.reconciler.assignments.wants.values()
    taken = [each.device for each in wants if each.override or (each.wants and each.anchor is None)]
    chosen = meant(found, taken)
    if not chosen:
        raise none_called(session, words.device, words.real)
    if len(chosen) > 1:
        raise several_called(words.device, chosen)
    return chosen[0]


def _attachments(session: Session, device: Device) -> list[Attachment]:
    return [each for each in session.reconciler.attachments() if each.want.device.key == device.key]


def _concerned(session: Session, device: Device, what: Literal["attach", "detach"]) -> set[InstanceName]:
    """The instances that have it, should have it or have it leased; and those of what hangs from a USB device
    that is detached, which is detached with it.
    """

    def goes(other: Device) -> bool:
        hangs = other.usb is not None and other.usb.key == device.key
        return other.key == device.key or (hangs and what == "detach")

    assignments = session.reconciler.assignments
    leasing = assignments.leases.leasing
    wants = [each for each in assignments.wants.values() if goes(each.device)]
    devices = [device, *(each.device for each in wants)]
    leases = [leasing.allocation.leases.get(leasing.key_of(each)) for each in devices]
    return {
        *(each.want.instance for each in session.reconciler.attachments() if goes(each.want.device)),
        *(want.instance for each in wants for want in each.wants),
        *(lease.instance for lease in leases if lease is not None),
    }


def _override(device: Device, devices: list[Device], to: InstanceName | None, by: Asker) -> Override:
    of = kept_by(device, devices)
    if of is None and device.early:
        raise Refusal(
            f"udevd has not processed {device} yet, and only its place tells it from others; ask again once "
            f"it has"
        )
    if of is None:
        raise Refusal(
            f"nothing that stays tells {device} from another device that is there; write a rule for it"
        )
    since = datetime.now(UTC).isoformat(timespec="seconds")
    port = next(iter(PORT.values(device)), "")
    return Override(of, to, since, by, printable(str(device)), quoted(model(device)), printable(port))


async def _see_whether(session: Session, device: Device, override: Override, to: InstanceName) -> None:
    """See whether the device can go there. Raises Refusal."""
    if not is_instance_name(to.name):
        raise Refusal(f"'{quoted(to.name)}' is no legal instance name")
    try:
        instance = await session.instance(to)
    except Gone:
        raise Refusal(f"there is no instance '{to.name}' in project '{quoted(to.project)}'") from None
    except ServerError as error:
        raise Refusal(f"it is not known whether there is an instance {to}: {error}") from error
    if instance.untold:
        raise Refusal(f"the server cannot tell how {to} is now; try again")
    if message := in_the_way(session, await _as_used(session, device, override), override, instance):
        raise Refusal(message)


async def _as_used(session: Session, device: Device, override: Override) -> Device:
    """The device as the host uses it now: of what no rule takes that may not have been looked at for long."""
    unused = replace(device, in_use="")
    want = next(iter(session.reconciler.assignments.would(unused, override).wants), None)
    if want is None or not may_be_used(want):
        return device
    how = await session.host.in_use(want)
    session.reconciler.found_used(device, how)
    return replace(device, in_use=how)


def _answer(
    done: Done, more: Iterable[str], overrides: Overrides = NONE, devices: Iterable[Device] = ()
) -> AskedJson:
    return {
        "taken": done.taken,
        "done": done.done,
        "message": done.message,
        "more": list(more),
        "overrides": overrides_json(overrides, devices),
    }
