"""The control socket from both ends, the injecting program, and what containers have in their files."""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import re
import shutil
import socket
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Final

from hotplugd.aio.helper_loop import DONE, serve_one
from hotplugd.app.control import serve
from hotplugd.app.control_client import ControlError, get
from hotplugd.app.control_request import ControlRequest, Forbidden, Handler, Unavailable
from hotplugd.app.endpoints import HEALTH, RELOAD, STATUS, STREAM, Endpoint
from hotplugd.container import inject_helper, root
from hotplugd.container.id_map import outside_of_root
from tests.fuzz.feed import HOSTILE, Feed, as_json

_STATUS: Final = {"ready": True}


async def _order(request: ControlRequest) -> dict[str, object]:
    """An order that is refused as the body says."""
    told = json.loads(request.body or "{}")
    if not isinstance(told, dict):
        raise ValueError("no object")  # noqa: TRY004
    if (refused := _REFUSED.get(str(told.get("refuse")))) is not None:
        raise refused("not now")
    return {"taken": told.get("taken") is not False}


async def _lines(count: int) -> AsyncIterator[str]:
    for number in range(count):
        yield json.dumps({"event": number})


_REFUSED: Final = {"forbidden": Forbidden, "unavailable": Unavailable, "value": ValueError}
_HANDLERS: Final[Mapping[Endpoint, Handler]] = {
    STATUS: lambda _: _STATUS,
    HEALTH: lambda request: {"health": request.query.get("health", "")},
    STREAM: lambda request: _lines(len(request.query.get("after", "")) % 50),
    RELOAD: _order,
}


def folder() -> str:
    """One for as long as this process lives."""
    path = tempfile.mkdtemp(prefix="hpf-")
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


class _Daemon:
    """A control socket that is served in another thread, as long as this process lives."""

    def __init__(self) -> None:
        self.path = Path(folder(), "control.sock")
        self.defects: list[object] = []
        ready = threading.Event()

        async def run() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: self.defects.append(context))
            async with serve(self.path, _HANDLERS):
                ready.set()
                await asyncio.Event().wait()

        threading.Thread(target=lambda: asyncio.run(run()), daemon=True).start()
        ready.wait(10)


_daemon = cache(_Daemon)


def requests(data: bytes) -> None:
    """Any bytes to the control socket: an HTTP response or none, and the next client is answered."""
    daemon = _daemon()
    with socket.socket(socket.AF_UNIX) as channel:
        channel.settimeout(5)
        channel.connect(str(daemon.path))
        answer = b""
        try:
            channel.sendall(data)
            channel.shutdown(socket.SHUT_WR)
            while more := channel.recv(1 << 16):
                answer += more
        except (BrokenPipeError, ConnectionResetError):
            answer = b""
    # aiohttp answers in the version that the client names.
    assert not answer or answer.startswith(b"HTTP/")
    assert b"ready" not in answer or b"/1/status" in data
    assert get(daemon.path, "status") == _STATUS
    assert daemon.defects == []


class _Liar:
    """Somebody at the socket's place who answers anything."""

    def __init__(self) -> None:
        self.path = Path(folder(), "control.sock")
        self.answer = b""
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(self.path))
        self._socket.listen(16)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            channel, _ = self._socket.accept()
            with channel:
                channel.recv(256)
                try:
                    channel.sendall(self.answer)
                except OSError:
                    continue


_liar = cache(_Liar)


def replies(data: bytes) -> None:
    """Any bytes, or nearly a proper document, as the daemon's answer."""
    liar = _liar()
    feed = Feed(data[1:])
    body = as_json(feed.warped({"ready": feed.json()}))
    heads = (b"HTTP/1.0 200 OK\r\n\r\n", b"HTTP/1.0 409 No\r\nContent-Type: application/json\r\n\r\n")
    liar.answer = data[1:] if data[:1] < b"\x80" else feed.pick(heads) + body
    failed: ControlError | None = None
    try:
        assert isinstance(get(liar.path, "status"), dict)
    except ControlError as error:
        failed = error
    assert failed is None or "did not answer within" not in str(failed), "it waited in vain"


def injections(data: bytes) -> None:
    """Any message with any descriptors to the program that has privileges: always one answer, and no harm."""
    feed = Feed(data)
    own = _own_network()
    makers: tuple[Callable[[], int], ...] = (
        lambda: os.open("/proc/self/ns/net", os.O_RDONLY),
        lambda: os.open("/proc/self/ns/user", os.O_RDONLY),
        lambda: os.open("/dev/null", os.O_RDWR),
        lambda: os.memfd_create("fuzz"),
        lambda: os.dup(own),
    )
    given = [feed.pick(makers)() for _ in range(feed.pick((1, 1, 1, 0, 2, 6)))]
    kernel, libudev = feed.raw(60), feed.raw(60)
    message = inject_helper.request(feed.pick((0, 1000, 0xFFFFFFFF)), kernel, libudev)
    message = feed.pick(
        (message, message[: feed.byte()], feed.rest(), message[:4] + b"\xff" * 4 + message[8:])
    )
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    before = os.stat("/proc/thread-self/ns/net").st_ino
    with ours, theirs:
        socket.send_fds(ours, [message], given)
        for each in given:
            os.close(each)
        held = _descriptors()
        served = serve_one(theirs, inject_helper.LIMITS, inject_helper.handler(own))
        assert _descriptors() == held, "a descriptor was left open"
        assert served == bool(message)
        if served:
            answer = ours.recv(1 << 16, socket.MSG_DONTWAIT)
            assert 0 < len(answer) <= inject_helper.LIMITS.answer
            assert answer != DONE, "it spoke into the host's own namespace"
    assert os.stat("/proc/thread-self/ns/net").st_ino == before


@cache
def _own_network() -> int:
    return os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


class _Container:
    """A folder that is a container's root, with a file of users that the container wrote."""

    def __init__(self) -> None:
        self.path = Path(folder())
        (self.path / "etc").mkdir()
        self.file = os.open(self.path / "etc" / "passwd", os.O_RDWR | os.O_CREAT)
        self.root = os.open(self.path, os.O_PATH | os.O_DIRECTORY)


_container = cache(_Container)


def users(data: bytes) -> None:
    """Any bytes as a container's file of users and as the map of them, and any text as a path inside."""
    box = _container()
    paths = Feed(data).several(Feed(data[1:]).text, 3)
    process = os.open("/proc/self", os.O_PATH | os.O_DIRECTORY)
    seen = root.look(os.dup(box.root), process, [*paths, "/etc/passwd"], [], [])
    assert {path: node for path, node in seen.nodes.items() if node is not None and node.devnum} == {}
    assert seen.nodes["/etc/passwd"] is not None
    os.ftruncate(box.file, 0)
    os.pwrite(box.file, data, 0)
    found = root._ids(box.root, "/etc/passwd", ["root", "ci", "a.b"])
    assert found.keys() == {"root", "ci", "a.b"}
    assert all(number is None or 0 <= number < 2**32 - 1 for number in found.values())
    lines = re.findall(r"[0-9]{1,9} [0-9]{1,9} [0-9]{1,9}", data.decode("ascii", "ignore"))
    user = outside_of_root(lines)
    assert user is None or user >= 0
    assert (user is None) == (not any(line.split()[0].strip("0") == "" for line in lines))


_HEAD: Final = b" HTTP/1.1\r\nHost: x\r\n"


def _posted(body: bytes) -> bytes:
    """An order."""
    return b"POST /1/reload" + _HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body


REQUEST_SEEDS: Final = (
    b"GET /1/status" + _HEAD + b"\r\n", b"GET /1/status HTTP/1.0\r\n\r\n", b"GET /1/status", b"\n",
    b"s" * 300,
    *(_posted(b'{"refuse": "%s"}' % each.encode()) for each in _REFUSED),
    *(_posted(each) for each in (b'{"taken": false}', b"", b"[]", b"\xff", b"[" * 3000)),
    b"GET /1/health?health=down" + _HEAD + b"\r\n", b"GET /1/events/stream?after=12345" + _HEAD + b"\r\n",
    b"POST /1/status" + _HEAD + b"Content-Length: 2\r\n\r\n{}", b"GET /1/x?after=%ff" + _HEAD + b"\r\n",
    b"GET /1/status" + _HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", b"\xff\r\n\r\n",
    b"GET /1/status" + _HEAD + b"Upgrade: x\r\nConnection: upgrade\r\n\r\n",
)  # fmt: skip
_OK: Final = b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n"
REPLY_SEEDS: Final = (
    *(
        b"\0" + each
        for each in (
            _OK + b"{}", _OK + b'{"error": "no"}', _OK + b"[]", b"7",
            _OK + b"[" * 3000, _OK + b'{"a": ' * 900,
            b"HTTP/1.0 500 x\r\nContent-Length: 9\r\n\r\n",
        )
    ),
    *(b"\0" + _OK + json.dumps({"error": each}).encode() for each in HOSTILE),
)  # fmt: skip
USER_SEEDS: Final = (
    b"root:x:0:0:root:/root:/bin/sh\nci:x:1000:1000::/:/bin/sh\n", b"root:x:99999999999:0\n",
    b"a.b:x:4294967295:\n",
    b"0 100000 65536\n", b"1 2 3\n0 4294967295 1\n", b":::::\n" * 50,
)  # fmt: skip
