"""What a worker does next: a table from what it knows of its instance to one step. Pure.

Before everything the server is asked where what is known may be old; then comes a plan; then what is in the
way of its changes; then the changes. Once there is nothing to send, or what is to be sent depends on it, the
inside is looked at where what was seen may be old: the next plan is made from what the look shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from hotplugd.aio.backoff import LONG_AGO, NEVER
from hotplugd.plan.change import Change
from hotplugd.plan.kinds.kind import Want


@dataclass(frozen=True, slots=True)
class State:
    """What decides on the next step. Times are the event loop's, in seconds.

    now        the present time
    stale      the server's last answer may be older than what happened to the instance
    ask_at     when the server may be asked
    listed     all devices and all instances were listed once
    planned    nothing has become known since the plan was made
    send_at    nothing is sent before
    orphans    what the server has to take away before anything is put in
    batch      the changes that can go in one request now
    blocking   orphans that may be where the batch would put something
    unchecked  devices of the batch that the host may use
    unseen     the batch gives interfaces names, and nobody has looked which names are taken
    misstated  what the instance's configuration says of its leases is to be written anew
    echoed     the server told of an update that may be ours: it is asked once there is nothing to send
    look_at    when to look inside; never where there is nothing to see, or somebody looks already
    dry_run    nothing is changed
    """

    now: float
    stale: bool = False
    ask_at: float = LONG_AGO
    listed: bool = True
    planned: bool = True
    send_at: float = LONG_AGO
    orphans: Sequence[Change] = ()
    batch: Sequence[Change] = ()
    blocking: Sequence[Change] = ()
    unchecked: Sequence[Want] = ()
    unseen: bool = False
    misstated: bool = False
    echoed: bool = False
    look_at: float = NEVER
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the server how the instance is."""


@dataclass(frozen=True, slots=True)
class MakePlan:
    """Plan the instance from what is known."""


@dataclass(frozen=True, slots=True)
class Clear:
    """Have the server take away what may be left of these."""

    orphans: Sequence[Change]


@dataclass(frozen=True, slots=True)
class Check:
    """Ask whether the host uses these devices."""

    wants: Sequence[Want]


@dataclass(frozen=True, slots=True)
class Send:
    """Send these changes as one request."""

    batch: Sequence[Change]


@dataclass(frozen=True, slots=True)
class Look:
    """Look inside."""


@dataclass(frozen=True, slots=True)
class Rest:
    """Do nothing until something happens, or something is due.

    done   everything is as it should be, or would be tried at once
    would  what would be sent in a dry run
    """

    done: bool = False
    would: Sequence[Change] = ()


Step: TypeAlias = Ask | MakePlan | Clear | Check | Send | Look | Rest


def next_step(state: State) -> Step:
    """What a worker does next that knows this."""
    if state.stale and state.ask_at <= state.now:
        return Ask()
    if not state.listed:
        return Rest()
    if not state.planned:
        return MakePlan()
    may_send = not state.stale and state.send_at <= state.now
    if may_send and (step := _next_request(state)) is not None:
        return step
    if state.look_at <= state.now:
        return Look()
    rests = may_send and not state.unseen
    return Rest(done=rests, would=state.batch if rests else ())


def _next_request(state: State) -> Step | None:
    """What the server or the host is asked for now; None where there is nothing."""
    if state.orphans:
        return Clear(state.orphans)
    if not state.batch:
        if state.echoed:
            return Ask()
        return Send(()) if state.misstated and not state.dry_run else None
    if state.blocking:
        return Clear(state.blocking)
    if state.unchecked and not state.unseen:
        return Check(state.unchecked)
    return None if state.dry_run or state.unseen else Send(state.batch)
