"""Refusals of what people ask the daemon for: the same words, and the same event, for all orders."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from structlog.typing import FilteringBoundLogger

from hotplugd.app.control_request import Forbidden
from hotplugd.app.find import each_of, missing, several
from hotplugd.app.kept_state import KeptState
from hotplugd.app.peer_names import asked_by
from hotplugd.app.session import Session
from hotplugd.app.state_file import State, StateError
from hotplugd.model.asker import Asker
from hotplugd.model.values import Device


class Refusal(Exception):
    """What was asked for is not done. The text is fit to be shown; more: further lines."""

    def __init__(self, reason: str, more: Iterable[str] = ()) -> None:
        super().__init__(reason)
        self.more = list(more)


@contextmanager
def telling(log: FilteringBoundLogger, order: str, by: Asker, **about: str) -> Iterator[None]:
    """Log `ORDER.refused` where what is done meanwhile is refused. about: what the order is about"""
    try:
        yield
    except (Refusal, Forbidden) as refusal:
        log.warning(f"{order}.refused", **about, reason=str(refusal), **asked_by(by))
        raise


def ready(session: Session | None, *, instances: bool = False) -> Session:
    """The session, once it has listed the devices. Raises Refusal. instances: and the instances"""
    known = session.reconciler.inventory if session is not None else None
    if session is None or known is None or not known.devices_listed:
        raise Refusal("the daemon has not listed the devices yet; `hotplugd status` says why")
    if instances and not known.instances_listed:
        raise Refusal("the daemon has not listed the instances yet; `hotplugd status` says why")
    return session


async def keep(kept: KeptState, changed: Callable[[State], State]) -> None:
    """Write the state as this makes it, and have it in force. Raises Refusal."""
    try:
        await kept.keep(changed)
    except StateError as error:
        raise Refusal(f"{error}; nothing was changed") from error


def none_called(session: Session, name: str, real: str) -> Refusal:
    """The refusal of a name that no device has. name, real: as `find.named` takes them"""
    waiting = session.reconciler.inventory.unprocessed.values()
    return Refusal(missing(name, real, waiting, session.rules))


def several_called(name: str, found: Iterable[Device], what: str = "devices") -> Refusal:
    """The refusal of a name that several devices have."""
    devices = list(found)
    return Refusal(several(name, len(devices), what), each_of(devices))
