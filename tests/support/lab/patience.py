"""People who change instances try again when the server says that somebody else is at it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from tests.support.lab.api import ServerError
from tests.support.lab.wait import eventually

T = TypeVar("T")

# To be deleted an instance has to be stopped, which it is not while it is busy. LXD 5.0 refuses to start one
# that has got an entry in the middle of a restart, since it watches that entry's source already; then it
# forgets the watch.
_PASSES: Final = (
    "busy",
    "ETag",
    "Instance is running",
    "operation has now",
    "timed out",
    "Watch already exists",
    "cluster member is unavailable",
)


def patiently(what: Callable[[], T], deadline: float = 40.0) -> T:
    """Do it, again and again as long as the server is at something else. Returns what it returns."""

    def done() -> list[T]:
        try:
            return [what()]
        except ServerError as error:
            if any(word in str(error) for word in _PASSES):
                return []
            raise

    return eventually(done, deadline)[0]
