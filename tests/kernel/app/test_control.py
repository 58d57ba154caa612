"""The control socket: who may ask, what is answered, and what happens to those who misbehave."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import select
import socket
import stat
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from hotplugd.app import control, control_client
from hotplugd.app.control import serve
from hotplugd.app.control_client import ControlError, NotRunning, get, post
from hotplugd.app.control_request import ControlRequest, Handler
from hotplugd.app.endpoints import Endpoint, Method
from tests.support.lab.wait import eventually
from tests.support.serving import serving

_OK = b"HTTP/1.1 200 OK\r\n"
_STATUS = b"GET /1/status HTTP/1.1\r\nHost: x\r\n\r\n"
_waiting: list[int] = []


def _at(name: str, method: Method = "GET") -> Endpoint:
    return Endpoint(method, name, "read", "", dict)


async def _later(_: ControlRequest) -> object:
    await asyncio.sleep(0.5)
    return {"later": True}


async def _never(_: ControlRequest) -> object:
    _waiting.append(1)
    try:
        return await asyncio.Event().wait()
    finally:
        _waiting.pop()


async def _lines() -> AsyncIterator[str]:
    _waiting.append(1)
    try:
        yield json.dumps({"number": 1})
        yield ""
        await asyncio.Event().wait()
    finally:
        _waiting.pop()


_HANDLERS: Mapping[Endpoint, Handler] = {
    _at("status"): lambda _: {"ready": True},
    _at("much"): lambda _: {"much": "x" * (8 << 20)},
    _at("later"): _later,
    _at("never"): _never,
    _at("lines"): lambda _: _lines(),
    _at("text"): lambda _: '{"text": 1}',
    _at("number"): lambda asked: {"number": int(asked.query.get("of", "none"))},
    _at("order", "POST"): lambda asked: {
        "taken": "no" not in asked.body, "peer": list(asked.peer[:2]), "body": asked.body
    },
}  # fmt: skip


@pytest.fixture
def path() -> Iterator[Path]:
    """Where everybody could get to, were it not for the socket's own mode."""
    with tempfile.TemporaryDirectory(prefix="hpc-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder, "control.sock")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "_PATIENCE", 0.2)
    monkeypatch.setattr(control_client, "_PATIENCE", 0.2)


@contextmanager
def connected(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as channel:
        channel.settimeout(10)
        channel.connect(str(path))
        yield channel


def said(path: Path, raw: bytes) -> bytes:
    """What is answered to these bytes, until the other side hangs up."""
    answer = b""
    try:
        with connected(path) as channel:
            channel.sendall(raw)
            while more := channel.recv(1 << 16):
                answer += more
    except ConnectionError:
        return answer
    return answer


def request(method: str, target: str, body: bytes = b"") -> bytes:
    head = f"{method} {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: close\r\n\r\n".encode() + body


def answers(path: Path) -> bool:
    try:
        return get(path, "status") == {"ready": True}
    except ControlError:
        return False


def hung_up(channel: socket.socket) -> bool:
    poll = select.poll()
    poll.register(channel, 0)
    return any(event & select.POLLHUP for _, event in poll.poll(0))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


class TestAnswers:
    def test_each_path_gets_its_own(self, path: Path) -> None:
        with serving(path, _HANDLERS):
            assert get(path, "status") == {"ready": True}
            assert get(path, "number", {"of": "12"}) == {"number": 12}
            assert get(path, "text") == {"text": 1}

    def test_an_order_knows_who_gives_it(self, path: Path) -> None:
        with serving(path, _HANDLERS):
            assert post(path, "order", {"device": "é"}) == {
                "taken": True, "peer": [os.getpid(), os.getuid()], "body": '{"device": "\\u00e9"}',
            }  # fmt: skip
            assert post(path, "order")["body"] == "{}"

    def test_one_that_is_refused_has_another_status_and_its_document(self, path: Path) -> None:
        with serving(path, _HANDLERS):
            assert post(path, "order", {"no": 1})["taken"] is False
            assert b" 409 Conflict" in said(path, request("POST", "/1/order", b"no"))

    @pytest.mark.parametrize(
        ("method", "target", "status", "why"),
        [
            ("GET", "/1/reboot", 404, "nothing is at that path; known: GET /1/status, GET /1/much, "),
            ("GET", "/", 404, "nothing is at that path"),
            ("GET", "/1/status/", 404, "nothing is at that path"),
            ("POST", "/1/status", 405, "/1/status is asked for by GET"),
            ("GET", "/1/order", 405, "/1/order is asked for by POST"),
            ("GET", "/1/number?of=x", 400, "invalid literal"),
            ("GET", "/1/number", 400, "invalid literal"),
        ],
    )
    def test_what_cannot_be_answered_is_an_error(
        self, path: Path, method: str, target: str, status: int, why: str
    ) -> None:
        with serving(path, _HANDLERS):
            head, _, body = said(path, request(method, target)).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 %d " % status)
            assert why in json.loads(body)["error"]

    def test_what_is_sent_is_bounded(self, path: Path) -> None:
        with serving(path, _HANDLERS):
            assert b" 413 " in said(path, request("POST", "/1/order", b"x" * (65 << 10)))
            assert b" 400 " in said(path, request("POST", "/1/order", b"\xff"))
            assert get(path, "status") == {"ready": True}

    @pytest.mark.parametrize("target", ["/1/status", "/1/nothing"])
    def test_who_sends_the_body_later_hears_why_not(self, path: Path, target: str) -> None:
        head, body = request("POST", target, b"{}")[:-2], b"{}"
        with serving(path, _HANDLERS), connected(path) as channel:
            channel.sendall(head)
            # What was answered before the rest comes would be there now.
            assert not select.select([channel], [], [], 0.2)[0]
            channel.sendall(body)
            assert channel.recv(1 << 16).startswith((b"HTTP/1.1 404", b"HTTP/1.1 405"))

    def test_a_long_one_comes_whole(self, path: Path) -> None:
        with serving(path, _HANDLERS):
            assert len(str(get(path, "much")["much"])) == 8 << 20

    def test_lines_come_as_they_become_so(self, path: Path) -> None:
        with serving(path, _HANDLERS):
            with connected(path) as channel:
                channel.sendall(request("GET", "/1/lines"))
                raw = b""
                while not raw.endswith(b"1\r\n\n\r\n"):
                    raw += channel.recv(1 << 16)
                assert b"Content-Type: application/x-ndjson" in raw
                assert b'{"number": 1}\n' in raw
                assert _waiting
            eventually(lambda: not _waiting)

    @pytest.mark.usefixtures("impatient")
    def test_one_that_takes_its_time_is_waited_for_and_holds_up_nobody(self, path: Path) -> None:
        with serving(path, _HANDLERS), ThreadPoolExecutor(1) as pool:
            slow = pool.submit(get, path, "later", long=True)
            assert get(path, "status") == {"ready": True}
            assert not slow.done()
            assert slow.result(10) == {"later": True}

    @pytest.mark.usefixtures("impatient")
    def test_who_does_not_want_to_wait_need_not(self, path: Path) -> None:
        with serving(path, _HANDLERS):
            with pytest.raises(ControlError, match="did not answer within 0 s"):
                get(path, "later")
            assert get(path, "status") == {"ready": True}

    def test_several_requests_may_come_in_one_connection(self, path: Path) -> None:
        with serving(path, _HANDLERS):
            assert said(path, _STATUS * 2 + request("GET", "/1/status")).count(_OK) == 3

    def test_many_who_ask_at_once_are_all_answered(self, path: Path) -> None:
        with serving(path, _HANDLERS), ThreadPoolExecutor(32) as pool:
            found = list(pool.map(lambda _: get(path, "status"), range(64)))
            assert found == [{"ready": True}] * 64


class TestMisbehaviour:
    @pytest.mark.parametrize(
        "raw",
        [
            b"", b"\n", b"status\n", b"\xff\xfe\n", b"\0" * 100, b"GET\r\n\r\n", b"GET  HTTP/1.1\r\n\r\n",
            b"GET /1/status HTTP/9.9\r\n\r\n", b"GET /1/status HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
            b"GET /1/status HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"GET /1/status HTTP/1.1\r\n" + b"x: y\r\n" * 5000 + b"\r\n",
            b"GET /1/" + b"s" * 100_000, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ],
    )  # fmt: skip
    @pytest.mark.usefixtures("impatient")
    def test_garbage_gets_no_document_and_does_no_harm(self, path: Path, raw: bytes) -> None:
        with serving(path, _HANDLERS):
            assert b"ready" not in said(path, raw)
            assert get(path, "status") == {"ready": True}

    @pytest.mark.parametrize(
        ("target", "status"),
        [
            ("http://xn--/1/status", b"200"), ("http://xn--80ak6aa92ehttp/1/status", b"200"),
            ("http://u:p@%ff/1/status", b"200"), ("http://xn--", b"404"), ("https://][1@", b""),
            ("http://[::1", b"400"), ("http://a:b/1/status", b"400"), ("//[x]:y", b"404"),
        ],
    )  # fmt: skip
    @pytest.mark.usefixtures("impatient")
    def test_no_host_in_a_target_is_a_defect(self, path: Path, target: str, status: bytes) -> None:
        with serving(path, _HANDLERS):
            assert said(path, request("GET", target))[9:12] == status

    @pytest.mark.usefixtures("impatient")
    @pytest.mark.parametrize(
        "raw", [b"", b"GET /1/sta", b"POST /1/order HTTP/1.1\r\nContent-Length: 9\r\n\r\nx", _STATUS]
    )
    def test_who_says_no_more_is_hung_up_on(self, path: Path, raw: bytes) -> None:
        with serving(path, _HANDLERS), connected(path) as channel:
            channel.sendall(raw)
            eventually(lambda: hung_up(channel))

    @pytest.mark.usefixtures("impatient")
    def test_who_says_it_byte_by_byte_is_hung_up_on(self, path: Path) -> None:
        with serving(path, _HANDLERS), connected(path) as channel:

            def drip() -> bool:
                try:
                    channel.send(b"x")
                except OSError:
                    return True
                return hung_up(channel)

            channel.sendall(b"GET /1/")
            eventually(drip)

    @pytest.mark.usefixtures("impatient")
    def test_who_takes_no_answer_is_hung_up_on(self, path: Path) -> None:
        with serving(path, _HANDLERS), connected(path) as channel:
            channel.sendall(request("GET", "/1/much"))
            eventually(lambda: hung_up(channel))

    def test_who_holds_all_places_holds_up_nobody_afterwards(self, path: Path) -> None:
        with serving(path, _HANDLERS):
            with ExitStack() as undo:
                for _ in range(64):
                    undo.enter_context(connected(path))
                with pytest.raises(ControlError, match="did not answer"):
                    get(path, "status")
            eventually(lambda: answers(path))

    def test_of_ten_thousand_connections_none_stays(self, path: Path) -> None:
        before = len(os.listdir("/proc/self/fd"))
        with serving(path, _HANDLERS):
            for _ in range(10_000):
                with socket.socket(socket.AF_UNIX) as channel:
                    channel.connect(str(path))
            eventually(lambda: answers(path))
            eventually(lambda: len(os.listdir("/proc/self/fd")) < before + 20)

    def test_who_is_killed_while_waiting_has_no_place_any_more(self, path: Path) -> None:
        with serving(path, _HANDLERS), ExitStack() as undo:
            for _ in range(64):
                undo.enter_context(connected(path)).sendall(request("GET", "/1/never"))
            eventually(lambda: len(_waiting) == 64)
            undo.close()
            eventually(lambda: not _waiting)
            assert get(path, "status") == {"ready": True}

    @pytest.mark.parametrize("target", ["/1/status", "/1/later", "/1/lines", "/1/much", "/1/nothing"])
    def test_who_hangs_up_before_the_answer_is_no_defect(self, path: Path, target: str) -> None:
        with serving(path, _HANDLERS):
            for how in (socket.SHUT_WR, socket.SHUT_RDWR) * 20:
                with connected(path) as channel:
                    channel.sendall(request("GET", target))
                    channel.shutdown(how)
            assert get(path, "status") == {"ready": True}

    def test_those_who_wait_do_not_keep_it_from_ending(self, path: Path) -> None:
        with ExitStack() as undo:
            with serving(path, _HANDLERS):
                for each in ("never", "lines"):
                    undo.enter_context(connected(path)).sendall(request("GET", f"/1/{each}"))
                eventually(lambda: len(_waiting) == 2)
            assert not _waiting

    def test_silent_clients_neither_keep_it_from_ending_nor_are_defects(self, path: Path) -> None:
        with ExitStack() as undo:
            with serving(path, _HANDLERS):
                silent = undo.enter_context(connected(path))
                assert get(path, "status") == {"ready": True}
            eventually(lambda: hung_up(silent))

    @pytest.mark.parametrize("turns", range(6))
    def test_one_that_comes_as_it_ends_is_hung_up_on(self, path: Path, turns: int) -> None:
        async def run(channel: socket.socket) -> None:
            async with serve(path, _HANDLERS):
                channel.connect(str(path))
                for _ in range(turns):
                    await asyncio.sleep(0)

        # What nobody closed would be closed by the collector, at some time.
        gc.disable()
        try:
            with socket.socket(socket.AF_UNIX) as channel:
                asyncio.run(run(channel))
                assert hung_up(channel)
        finally:
            gc.enable()


class TestWhoMayAsk:
    def test_the_socket_is_its_owners_alone_whatever_the_umask(self, path: Path) -> None:
        before = os.umask(0)
        try:
            with serving(path, _HANDLERS):
                assert mode(path) == 0o600
        finally:
            assert os.umask(before) == 0, "the umask was changed"

    def test_folders_that_it_needs_are_made_for_its_owner_alone(self, path: Path) -> None:
        deep = path.parent / "run" / "control.sock"
        with serving(deep, _HANDLERS):
            assert mode(deep.parent) == 0o700


class TestItsPlace:
    def test_it_is_gone_afterwards(self, path: Path) -> None:
        with serving(path, _HANDLERS):
            assert path.is_socket()
        assert not path.exists()
        with pytest.raises(NotRunning, match="hotplugd is not running"):
            get(path, "status")

    def test_one_that_a_crash_left_is_replaced(self, path: Path) -> None:
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(path))
            left.listen()
        with pytest.raises(NotRunning):
            get(path, "status")
        with serving(path, _HANDLERS):
            assert get(path, "status") == {"ready": True}

    def test_one_that_answers_stays(self, path: Path) -> None:
        with serving(path, _HANDLERS):
            with pytest.raises(ControlError, match="another hotplugd answers on"), serving(path, _HANDLERS):
                pass
            assert get(path, "status") == {"ready": True}

    def test_one_whose_owner_is_busy_stays(self, path: Path) -> None:
        with socket.socket(socket.AF_UNIX) as busy:
            busy.bind(str(path))
            busy.listen(0)
            with connected(path), pytest.raises(ControlError), serving(path, _HANDLERS):
                pass
            assert path.is_socket()

    @pytest.mark.parametrize("kind", ["file", "folder", "link"])
    def test_what_is_no_socket_stays_and_is_told(self, path: Path, kind: str) -> None:
        if kind == "file":
            path.write_text("precious")
        elif kind == "folder":
            path.mkdir()
        else:
            path.symlink_to("precious")
        before = path.lstat().st_ino
        with (
            pytest.raises(ControlError, match="is in the way of the control socket"),
            serving(path, _HANDLERS),
        ):
            pass
        assert path.lstat().st_ino == before

    def test_a_place_that_cannot_be_is_told(self, path: Path) -> None:
        path.write_text("")
        deep = path / "run" / "control.sock"
        with (
            pytest.raises(ControlError, match=f"cannot make .* {deep}: Not a directory"),
            serving(deep, _HANDLERS),
        ):
            pass

    def test_anothers_in_its_place_is_left_alone_at_the_end(self, path: Path) -> None:
        with serving(path, _HANDLERS):
            path.unlink()
            path.write_text("another's")
        assert path.read_text() == "another's"
