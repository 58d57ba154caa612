"""Answers with numbers that no server has, and of an instance that is another at each answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from itertools import cycle
from typing import Final

from tests.support.lab.faults import answer, frame

Pieces = Iterator[bytes]

# As JSON, in place of numbers and times.
NUMBERS: Final[Mapping[str, str]] = {
    "huge": "1" + "0" * 400, "longer than Python reads": "9" * 5000, "negative": "-1",
    "minus huge": "-" + "9" * 400,
    "fraction": "1.5", "infinite": "1e400", "no number": "NaN", "true": "true", "nothing": "null",
    "text": '"12"', "long text": '"' + "9" * 100_000 + '"', "list": "[1]", "object": '{"a": 1}',
}  # fmt: skip
_HEAD: Final = '{{"type": "{kind}", "status": "Success", "status_code": {code}, "metadata": {metadata}}}'
_ENTRY: Final = {"type": "unix-char", "source": "/dev/null", "path": "/dev/x"}


def _document(metadata: str, kind: str = "sync", code: str = "200", etag: str = "x") -> bytes:
    body = _HEAD.format(kind=kind, code=code, metadata=metadata)
    return answer(body.encode(), more=f"ETag: {etag}\r\n")


def _instance(number: str, **other: object) -> str:
    """An instance as LXD tells of it, with this wherever it has a number or a time."""
    known = {
        "name": "c1", "project": "default", "type": "container", "status": "Running", "location": "none",
        "config": {}, "devices": {"e": _ENTRY}, "expanded_devices": {"e": _ENTRY}, "profiles": ["default"],
        "description": "", "architecture": "x86_64",
    }  # fmt: skip
    absurd = ("status_code", "created_at", "last_used_at", "ephemeral", "stateful")
    text = json.dumps({**known, **other})
    return text[:-1] + "".join(f', "{each}": {number}' for each in absurd) + "}"


def _said(number: str) -> Mapping[str, Callable[[], Pieces]]:
    host = (
        f'{{"auth": "trusted", "api_extensions": [{number}], "environment": {{"server": "lxd", '
        f'"server_version": {number}, "server_pid": {number}, "server_clustered": false}}}}'
    )
    happened = f'{{"action": {number}, "source": {number}}}'
    event = f'{{"type": "lifecycle", "timestamp": {number}, "metadata": {happened}}}'
    return {
        "host": lambda: iter([_document(host)]),
        "instance": lambda: iter([_document(_instance(number))]),
        "instances": lambda: iter([_document(f"[{_instance(number)}]")]),
        "status": lambda: iter([_document(_instance("0"), code=number)]),
        "state": lambda: iter([_document(f'{{"pid": {number}, "status_code": {number}}}')]),
        "operation": lambda: iter(
            [_document(f'{{"id": {number}, "status_code": {number}}}', "async", number)]
        ),
        "ended": lambda: iter([_document(f'{{"id": "x", "status_code": {number}, "status": {number}}}')]),
        "events": lambda: iter([frame(event.encode())]),
    }


ABSURD: Final[Mapping[str, Callable[[], Pieces]]] = {
    f"{what}: {name}": said for name, number in NUMBERS.items() for what, said in _said(number).items()
} | {
    "large etag": lambda: iter([_document(_instance("0"), etag="e" * (2 << 20))]),
    "etag of some size": lambda: iter([_document(_instance("0"), etag="e" * 60_000)]),
    "etag of no text": lambda: iter([_document(_instance("0"), etag="\x7f \xff\t")]),
    "no status that there is": lambda: iter([answer(b"{}", 99999)]),
    "negative length": lambda: iter([answer(b"{}", length=-1)]),
    "huge length": lambda: iter([answer(b"{}", length=10**400)]),
}

# --- an instance that is another at each answer ----------------------------------------------------------

_GONE: Final = answer(b'{"type": "error", "error": "not found", "error_code": 404}', 404, "Not Found")
_BUSY: Final = answer(b'{"type": "error", "error": "Instance is busy", "error_code": 500}', 500, "Error")
_MET: Final = answer(b'{"type": "error", "error": "ETag", "error_code": 412}', 412, "Precondition Failed")
_ONES: Final = (
    _instance("0"), _instance("1", status="Stopped"), _instance("2", devices={}), _instance("3", name="c2"),
    _instance("4", project="other"), _instance("5", location="elsewhere"), _instance("6", status="Error"),
    _instance("7", type="virtual-machine"), _instance("8", config={"volatile.last_state.power": "x"}),
)  # fmt: skip
_gets: Final = cycle([*(_document(each, etag=f"{at}") for at, each in enumerate(_ONES)), _GONE, _BUSY])
_lists: Final = cycle([*(_document(f"[{each}]") for each in _ONES), _document("[]"), _BUSY])
_changes: Final = cycle([_document("{}"), _MET, _GONE, _BUSY])
_actions: Final = cycle(
    ["started", "stopped", "updated", "renamed", "deleted", "created", "restarted", "migrated"]
)


def _happening() -> bytes:
    source = "/1.0/instances/c1"
    event = {"type": "lifecycle", "metadata": {"action": f"instance-{next(_actions)}", "source": source}}
    return frame(json.dumps(event).encode())


FLIPPING: Final[Mapping[str, Callable[[], Pieces]]] = {
    "another instance": lambda: iter([next(_gets)]),
    "other instances": lambda: iter([next(_lists)]),
    "another end": lambda: iter([next(_changes)]),
    "what happens to it": lambda: iter(_happening, b""),
}
