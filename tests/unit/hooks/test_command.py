"""Commands of hooks that behave badly: they end, and whoever waits is told why."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from hotplugd.hooks import command
from tests.support.lab.wait import ended, eventually


def ran(script: str, limit: float = 5.0, given: bytes = b"") -> str:
    async def bounded() -> str:
        async with asyncio.timeout(20):
            return await command.run(["/bin/sh", "-c", script], {"PATH": os.environ["PATH"]}, given, limit)

    return asyncio.run(bounded())


def test_a_signal_without_a_name_is_told_by_its_number() -> None:
    assert ran("kill -TERM $$") == "it was ended by SIGTERM"
    assert ran("kill -40 $$") == "it was ended by signal 40"


def test_a_command_that_ignores_sigterm_ends_with_all_of_its_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "_GRACE", 0.2)
    left = tmp_path / "left"
    why = ran(f"trap '' TERM; sleep 100 & echo $! >{left}; while :; do wait; done", 0.3)
    assert why == "it ran longer than 0.3 s, and was ended"
    # The kernel ends the others of the group when it gets to them.
    eventually(lambda: ended(int(left.read_text())))


def test_nobody_waits_for_what_is_not_read_or_printed() -> None:
    assert ran("exec 0<&-; exit 3", given=b"x" * (4 << 20)) == "its exit status was 3"
    assert ran("exec >/dev/full; echo x || exit 0", given=b"x" * (4 << 20)) == ""
