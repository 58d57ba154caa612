"""Who is at the other end of the control socket, by name, and which groups may ask."""

from __future__ import annotations

import asyncio
import grp
import pwd
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from structlog.typing import FilteringBoundLogger

from hotplugd.aio.threads import NoThread, Threads
from hotplugd.app.grants import DEFAULT_ALLOW, Allowed, Grants
from hotplugd.app.peer import Peer
from hotplugd.model.asker import Asker
from hotplugd.model.problem import Problem
from hotplugd.model.text import quoted
from hotplugd.reconcile.problem_log import ProblemLog

# Names may come from a directory on the network.
_PATIENCE: Final = 2.0
_NOBODY_YET: Final = 0xFFFFFFFF  # audit(7): nobody logged in, as of a service


async def who_asks(threads: Threads, peer: Peer) -> Asker:
    """Who asks. Where names cannot be had soon, numbers alone are known."""
    try:
        return await threads.call(partial(asker, peer), _PATIENCE)
    except (NoThread, TimeoutError):
        return Asker(peer.uid)


def asker(peer: Peer) -> Asker:
    """A process's user. Blocks."""
    login = ""
    with suppress(OSError, ValueError):
        # It waits for its answer, so the number is its own still (proc_pid_loginuid(5)).
        number = int(Path(f"/proc/{peer.pid}/loginuid").read_text("ascii"))
        login = (_name(number) or str(number)) if number != _NOBODY_YET else ""
    return Asker(peer.uid, _name(peer.uid), login)


def _name(uid: int) -> str:
    with suppress(KeyError, OSError, OverflowError):
        return pwd.getpwuid(uid).pw_name
    return ""


def asked_by(by: Asker) -> dict[str, object]:
    """The fields of an event that say who asked."""
    told: dict[str, object] = {"by": str(by), "uid": by.uid, "user": by.user, "login": by.login}
    return {key: value for key, value in told.items() if value != ""}


async def resolved(threads: Threads, allow: Iterable[Allowed]) -> tuple[Grants, list[Problem]]:
    """The grants of groups that this host has, and what is wrong with the others, within two seconds.

    Groups of `DEFAULT_ALLOW` may be missing.
    """
    allowed = [*allow]
    answers: dict[str, int | BaseException | None] = {
        each.group: int(each.group) for each in allowed if _is_number(each.group)
    }
    names = [*dict.fromkeys(each.group for each in allowed if not _is_number(each.group))]
    # All at once: devices are not attached before this, and a directory may answer none of them.
    calls = (threads.call(partial(_gid, name), _PATIENCE) for name in names)
    answers |= zip(names, await asyncio.gather(*calls, return_exceptions=True), strict=True)
    problems: list[Problem] = []
    by_default = tuple(allowed) == DEFAULT_ALLOW
    for name, gid in answers.items():
        if isinstance(gid, BaseException) and not isinstance(gid, NoThread | TimeoutError):
            raise gid
        if isinstance(gid, int) or by_default:
            continue
        if gid is None:
            why = f"this host has no group '{quoted(name)}'"
            todo = "make the group (`groupadd`), or correct the name, and reload"
        else:
            why = f"it is not known whether this host has a group '{quoted(name)}'"
            todo = "see why names of groups cannot be had (`getent group`), and reload"
        told = f"`allow` in the configuration: {why}, so nobody is let in for it; {todo}"
        problems.append(Problem("", "", told))
    found = ((answers[each.group], each) for each in allowed)
    by_group = tuple((gid, each) for gid, each in found if isinstance(gid, int))
    return Grants(by_group, by_default), problems


class Groups:
    """The groups that `allow` names. problems: what is wrong with those that this host has not"""

    def __init__(self, log: FilteringBoundLogger) -> None:
        self._threads = Threads(16)
        self._told = ProblemLog(log, "allow.problem")
        self.problems: list[Problem] = []

    async def granted(self, allow: Iterable[Allowed]) -> Grants:
        """What those may that this host has. The others are told of."""
        grants, self.problems = await resolved(self._threads, allow)
        self._told.are(self.problems)
        return grants


def _is_number(group: str) -> bool:
    return group.isascii() and group.isdecimal()


def _gid(group: str) -> int | None:
    """A group's number. Blocks."""
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        return None
