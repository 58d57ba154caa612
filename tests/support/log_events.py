"""The events that the code logs, read from the code."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_LEVELS: Final = frozenset({"debug", "info", "warning", "error", "critical", "exception"})
# What stands in names that are put together.
_VARIANTS: Final = {
    "f'device.{change.action}'": ("device.add", "device.update", "device.repair", "device.remove"),
    "f'instance.{what}'": ("instance.created", "instance.started", "instance.stopped", "instance.deleted"),
    "f'reload.{each.severity}'": ("reload.error", "reload.warning"),
    "f'{what}.asked'": ("attach.asked", "detach.asked", "undo.asked"),
    "f'{order}.refused'": (
        "attach.refused", "detach.refused", "undo.refused", "reset.refused", "port.refused",
        "lease-release.refused", "lease-move.refused", "cordon.refused", "uncordon.refused", "drain.refused",
    ),
}  # fmt: skip


def logged(package: Path) -> dict[str, set[str]]:
    """The names of all events that the code of a package logs, and at which levels."""
    found: dict[str, set[str]] = {}
    for file in package.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.Call):
                for name, level in _of(node):
                    found.setdefault(name, set()).add(level)
    return found


def _of(call: ast.Call) -> Iterator[tuple[str, str]]:
    if isinstance(call.func, ast.Name) and call.func.id == "ProblemLog":
        yield from ((name, "warning") for name in _names(call.args[1]))
    elif isinstance(call.func, ast.Attribute) and call.func.attr in _LEVELS and _is_log(call.func.value):
        yield from ((name, call.func.attr) for name in _names(call.args[0]))


def _is_log(receiver: ast.expr) -> bool:
    return ast.unparse(receiver).rpartition(".")[2].lstrip("_") == "log"


def _names(event: ast.expr) -> set[str]:
    if isinstance(event, ast.Constant):
        return {str(event.value)}
    if ast.unparse(event) == "self._event":
        return set()  # a `ProblemLog` is told it by whoever makes it
    assert isinstance(event, ast.JoinedStr), f"{ast.unparse(event)} is no name"
    return set(_VARIANTS[ast.unparse(event)])
