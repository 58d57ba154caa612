"""Reads single values of the state file. Each raises ValueError where a value is of another shape."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from math import isfinite
from typing import Final, TypeVar

from hotplugd.model.asker import Asker
from hotplugd.model.names import is_instance_name
from hotplugd.model.text import counted
from hotplugd.model.values import InstanceName

T = TypeVar("T")

_LONGEST: Final = 1024
_LAST_UID: Final = (1 << 32) - 1


def fields(found: object, names: set[str], more: frozenset[str] = frozenset()) -> Mapping[str, object]:
    """An object with exactly these keys. more: keys that it may have as well."""
    if not isinstance(found, dict) or found.keys() - more != names:
        raise ValueError(f"expected an object with the keys {', '.join(sorted(names))}")
    return found


def items(found: object, most: int, what: str, read: Callable[[object], T]) -> Iterator[T]:
    """A list of these, each read by `read`."""
    if not isinstance(found, list) or len(found) > most:
        raise ValueError(f"expected a list of {counted(most, what)} at most")
    yield from map(read, found)


def text(found: object) -> str:
    """A printable text."""
    if not isinstance(found, str) or len(found) > _LONGEST or not found.isprintable():
        raise ValueError(f"expected a printable text of {_LONGEST} characters at most")
    return found


def seconds(found: object) -> float:
    """A span of time, zero or more."""
    if isinstance(found, bool) or not isinstance(found, int | float) or not isfinite(found) or found < 0:
        raise ValueError("expected a number of seconds")
    return float(found)


def instance(project: object, name: object) -> InstanceName | None:
    """An instance; None where both are empty."""
    of, called = text(project), text(name)
    if bool(of) != bool(called) or (called and not is_instance_name(called)):
        raise ValueError("expected a project and the legal name of an instance, or neither")
    return InstanceName(of, called) if called else None


def some_instance(project: object, name: object) -> InstanceName:
    """An instance."""
    if (found := instance(project, name)) is None:
        raise ValueError("expected a project and the legal name of an instance")
    return found


def asker(found: object) -> Asker:
    """Who asked for something."""
    by = fields(found, set(Asker.__dataclass_fields__))
    uid = by["uid"]
    if not isinstance(uid, int) or isinstance(uid, bool) or not 0 <= uid <= _LAST_UID:
        raise ValueError("expected a user's number as `uid`")
    return Asker(uid, text(by["user"]), text(by["login"]))


def asker_json(by: Asker) -> dict[str, object]:
    """As `asker` reads it."""
    return asdict(by)
