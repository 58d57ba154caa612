"""Two tests never have one console, whatever namespaces they are in; and nothing is left of a claim."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.lab.claims import claim, claims, in_turn
from tests.support.lab.wait import eventually, steadily

_OTHER = """
from tests.support.lab.claims import claims
print([number for number, _ in claims("usb", range(60000, 60004))])
"""


def is_free(number: int) -> bool:
    """Whether no test has it."""
    for _, found in claims("usb", [number]):
        found.close()
        return True
    return False


def others(project: Path, *within: str) -> str:
    """Which numbers another process can have."""
    words = [*within, sys.executable, "-c", _OTHER]
    return subprocess.run(words, cwd=project, check=True, capture_output=True, text=True).stdout.strip()


def test_what_one_has_no_other_gets_until_it_is_closed(project: Path) -> None:
    mine = dict(claims("usb", range(60000, 60004)))
    assert list(mine) == [60000, 60001, 60002, 60003]
    assert list(claims("usb", range(60000, 60004))) == []
    assert others(project) == "[]"
    for number, other in claims("tty", range(60000, 60001)):
        assert number == 60000
        other.close()
    for each in mine.values():
        each.close()
        each.close()
    assert others(project) == "[60000, 60001, 60002, 60003]"


@pytest.mark.usefixtures("root")
def test_a_network_namespace_makes_no_difference(project: Path) -> None:
    with next(claims("usb", range(60000, 60001)))[1]:
        assert others(project, "unshare", "--net", "--") == "[60001, 60002, 60003]"
    assert others(project, "unshare", "--net", "--") == "[60000, 60001, 60002, 60003]"


def test_the_last_of_those_that_share_one_has_it_alone() -> None:
    with claim("usb", 60000, shared=True) as mine:
        with claim("usb", 60000, shared=True) as other:
            assert not mine.make_sole()
            assert not other.make_sole()
        assert mine.make_sole()
        assert not is_free(60000)
    assert is_free(60000)


def test_who_wants_one_alone_waits_and_keeps_those_waiting_who_ask_later() -> None:
    number = 60000
    with ThreadPoolExecutor(2) as threads:
        first, second = (in_turn("usb", number, alone=False) for _ in range(2))
        alone = threads.submit(in_turn, "usb", number, alone=True)
        # It is the one who is next: the number behind is what its turn is.
        eventually(lambda: not is_free(number + 1))
        later = threads.submit(in_turn, "usb", number, alone=False)
        first.close()
        steadily(lambda: not alone.done() and not later.done(), 0.05)
        second.close()
        with alone.result(20):
            steadily(lambda: not later.done(), 0.05)
        later.result(20).close()
