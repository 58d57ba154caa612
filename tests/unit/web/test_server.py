"""Where `hotplugd serve` listens, and which names it goes by."""

from __future__ import annotations

from pathlib import Path

import pytest

from hotplugd.web.server import Listen, has_own_name


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("127.0.0.1:9417", Listen(None, "127.0.0.1", 9417)),
        ("[::1]:80", Listen(None, "::1", 80)),
        ("farm.example:1", Listen(None, "farm.example", 1)),
        ("/run/hotplugd-serve.sock", Listen(Path("/run/hotplugd-serve.sock"))),
    ],
)
def test_where_it_listens(text: str, where: Listen) -> None:
    assert Listen.of(text) == where


@pytest.mark.parametrize(
    "text", ["", "9417", ":9417", "a:", "a:0", "a:65536", "a:x", "a:\u0663", "a:" + "9" * 5000]
)
def test_where_it_cannot_listen(text: str) -> None:
    with pytest.raises(ValueError, match="expected /PATH, HOST:PORT"):
        Listen.of(text)


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("localhost", True), ("LOCALHOST:9417", True), ("127.0.0.1:9417", True), ("[::1]:9417", True),
        ("[::1]", True), ("192.0.2.7", True), ("farm.example:9417", True), ("Farm.Example", True),
        ("evil.example", False), ("evil.example:9417", False), ("", False), ("127.0.0.1.evil.example", False),
        ("localhost.evil.example:9417", False), ("[evil.example]:9417", False),
    ],
)  # fmt: skip
def test_a_page_of_somebody_elses_is_refused(host: str, own: bool) -> None:
    assert has_own_name(host, frozenset({"farm.example"})) is own
