"""Who asks, by the kernel's word."""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
import threading
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from hotplugd.aio.threads import Threads
from hotplugd.app import peer_names
from hotplugd.app.grants import DEFAULT_ALLOW, VERBS, Allowed, Grants
from hotplugd.app.peer import Peer
from hotplugd.app.peer_names import asked_by, asker, resolved, who_asks
from hotplugd.model.asker import Asker
from hotplugd.model.problem import Problem


@pytest.fixture
def login(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What the kernel says of who logged in, by the process's number."""
    told: dict[str, str] = {}

    def read(path: Path, encoding: str) -> str:
        assert encoding == "ascii"
        return told[path.parent.name]

    monkeypatch.setattr(Path, "read_text", read)
    return told


def test_a_user_and_who_logged_in_have_their_names(login: dict[str, str]) -> None:
    login["7"] = "1"
    assert asker(Peer(7, 0)) == Asker(0, "root", pwd.getpwuid(1).pw_name)
    login["7"] = "4294967295"
    assert asker(Peer(7, 0)) == Asker(0, "root")
    login["7"] = "4294967294"
    assert asker(Peer(7, 4294967293)) == Asker(4294967293, "", "4294967294")
    login["7"] = ""
    assert asker(Peer(7, 0)) == Asker(0, "root")


def test_of_a_process_that_is_gone_the_user_is_known() -> None:
    assert asker(Peer(1 << 30, 0)) == Asker(0, "root")


def test_names_that_cannot_be_had_soon_are_done_without() -> None:
    class Slow(Threads):
        async def call(self, work: object, deadline: float) -> object:  # type: ignore[override]
            del work, deadline
            raise TimeoutError

    async def run() -> Asker:
        return await who_asks(Slow(), Peer(os.getpid(), 0))

    assert asyncio.run(run()) == Asker(0)


def test_an_event_says_no_more_than_is_known() -> None:
    assert asked_by(Asker(7)) == {"by": "uid 7", "uid": 7}
    assert asked_by(Asker(0, "root", "bob")) == {
        "by": "uid 0 (root), logged in as bob", "uid": 0, "user": "root", "login": "bob",
    }  # fmt: skip


def test_groups_of_a_directory_that_does_not_answer_hold_up_nobody_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(peer_names, "_PATIENCE", 0.2)
    go_on = threading.Event()

    def look(name: str) -> grp.struct_group:
        if name == "none":
            raise KeyError(name)
        go_on.wait(10)
        raise KeyError(name)

    monkeypatch.setattr(grp, "getgrnam", look)
    names = [*(f"far-{number}" for number in range(40)), "none", "0", "0", "7"]

    async def run() -> tuple[list[int], list[str], float]:
        start = time.monotonic()
        grants, problems = await resolved(Threads(64), [Allowed(name, ("read",)) for name in names])
        return (
            [gid for gid, _ in grants.by_group],
            [each.message for each in problems],
            time.monotonic() - start,
        )

    try:
        gids, problems, seconds = asyncio.run(run())
    finally:
        go_on.set()
    assert (gids, len(problems), seconds < 2) == ([0, 0, 7], 41, True)
    assert "it is not known whether this host has a group 'far-0', so nobody" in problems[0]
    assert "this host has no group 'none'" in problems[40]


async def _resolved(allow: Iterable[Allowed]) -> tuple[Grants, list[Problem]]:
    return await resolved(Threads(4), allow)


def test_a_group_that_only_the_default_names_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def look(name: str) -> grp.struct_group:
        raise KeyError(name)

    monkeypatch.setattr(grp, "getgrnam", look)
    grants, problems = asyncio.run(_resolved(DEFAULT_ALLOW))
    assert (grants, problems) == (Grants(by_default=True), [])
    explicit = [Allowed("hotplugd", ("read", "reload"))]
    assert len(asyncio.run(_resolved(explicit))[1]) == 1


def test_the_default_lets_the_group_read_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        grp, "getgrnam", lambda name: grp.struct_group((name, "x", {"hotplugd": 990}.get(name, 991), []))
    )
    grants, problems = asyncio.run(_resolved(DEFAULT_ALLOW))
    member = grants.of(Peer(1, 61000, frozenset({990})))
    assert [verb for verb in VERBS if member.may(verb)] == ["read"]
    theirs = grants.of(Peer(1, 61000, frozenset({991})))
    assert [verb for verb in VERBS if theirs.may(verb)] == ["read", "hooks"]
    assert problems == []
