"""The control socket: who may ask, what is answered, and what happens to those who misbehave."""

from __future__ import annotations

import asyncio
import gc
import os
import re
import select
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from hotplugd.app import control
from hotplugd.app.control import ControlError, NotRunning, Peer, ask, serve
from tests.support.lab.wait import eventually

_NOBODY = 65534


async def _later() -> object:
    await asyncio.sleep(0.3)
    return {"later": True}


async def _slow() -> object:
    await asyncio.sleep(0.5)
    return {"slow": True}


_waiting: list[int] = []


async def _never() -> object:
    _waiting.append(1)
    try:
        return await asyncio.Event().wait()
    finally:
        _waiting.pop()


_QUESTIONS: Mapping[str, Callable[[], object]] = {
    "status": lambda: {"ready": True},
    "other": lambda: {"other": 1},
    "much": lambda: "x" * (8 << 20),
    "later": _later,
    "slow": _slow,
    "never": _never,
}


def _number(text: str) -> object:
    return {"number": int(text)}


_ABOUT: Mapping[str, Callable[[str], object]] = {"number": _number}


def _order(peer: Peer, text: str) -> object:
    return {"peer": [*peer], "text": text}


_ORDERS: Mapping[str, Callable[[Peer, str], object]] = {"order": _order}
_ANSWER = b'{"answer": {"ready": true}}'
_CLIENT = """
import socket, sys
channel = socket.socket(socket.AF_UNIX)
try:
    channel.connect(sys.argv[1])
except OSError as error:
    sys.exit(type(error).__name__)
channel.sendall(b"status\\n")
print(channel.makefile().read())
"""


@pytest.fixture
def path() -> Iterator[Path]:
    """Where everybody could get to, were it not for the socket's own mode."""
    with tempfile.TemporaryDirectory(prefix="hpc-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder, "control.sock")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "_PATIENCE", 0.2)


@contextmanager
def serving(path: Path) -> Iterator[None]:
    """Serve in another thread, with nothing that the daemon would end by."""
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
    defects: list[Mapping[str, object]] = []

    async def run() -> None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        loop.set_exception_handler(lambda _, context: defects.append(context))
        try:
            async with serve(path, _QUESTIONS, _ABOUT, _ORDERS):
                started.set_result((loop, stop))
                await stop.wait()
        except ControlError as error:
            started.set_exception(error)

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    try:
        loop, stop = started.result(10)
        try:
            yield
        finally:
            loop.call_soon_threadsafe(stop.set)
    finally:
        thread.join(3)
    assert not thread.is_alive(), "it does not end"
    assert defects == []


@contextmanager
def connected(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as channel:
        channel.settimeout(10)
        channel.connect(str(path))
        yield channel


def said(path: Path, raw: bytes, *, end: bool = True) -> bytes:
    """What is answered to these bytes, until the other side hangs up."""
    answer = b""
    try:
        with connected(path) as channel:
            channel.sendall(raw)
            if end:
                channel.shutdown(socket.SHUT_WR)
            while more := channel.recv(1 << 16):
                answer += more
    except ConnectionError:
        return answer
    return answer


def hung_up(channel: socket.socket) -> bool:
    poll = select.poll()
    poll.register(channel, 0)
    return any(event & select.POLLHUP for _, event in poll.poll(0))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


class TestAnswers:
    def test_each_question_gets_its_own(self, path: Path) -> None:
        with serving(path):
            assert ask(path, "status") == {"ready": True}
            assert ask(path, "other") == {"other": 1}
            assert said(path, b"status\n", end=False) == _ANSWER

    def test_what_it_does_not_know_is_refused_with_what_it_knows(self, path: Path) -> None:
        with (
            serving(path),
            pytest.raises(
                ControlError, match="unknown question; known: status, other, much, later, slow, never, number"
            ),
        ):
            ask(path, "reboot")

    def test_a_long_one_comes_whole(self, path: Path) -> None:
        with serving(path):
            assert len(said(path, b"much\n")) == (8 << 20) + len('{"answer": ""}')

    def test_one_may_be_about_something(self, path: Path) -> None:
        with serving(path):
            assert ask(path, "number 12") == {"number": 12}
            for wrong in ("number", "number x", "number 1 2"):
                with pytest.raises(ControlError, match="invalid literal"):
                    ask(path, wrong)
            with pytest.raises(ControlError, match="unknown question"):
                ask(path, "status now")

    @pytest.mark.usefixtures("impatient")
    def test_one_that_takes_its_time_is_waited_for_and_holds_up_nobody(self, path: Path) -> None:
        with serving(path), ThreadPoolExecutor(1) as pool:
            slow = pool.submit(ask, path, "slow", long=True)
            assert ask(path, "status") == {"ready": True}
            assert not slow.done()
            assert slow.result(10) == {"slow": True}

    def test_only_the_first_line_counts(self, path: Path) -> None:
        with serving(path):
            assert said(path, b"status\nother\n") == _ANSWER

    def test_many_who_ask_at_once_are_all_answered(self, path: Path) -> None:
        with serving(path), ThreadPoolExecutor(16) as pool:
            assert list(pool.map(lambda _: said(path, b"status\n"), range(16))) == [_ANSWER] * 16


class TestMisbehaviour:
    @pytest.mark.parametrize(
        "raw", [b"", b"\n", b"status", b"\xff\xfe\n", b"\0" * 100, b'{"status": 1}\n', b"STATUS\n"]
    )
    def test_garbage_gets_no_answer_and_does_no_harm(self, path: Path, raw: bytes) -> None:
        with serving(path):
            assert b"answer" not in said(path, raw)
            assert ask(path, "status") == {"ready": True}

    def test_a_line_without_end_is_hung_up_on_at_once(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(control, "_PATIENCE", 60)
        with serving(path):
            assert said(path, b"status" * (1 << 18), end=False) == b""
            assert ask(path, "status") == {"ready": True}

    @pytest.mark.usefixtures("impatient")
    def test_who_says_nothing_is_hung_up_on(self, path: Path) -> None:
        with serving(path):
            assert said(path, b"", end=False) == b""

    @pytest.mark.usefixtures("impatient")
    def test_who_takes_no_answer_is_hung_up_on(self, path: Path) -> None:
        with serving(path), connected(path) as channel:
            channel.sendall(b"much\n")
            eventually(lambda: hung_up(channel))

    @pytest.mark.usefixtures("impatient")
    def test_who_stays_after_the_answer_is_hung_up_on(self, path: Path) -> None:
        with serving(path), connected(path) as channel:
            channel.sendall(b"status\n")
            eventually(lambda: hung_up(channel))

    def test_who_holds_all_places_holds_up_nobody_afterwards(self, path: Path) -> None:
        with serving(path):
            with ExitStack() as undo:
                for _ in range(64):
                    undo.enter_context(connected(path))
                with pytest.raises(ControlError, match="did not answer"):
                    ask(path, "status")
            eventually(lambda: said(path, b"status\n") == _ANSWER)

    def test_who_is_killed_while_waiting_has_no_place_any_more(self, path: Path) -> None:
        with serving(path), ExitStack() as undo:
            for _ in range(16):
                undo.enter_context(connected(path)).sendall(b"never\n")
            eventually(lambda: len(_waiting) == 16)
            undo.close()
            eventually(lambda: not _waiting)
            assert ask(path, "status") == {"ready": True}

    def test_who_has_nothing_more_to_say_is_answered(self, path: Path) -> None:
        with serving(path):
            assert said(path, b"slow\n") == b'{"answer": {"slow": true}}'

    def test_silent_clients_neither_keep_it_from_ending_nor_are_defects(self, path: Path) -> None:
        with ExitStack() as undo:
            with serving(path):
                silent = undo.enter_context(connected(path))
                assert ask(path, "status") == {"ready": True}
            eventually(lambda: hung_up(silent))

    @pytest.mark.parametrize("turns", range(6))
    def test_one_that_comes_as_it_ends_is_hung_up_on(self, path: Path, turns: int) -> None:
        async def run(channel: socket.socket) -> None:
            async with serve(path, _QUESTIONS):
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
            with serving(path):
                assert mode(path) == 0o600
        finally:
            assert os.umask(before) == 0, "the umask was changed"

    def test_folders_that_it_needs_are_made_for_its_owner_alone(self, path: Path) -> None:
        deep = path.parent / "run" / "control.sock"
        with serving(deep):
            assert mode(deep.parent) == 0o700

    @pytest.mark.usefixtures("root")
    def test_others_cannot_connect(self, path: Path) -> None:
        with serving(path):
            assert _as_nobody(path) == "PermissionError"

    @pytest.mark.usefixtures("root")
    def test_others_that_get_a_connection_all_the_same_are_refused(self, path: Path) -> None:
        with serving(path):
            path.chmod(0o666)
            assert _as_nobody(path) == f'{{"error": "user {_NOBODY} may not ask; root may"}}'
            assert ask(path, "status") == {"ready": True}


def _as_nobody(path: Path) -> str:
    # Debian's Python: the tests' own may be where only root can go.
    done = subprocess.run(
        ["/usr/bin/python3", "-c", _CLIENT, str(path)], user=_NOBODY, group=_NOBODY, extra_groups=[],
        capture_output=True, text=True, check=False, cwd="/",
    )  # fmt: skip
    return (done.stdout + done.stderr).strip()


class TestItsPlace:
    def test_it_is_gone_afterwards(self, path: Path) -> None:
        with serving(path):
            assert path.is_socket()
        assert not path.exists()
        with pytest.raises(NotRunning, match=re.escape(f"not running (nobody answers on {path})")):
            ask(path, "status")

    def test_one_that_a_crash_left_is_replaced(self, path: Path) -> None:
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(path))
            left.listen()
        with pytest.raises(NotRunning):
            ask(path, "status")
        with serving(path):
            assert ask(path, "status") == {"ready": True}

    def test_one_that_answers_stays(self, path: Path) -> None:
        with serving(path):
            with pytest.raises(ControlError, match="another hotplugd answers on"), serving(path):
                pass
            assert ask(path, "status") == {"ready": True}

    def test_one_whose_owner_is_busy_stays(self, path: Path) -> None:
        with socket.socket(socket.AF_UNIX) as busy:
            busy.bind(str(path))
            busy.listen(0)
            with connected(path), pytest.raises(ControlError), serving(path):
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
        with pytest.raises(ControlError, match="is in the way of the control socket"), serving(path):
            pass
        assert path.lstat().st_ino == before

    def test_a_place_that_cannot_be_is_told(self, path: Path) -> None:
        path.write_text("")
        deep = path / "run" / "control.sock"
        with pytest.raises(ControlError, match=f"cannot make .* {deep}: Not a directory"), serving(deep):
            pass

    def test_anothers_in_its_place_is_left_alone_at_the_end(self, path: Path) -> None:
        with serving(path):
            path.unlink()
            path.write_text("another's")
        assert path.read_text() == "another's"


class TestWhoAsks:
    @pytest.mark.parametrize(
        ("reply", "said"),
        [
            (b"", "did not answer: it hung up"),
            (b'{"answer": {"ready": true, "att', "31 bytes that are none: the answer breaks off"),
            (b"HTTP/1.1 400 Bad Request", "24 bytes that are none: what answers there is no hotplugd"),
            (b"\xff\xfe{", "3 bytes that are none"),
            (b"[" * 100_000, "100000 bytes that are none"),
            (b"[]", "found other JSON: is it another version?"),
            (b"{}", "found other JSON: is it another version?"),
            (b'{"answer": 1}', "found other JSON: is it another version?"),
            (b'{"error": {}}', "found other JSON: is it another version?"),
            (b'{"error": "\\u001b[2J\\u202e\\n"}', r"answered: \x1b[2J\u202e\x0a"),
        ],
    )
    def test_an_answer_that_is_none_is_told_in_words(self, path: Path, reply: bytes, said: str) -> None:
        with socket.socket(socket.AF_UNIX) as other, ThreadPoolExecutor(1) as pool:
            other.bind(str(path))
            other.listen()
            asked = pool.submit(ask, path, "status")
            client, _ = other.accept()
            with client:
                assert client.recv(64) == b"status\n"
                client.sendall(reply)
            with pytest.raises(ControlError, match=re.escape(said)) as found:
                asked.result(10)
        text = str(found.value)
        assert f"hotplugd on {path}" in text
        assert "line 1 column" not in text
        assert text.isprintable()

    def test_a_question_that_nobody_takes_is_not_asked(self, path: Path) -> None:
        with serving(path):
            assert ask(path, f"order {'x' * 8185}")["text"] == "x" * 8185
            with pytest.raises(ControlError, match="longer than the 8192 bytes that hotplugd takes"):
                ask(path, f"order {'x' * 8186}")

    @pytest.mark.usefixtures("impatient")
    def test_nobody_waits_for_ever_for_an_answer_that_comes_byte_by_byte(self, path: Path) -> None:
        told = threading.Event()

        def drip() -> None:
            client, _ = slow.accept()
            with client, suppress(BrokenPipeError):
                while not told.wait(0.05):
                    client.sendall(b" ")

        with socket.socket(socket.AF_UNIX) as slow, ThreadPoolExecutor(1) as pool:
            slow.bind(str(path))
            slow.listen()
            dripping = pool.submit(drip)
            try:
                with pytest.raises(ControlError, match="did not answer within 0 s; `systemctl status"):
                    ask(path, "status")
            finally:
                told.set()
            dripping.result(5)

    def test_an_answer_without_end_is_taken_up_to_its_bound_and_is_none(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(control, "_PATIENCE", 60)
        taken: list[int] = []

        def pour() -> None:
            client, _ = endless.accept()
            with client, suppress(OSError):
                client.sendall(b'{"answer": "')
                while True:
                    taken.append(client.send(b"x" * (1 << 20)))

        with socket.socket(socket.AF_UNIX) as endless, ThreadPoolExecutor(1) as pool:
            endless.bind(str(path))
            endless.listen()
            pouring = pool.submit(pour)
            with pytest.raises(ControlError, match="an answer of more than 64 MiB, which none is"):
                ask(path, "status")
            pouring.result(10)
        # What was on its way then is the kernel's: a socket's buffer.
        assert 64 << 20 <= sum(taken) < 66 << 20

    @pytest.mark.usefixtures("impatient")
    def test_nobody_waits_for_an_answer_for_ever(self, path: Path) -> None:
        with socket.socket(socket.AF_UNIX) as hung:
            hung.bind(str(path))
            hung.listen()
            with pytest.raises(ControlError, match="did not answer within 0 s; `systemctl status"):
                ask(path, "status")


@pytest.mark.usefixtures("impatient")
def test_an_answer_may_take_its_time(path: Path) -> None:
    with serving(path):
        assert ask(path, "later", long=True) == {"later": True}
        with pytest.raises(ControlError, match="did not answer"):
            ask(path, "later")
        assert ask(path, "status") == {"ready": True}


def test_an_order_is_told_who_gives_it(path: Path) -> None:
    with serving(path):
        code = (
            "import sys; from pathlib import Path; from hotplugd.app.control import ask; import os;"
            "print(os.getpid(), ask(Path(sys.argv[1]), 'order two words'))"
        )
        done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
        pid, _, answer = done.stdout.strip().partition(" ")
        assert answer == str({"peer": [int(pid), os.getuid()], "text": "two words"})
        assert ask(path, "order") == {"peer": [os.getpid(), os.getuid()], "text": ""}
        with pytest.raises(
            ControlError, match="known: status, other, much, later, slow, never, number, order"
        ):
            ask(path, "orders")
