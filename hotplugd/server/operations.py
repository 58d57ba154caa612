"""What a server's operations are about: which of them start or stop an instance. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any, Final
from urllib.parse import unquote, urlsplit

# What operations that start or stop instances are called (LXD and Incus: db/operationtype). The server stops
# an instance whose snapshot it restores, and starts it again. The last one is of several instances.
_CHANGES: Final = (
    "Starting instance", "Stopping instance", "Restarting instance", "Restoring snapshot",
    "Updating the state of multiple instances",
)  # fmt: skip


def changing(operations: Mapping[str, Any], name: str) -> str:
    """What the server does that starts or stops an instance, in its words; empty where it does no such thing.

    operations  its answer about all operations of the instance's project, with those within others
    name        of an instance that does not run
    """
    running = operations.get("running") or ()
    for each in chain.from_iterable((one, *(one.get("children") or ())) for one in running):
        what = str(each.get("description"))
        if what.startswith(_CHANGES) and each.get("status") == "Running" and name in _names_in(each):
            return what
    return ""


def _names_in(operation: Mapping[str, Any]) -> Iterator[str]:
    """The names of the instances that it is about, by URLs such as `/1.0/instances/job-1?project=ci`.

    LXD from 6.8 on has no resources there (operations.go, `initOperation`).
    """
    resources, metadata = operation.get("resources") or {}, operation.get("metadata") or {}
    urls = (*(resources.get("instances") or resources.get("instance") or ()), metadata.get("entity_url", ""))
    for url in urls:
        match urlsplit(str(url)).path.split("/"):
            case ["", _, "instances", name]:
                yield unquote(name)
