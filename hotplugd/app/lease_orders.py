"""What people ask the daemon for about leases: to end or move one, and to cordon or drain what they name."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from structlog.typing import FilteringBoundLogger

from hotplugd.app.by_hand import ByHand
from hotplugd.app.control_request import ControlRequest, Forbidden, Handler
from hotplugd.app.device_request import DeviceRequest
from hotplugd.app.endpoints import CORDON, DRAIN, LEASE_MOVE, LEASE_RELEASE, UNCORDON, Endpoint
from hotplugd.app.grants import Grant
from hotplugd.app.kept_state import KeptState
from hotplugd.app.lease_targets import (
    Target,
    claim_for,
    cordoned,
    device,
    leased,
    leasing_of,
    meant,
    see_granted,
    unwell,
)
from hotplugd.app.outcome import settled
from hotplugd.app.peer_names import asked_by
from hotplugd.app.pool_documents import LeaseJson, LeaseOrderJson, lease_by_key
from hotplugd.app.refusal import Refusal, keep, ready, telling
from hotplugd.app.session import Session
from hotplugd.model.asker import Asker
from hotplugd.model.lease import Lease
from hotplugd.model.text import counted, quoted
from hotplugd.model.values import InstanceName
from hotplugd.plan.about import ABOUT, Fields
from hotplugd.pools.cordons import MOST_CORDONS, Cordon, Cordons
from hotplugd.pools.leasing import Leasing

_Work = Callable[[DeviceRequest, Asker, Grant], Awaitable[LeaseOrderJson]]


class LeaseOrders:
    """Done by the session's leases; cordons are kept in the state file first.

    session  gives the session with the server, where there is one
    by_hand  has the state file, and knows who asks
    """

    def __init__(
        self, log: FilteringBoundLogger, session: Callable[[], Session | None], by_hand: ByHand
    ) -> None:
        self._log = log
        self._session = session
        self._by_hand = by_hand
        self._turn = asyncio.Lock()

    @property
    def _kept(self) -> KeptState:
        return self._by_hand.kept

    def loaded(self) -> None:
        """The state file was read: what is cordoned may be other things now."""
        if (session := self._session()) is not None:
            session.reconciler.assignments.leases.set_cordons(self._kept.state.cordons)

    @property
    def handlers(self) -> Mapping[Endpoint, Handler]:
        """What people can ask for on the control socket."""
        work: dict[Endpoint, _Work] = {
            LEASE_RELEASE: self._release,
            LEASE_MOVE: self._move,
            CORDON: self._cordon,
            UNCORDON: self._uncordon,
            DRAIN: self._drain,
        }
        return {endpoint: self._handler(endpoint.name, each) for endpoint, each in work.items()}

    def _handler(self, verb: str, work: _Work) -> Handler:
        async def answer(asked: ControlRequest) -> LeaseOrderJson:
            words, by = DeviceRequest.of(asked.body), await self._by_hand.who(asked.peer)
            async with self._turn:
                try:
                    with telling(self._log, verb, by, name=quoted(words.device)):
                        return await work(words, by, asked.grant)
                except Refusal as refusal:
                    return _answer(str(refusal), refusal.more, taken=False)

        return answer

    # --- the verbs --------------------------------------------------------------------------------------

    async def _release(self, words: DeviceRequest, by: Asker, grant: Grant) -> LeaseOrderJson:
        session = ready(self._session(), instances=True)
        leasing = leasing_of(session)
        target = device(session, words)
        (key,) = target.keys
        lease = leasing.allocation.leases.get(key)
        if lease is None:
            raise Refusal(f"{target.told} is leased to nobody; it is {leasing.state(key)}")
        see_granted("lease", session, target, [lease.instance], grant)
        before = _leases(leasing, [key])
        about = {**_about(target, leasing), "instance": str(lease.instance)}
        self._log.info("lease-release.asked", **about, **asked_by(by))
        session.reconciler.assignments.leases.release([key], f"released by {by}")
        await settled(session)
        now = leasing.allocation.leases.get(key)
        message = f"{target.told} is leased to {lease.instance} no more"
        if now == lease:
            message = (
                f"{target.told} was released, and claim '{quoted(lease.claim)}' of {lease.instance} has it "
                f"again: no other waits for it; withdraw the claim, or cordon the device first"
            )
        elif now is not None:
            message += f"; {now.instance} has the lease now"
        return _answer(message, leases=before, done=_is_settled(session))

    async def _move(self, words: DeviceRequest, by: Asker, grant: Grant) -> LeaseOrderJson:
        session = ready(self._session(), instances=True)
        leasing = leasing_of(session)
        target, to = device(session, words), InstanceName(words.project, words.instance)
        (key,) = target.keys
        holder = leasing.allocation.leases.get(key)
        see_granted("lease", session, target, [to, *([holder.instance] if holder else ())], grant)
        lease = Lease(to, claim_for(leasing, key, to, target.told))
        before = _leases(leasing, [key])
        about = {**_about(target, leasing), "instance": str(to)}
        self._log.info("lease-move.asked", **about, **asked_by(by))
        session.reconciler.assignments.leases.move(key, lease, f"moved to {to} by {by}")
        await settled(session)
        done = leasing.allocation.leases.get(key) == lease and _is_settled(session)
        message = f"{target.told} is leased to {to}" + ("" if done else ", and is not there yet")
        return _answer(message, leases=before, done=done)

    async def _cordon(self, words: DeviceRequest, by: Asker, grant: Grant) -> LeaseOrderJson:
        session = ready(self._session(), instances=True)
        target = meant(session, words)
        see_granted("cordon", session, target, (), grant)
        about = {**_about(target, leasing_of(session)), "reason": quoted(words.reason)}
        self._log.info("cordon.asked", **about, **asked_by(by))
        await self._keep_one(target, words, by, grant)
        await settled(session)
        held = _leases(leasing_of(session), leased(session, target))
        more = [f"{each['instance']} keeps {each['device'] or each['identity']}" for each in held]
        kept = self._kept.state.cordons.get(target.kind, target.name)
        if kept is not None and kept.by.uid != by.uid:
            return _answer(f"{target.told} was {kept}; that stays, and only they or root may end it", more)
        return _answer(f"{target.told} is cordoned", more)

    async def _uncordon(self, words: DeviceRequest, by: Asker, grant: Grant) -> LeaseOrderJson:
        session = ready(self._session(), instances=True)
        of_these = unwell(session, words)
        unfit = of_these.keys
        found = cordoned(session, words, self._kept.state.cordons, unfit)
        if not grant.all and any(each.by.uid != by.uid for each in found):
            raise Forbidden(f"somebody else cordoned {quoted(words.device)}; only root may take that away")
        if unfit:
            see_granted("cordon", session, of_these, (), grant)
        self._log.info(
            "uncordon.asked",
            name=", ".join(dict.fromkeys([*(each.name for each in found), *unfit])),
            **asked_by(by),
        )
        cordons = self._kept.state.cordons
        for each in found:
            cordons = cordons.without(each)
        if found:
            await self._keep(cordons)
        session.reconciler.assignments.leases.forgive(unfit)
        await settled(session)
        what = " and ".join(filter(None, ("cordoned" if found else "", "kept from claims" if unfit else "")))
        return _answer(f"{quoted(words.device)} is not {what} any more")

    async def _drain(self, words: DeviceRequest, by: Asker, grant: Grant) -> LeaseOrderJson:
        session = ready(self._session(), instances=True)
        leasing, target = leasing_of(session), meant(session, words)
        see_granted("cordon", session, target, (), grant)
        keys = leased(session, target)
        before = _leases(leasing, keys)
        ends = counted(len(keys), "lease")
        if not words.yes:
            message = f"draining {target.told} cordons it and ends {ends}; repeat with --yes to do it"
            more = [f"{each['instance']}: {each['device'] or each['identity']}" for each in before]
            return _answer(message, more, leases=before, taken=False)
        about = {**_about(target, leasing), "reason": quoted(words.reason)}
        self._log.info("drain.asked", **about, **asked_by(by))
        await self._keep_one(target, words, by, grant)
        session.reconciler.assignments.leases.release(keys, f"drained by {by}")
        await settled(session)
        done = _is_settled(session)
        message = f"{target.told} is cordoned, and {ends} ended"
        return _answer(message if done else f"{message}; it is not all out yet", leases=before, done=done)

    # --- the state --------------------------------------------------------------------------------------

    async def _keep_one(self, target: Target, words: DeviceRequest, by: Asker, grant: Grant) -> None:
        before = self._kept.state.cordons.get(target.kind, target.name)
        if before is not None and before.by.uid != by.uid and not grant.all:
            return  # It stays somebody else's, so that only they or root take it away.
        since = datetime.now(UTC).isoformat(timespec="seconds")
        cordon = Cordon(target.kind, target.name, quoted(words.reason), since, by)
        cordons = self._kept.state.cordons.with_one(cordon)
        if len(cordons) > MOST_CORDONS:
            raise Refusal(f"{MOST_CORDONS} cordons are there already; `hotplugd uncordon` takes one away")
        await self._keep(cordons)

    async def _keep(self, cordons: Cordons) -> None:
        await keep(self._kept, lambda state: replace(state, cordons=cordons))
        self.loaded()


def _leases(leasing: Leasing, keys: Iterable[str]) -> list[LeaseJson]:
    return [found for key in keys if (found := lease_by_key(key, leasing)) is not None]


def _about(target: Target, leasing: Leasing) -> Fields:
    """What an event says of a target."""
    if target.kind == "location":
        return {"location": target.name}
    if target.kind == "instance":
        return {"instance": target.told}
    if target.kind == "pool":
        return {"pool": target.name}
    known = leasing.devices.get(target.name)
    return {"identity": target.name} if known is None else {ABOUT: known.device, "pool": known.pool}


def _is_settled(session: Session) -> bool:
    return not session.reconciler.pending()


def _answer(
    message: str,
    more: Iterable[str] = (),
    leases: Iterable[LeaseJson] = (),
    *,
    taken: bool = True,
    done: bool = True,
) -> LeaseOrderJson:
    return {
        "taken": taken,
        "done": taken and done,
        "message": message,
        "more": list(more),
        "leases": list(leases),
    }
