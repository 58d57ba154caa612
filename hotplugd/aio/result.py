"""What came of work that was done in another thread: its result, or what it raised."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """error: what the work raised; None where it has a result, which may be None, too."""

    result: T | None
    error: BaseException | None = None

    def get(self) -> T:
        """The result. Raises what the work raised."""
        if self.error is not None:
            raise self.error
        return cast("T", self.result)


def outcome_of(work: Callable[[], T]) -> Outcome[T]:
    """Do the work now, in this thread. Raises nothing."""
    try:
        return Outcome(work())
    except BaseException as error:  # noqa: BLE001  # carried over to whoever called
        return Outcome(None, error)
