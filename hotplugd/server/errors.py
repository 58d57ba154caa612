"""What an error of the server's means, by its status and its words. Pure.

The words are LXD's and Incus's; the meaning of other words is unknown.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Final

from hotplugd.model.ports import Busy, Gone, Refused, ServerError, Stuck, Unreachable
from hotplugd.model.text import plain

NOT_LXD: Final = "something that is not in LXD's API"

_BUSY: Final = re.compile(r"[Ii]nstance is busy|Failed to create instance \w+ operation|database is locked")
_LEFT_BEHIND: Final = re.compile(r"Failed to create device .*: file exists")
# A network interface that was renamed inside, or went while it was there (LXD: device/nic_physical.go).
_STUCK: Final = re.compile(r'Failed to stop device "[^"]*": .*(bring down|link property)')
# Where it cannot write it can neither put a node in nor take it back (LXD: forkfile's PID, backup.yaml).
# If it already watches the path, it leaves the node mounted (LXD: fsmonitor, ErrWatchExists).
_HALF: Final = re.compile(
    r"no space left on device|disk quota exceeded|disk is full|Failed to stop device|Watch already exists"
)
# To take a node out it asks its program for the container's files, which it ends before a snapshot, a stop
# and a restore (LXD: driver_lxc.go, deviceHandleMounts and stopForkfile). What was to go in is not in then.
# While it makes a snapshot it carries out an update, and cannot write backup.yaml (storage/backend_lxd.go).
_SNAPSHOT: Final = re.compile(r"forkfile\.sock|snapshot record count doesn't match")
_BLAMED: Final = re.compile(r'"(hp-[0-9a-f]{16})"')
_MESSAGE_MOST: Final = 400


def failure(status: int, said: str | None) -> ServerError:
    """What an answer with this status means. said: its words, None where they are not the server's."""
    if status < HTTPStatus.BAD_REQUEST or said is None:
        # Also with a status that LXD uses: a proxy in between may have sent it.
        return Unreachable(f"the server answered {NOT_LXD}, with status {status}")
    message = short(said)
    if status == HTTPStatus.NOT_FOUND:
        return Gone(message)
    if status in (HTTPStatus.CONFLICT, HTTPStatus.PRECONDITION_FAILED):
        return Busy(f"somebody else changed it at the same time: {message}")
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        return Unreachable(message)
    return refusal(said)


def refusal(said: str) -> ServerError:
    """The error for a refusal of the server's, by its words."""
    if _BUSY.search(said):
        return Busy(short(said))
    if _SNAPSHOT.search(said):
        return Busy(f"it makes a snapshot of the instance, or stops it: {short(said)}")
    if _STUCK.search(said):
        return Stuck(short(said), frozenset(_BLAMED.findall(said)))
    half = _HALF.search(said) is not None
    return Refused(short(said), frozenset(_BLAMED.findall(said)), half=half)


def is_left_behind(said: str) -> bool:
    """Whether the server will not make a node since it has left one there before."""
    return _LEFT_BEHIND.search(said) is not None


def no_answer(address: str, error: BaseException) -> str:
    """Why no server answers at an address, in words for people; `error` is what a request to it raised."""
    cause = _cause(error)
    if isinstance(cause, FileNotFoundError):
        return f"LXD or Incus is not running: there is no socket {address}"
    if isinstance(cause, ConnectionRefusedError):
        return f"LXD or Incus is not running: nobody listens at {address}"
    if isinstance(cause, PermissionError):
        return f"{address} may not be used by this user: run it as root"
    if isinstance(cause, ConnectionError):
        return f"{address} ended the connection before it answered: LXD or Incus stops, or starts"
    said = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause)
    return f"{address} does not answer: {short(said)}"


def _cause(error: BaseException) -> BaseException:
    """What the system said: requests and urllib3 wrap it, one in the other, as a cause or as an argument."""
    inner: BaseException | None = error
    while inner is not None:
        error = inner
        if isinstance(error, OSError) and error.errno is not None:
            break
        wrapped = (getattr(error, "reason", None), *reversed(error.args), error.__cause__, error.__context__)
        inner = next((each for each in wrapped if isinstance(each, BaseException)), None)
    return error


def short(error: object) -> str:
    """The text of an error, fit to be shown."""
    text = plain(str(error).strip()) or type(error).__name__
    return text if len(text) <= _MESSAGE_MOST else text[: _MESSAGE_MOST - 1] + "…"
