"""Answers and events of a server that says anything, through pylxd and the adapter as they are."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final, TypeVar, cast
from unittest.mock import patch

import requests
from requests.adapters import BaseAdapter
from urllib3 import HTTPResponse

from hotplugd.aio.threads import Threads
from hotplugd.model.entry import MARKS, is_ours, read, written
from hotplugd.model.ports import Refused, ServerError, ServerInfo
from hotplugd.model.values import Instance
from hotplugd.server.client import Lxd
from hotplugd.server.events import meaning
from hotplugd.server.transport import Http, Room
from tests.fuzz import holds, made
from tests.fuzz.feed import HOSTILE, Feed, as_json

T = TypeVar("T")

_HOST: Final = {
    "type": "sync", "status_code": 200,
    "metadata": {
        "auth": "trusted", "api_extensions": ["device_usb_serial", "pci_hotplug", "projects"],
        "environment": {"server": "lxd", "server_version": "5.0.2", "server_name": "a"},
    },
}  # fmt: skip
_STATUS: Final = (200, 200, 200, 200, 202, 404, 409, 412, 500, 503, 204, 301)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A change that was asked for. said: the instance as it was just before; errors: what was said since."""

    method: str
    body: Any
    said: Any
    errors: Sequence[str]


class _Fed(BaseAdapter):
    """What a session sends to and hears from, instead of a socket. Keeps what was asked to be changed."""

    def __init__(self, feed: Feed, found: Mapping[str, object]) -> None:
        super().__init__()
        self.feed = feed
        self.found = found
        self.changes: list[_Asked] = []
        # Whether it does as it should, so that there is a connection to do worse over.
        self.calm = True
        self._said = b""
        self._errors: list[str] = []

    def send(self, request: requests.PreparedRequest, *_: object, **__: object) -> requests.Response:
        path = (request.url or "").partition("/1.0")[2]
        body = self._body(path)
        if request.method in ("PUT", "PATCH"):
            asked = json.loads(request.body or b"null")
            self.changes.append(_Asked(request.method, asked, json.loads(self._said), tuple(self._errors)))
            self._errors.append(body.decode("utf-8", "replace"))
        elif path.startswith("/instances/box?"):
            self._said = body
        elif path.startswith("/instances?recursion="):  # else it is asked which there are, not how they are
            self._said = _of_box(body) or self._said
        elif path.startswith("/operations"):
            self._errors.append(body.decode("utf-8", "replace"))
        answer = requests.Response()
        answer.request, answer.url = request, request.url or ""
        answer.status_code = 200 if self.calm or not self.feed.chance(4) else self.feed.pick(_STATUS)
        answer.headers["ETag"] = self.feed.pick(("abc", ""))
        answer.raw = HTTPResponse(BytesIO(body), preload_content=False)
        return answer

    def close(self) -> None: ...

    def _body(self, path: str) -> bytes:
        kind = 127 if self.calm else self.feed.byte()
        if kind < 8:
            return self.feed.raw(200)
        if kind < 16:
            return as_json(self.feed.json())
        if kind < 20:
            return b'{"metadata": ' + b"[" * 5000
        body = self._proper(path)
        return as_json(body if kind < 176 else self.feed.warped(body))

    def _proper(self, path: str) -> object:
        if not path.strip("/?"):
            return _HOST
        metadata: object = self.found
        if path.startswith("/operations"):
            metadata = {
                "status_code": self.feed.pick((200, 400, 103)),
                "status": "x",
                "err": self.feed.text(),
            }
        elif "/state" in path:
            metadata = {"pid": self.feed.pick((1234, 1, 0, -1, "7", True, 1 << 70, None))}
        elif path.startswith("/cluster"):
            metadata = [{"server_name": "a", "status": "Online", "message": self.feed.text()}]
        elif path.startswith("/instances?"):
            metadata = [self.found, {"name": "stub", "status": "Error", "location": "b"}]
        elif path.startswith("/projects?"):
            metadata = [{"name": "default"}]
        elif path.startswith("/projects"):
            metadata = ["/1.0/projects/default"] * self.feed.pick((1, 1, 2))
        found = {"type": "sync", "status_code": 200, "metadata": metadata}
        return found | {"error": self.feed.pick((*_ERRORS, self.feed.text())), "error_code": 500}


def _of_box(body: bytes) -> bytes:
    """What a listing says of the instance, as if it had been asked for alone; empty if it says nothing."""
    with suppress(ValueError, TypeError, KeyError, RecursionError):
        for each in json.loads(body)["metadata"]:
            if each["name"] == "box":
                return as_json({"metadata": each})
    return b""


_ERRORS: Final = (
    'Failed to start device "hp-0123456789abcdef": x', "Instance is busy running a start operation",
    "database is locked",
    'Failed to stop device "eth0": Failed to bring down', "Failed to create device /x: file exists",
)  # fmt: skip


class _Here(Threads):
    """Runs what may block at once: nothing blocks here."""

    def __init__(self) -> None:
        self._idle = []

    async def call(self, work: Any, _: float) -> Any:
        return work()


def answers(data: bytes) -> None:
    """Connect, list, ask and change, with a server that answers anything."""
    feed = Feed(data)
    box = made.instance(feed)
    devices: object = {
        each.name: dict(each.config)
        if feed.chance(3)
        else written(each) | feed.pick(({}, {MARKS: feed.text()}))
        for each in box.entries.values()
    }
    if feed.chance(8):
        devices = feed.json()
    found = {
        "name": "box", "project": "default", "status": feed.pick((*["Running", "Stopped"] * 4, "Error")),
        "type": box.kind,
        "devices": devices, "expanded_devices": feed.pick((devices, {}, None)), "description": feed.text(),
        "location": feed.pick(("none", "a")), "config": {"user.note": "x"}, "architecture": "x86_64",
        "ephemeral": False,
        "profiles": ["default"], "stateful": False,
    }  # fmt: skip
    fed = _Fed(feed, found)
    lxd = Lxd("/", _Here())
    with _speaking_to(fed):
        fed.calm = not feed.chance(4)
        with suppress(ServerError):
            assert isinstance(_done(lxd.connect()), ServerInfo)
        for _ in range(1 + feed.byte() % 4):
            fed.calm = feed.chance(6)
            failed: ServerError | None = None
            try:
                _ask(feed, lxd, fed)
            except ServerError as error:
                failed = error
            if failed is not None:
                holds.can_be_shown(str(failed))
                assert len(str(failed)) < 1000
            if isinstance(failed, Refused):
                assert all(each.startswith("hp-") for each in failed.entries)


def _ask(feed: Feed, lxd: Lxd, fed: _Fed) -> None:
    kind = feed.byte() % 9
    if kind == 0:
        for each in asyncio.run(lxd.list()):
            _is_one(each)
    elif kind == 1:
        _is_one(_done(lxd.get(made.BOX)))
    elif kind == 2:
        assert _done(lxd.init(made.BOX)) > 1
    elif kind == 3:
        for member in _done(lxd.members()):
            holds.can_be_shown(member.message)
    elif kind == 4:
        _done(lxd.link(made.BOX, "/dev/by-id/x", feed.pick(("/dev/x", ""))))
    else:
        put = [made.entry(feed)] if feed.chance(2) else []
        put = [each for each in put if is_ours(each)]
        # Of several of which one is not there none would go.
        there = fed.found["devices"]
        remove = [feed.pick((*(there if isinstance(there, dict) else ()), "hp-0123456789abcdef"))]
        del fed.changes[:]
        with suppress(ServerError):
            _done(lxd.apply(made.BOX, put, remove))
        _only_ours_change(fed.changes, {each.name for each in put}, set(remove))


def _only_ours_change(changes: Sequence[_Asked], put: set[str], remove: set[str]) -> None:
    """Whatever is asked of the server, what is not ours stays as the server has just said that it is."""
    for each in changes:
        before = each.said["metadata"]["devices"] or {}
        ours = {name for name, config in before.items() if is_ours(read(name, config))}
        after = each.body["devices"]
        if each.method == "PUT":
            # But for what it takes away of a crash of the server's, which then is ours.
            assert before.keys() - after.keys() <= ours
            assert before.keys() - after.keys() <= remove | _named_by(each.errors)
            rest = {key: each.said["metadata"][key] for key in each.body if key != "devices"}
            assert {key: text for key, text in each.body.items() if key != "devices"} == rest
        for name, config in after.items():
            if before.get(name) != config:
                assert name in put | _named_by(each.errors)
                assert name in ours or name not in before
                assert is_ours(read(name, config))


def _named_by(errors: Sequence[str]) -> set[str]:
    return {name for text in errors for name in re.findall("hp-[0-9a-f]{16}", text)}


def _is_one(found: Instance) -> None:
    texts = [found.id.project, found.id.name, found.description, found.location]
    for entry in (*found.entries.values(), *found.inherited.values()):
        texts += [entry.name, *entry.config, *entry.config.values()]
    assert all(isinstance(each, str) for each in texts)
    assert found.kind in ("container", "virtual-machine")


def _done(work: Coroutine[object, object, T]) -> T:
    """The result of what never has to wait."""
    try:
        work.send(None)
    except StopIteration as end:
        return cast("T", end.value)
    raise AssertionError("it waits")


@contextmanager
def _speaking_to(fed: _Fed) -> Iterator[None]:
    """The adapter's sessions speak to this."""

    def session(socket: str, most: int, longest: float, room: Room) -> Http:
        made_up = Http(socket, most, longest, room)
        made_up.adapters.clear()
        made_up.mount("http+unix://", fed)
        return made_up

    with patch("hotplugd.server.connection.Http", session):
        yield


def events(data: bytes) -> None:
    """Any text, or nearly proper ones, as events."""
    feed = Feed(data[1:])
    if data[:1] < b"\x60":
        text = data[1:].decode("utf-8", "surrogateescape")
    else:
        source = feed.pick(("/1.0/instances/box?project=lab", "/1.0/instances/a%2F..%0A", "//[", feed.text()))
        action = feed.pick(("instance-started", "profile-updated", "instance-renamed", feed.text()))
        event = {
            "type": "lifecycle",
            "metadata": {"action": action, "source": source, "context": {"old_name": feed.text()}},
        }
        text = json.dumps(feed.warped(event))
    for each in meaning(text):
        texts: list[object] = [each.action]
        if each.name is not None:
            texts += [each.name.project, each.name.name]
        assert all(isinstance(text, str) for text in texts)


EVENT_SEEDS: Final = tuple(
    b"\0" + each
    for each in (
        b'{"metadata": {"action": "instance-started", "source": "/1.0/instances/c1?project=p1"}}',
        (
            b'{"metadata": {"action": "instance-renamed", "source": "/1.0/instances/c1", '
            b'"context": {"old_name": "c0"}}}'
        ),
        b"[" * 4000,
        *(each.encode("utf-8", "surrogatepass") for each in HOSTILE),
    )
)
