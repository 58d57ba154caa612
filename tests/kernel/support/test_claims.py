"""Two tests never have one console, whatever namespaces they are in; and nothing is left of a claim."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.lab.claims import claims

_OTHER = """
from tests.support.lab.claims import claims
print([number for number, _ in claims("usb", range(60000, 60004))])
"""


def others(project: Path, *within: str) -> str:
    """Which numbers another process can have."""
    words = [*within, sys.executable, "-c", _OTHER]
    return subprocess.run(words, cwd=project, check=True, capture_output=True, text=True).stdout.strip()


def test_what_one_has_no_other_gets_until_it_is_closed(project: Path) -> None:
    mine = dict(claims("usb", range(60000, 60004)))
    assert list(mine) == [60000, 60001, 60002, 60003]
    assert list(claims("usb", range(60000, 60004))) == []
    assert others(project) == "[]"
    for number, claim in claims("tty", range(60000, 60001)):
        assert number == 60000
        claim.close()
    for claim in mine.values():
        claim.close()
        claim.close()
    assert others(project) == "[60000, 60001, 60002, 60003]"


@pytest.mark.usefixtures("root")
def test_a_network_namespace_makes_no_difference(project: Path) -> None:
    with next(claims("usb", range(60000, 60001)))[1]:
        assert others(project, "unshare", "--net", "--") == "[60001, 60002, 60003]"
    assert others(project, "unshare", "--net", "--") == "[60000, 60001, 60002, 60003]"
