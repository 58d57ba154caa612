"""What a session does between the parts that have tests of their own."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import LogCapture

from hotplugd.app.session import Session
from hotplugd.app.settings import Config
from hotplugd.model.ports import Unreachable
from tests.support.devices import ruleset
from tests.support.lab.shortage import no_more_descriptors

# Of an earlier boot: nothing has its number.
_SLOTS = ["c-188-1-1a2b3c4d-1", "c-188-2-1a2b3c4d-2"]


def test_what_is_left_from_before_is_swept_also_where_no_file_could_be_opened_first(tmp_path: Path) -> None:
    logged = LogCapture()
    log: Any = structlog.wrap_logger(None, [logged], structlog.make_filtering_bound_logger(0))

    async def script() -> None:
        session = Session(str(tmp_path / "unix.socket"), ruleset(), log, Config())
        session._left_over.left = list(_SLOTS)
        with no_more_descriptors(), pytest.raises(Unreachable, match="Too many open files"):
            await session._left_over.sweep()
        assert session._left_over.left == _SLOTS
        await session._left_over.sweep()
        assert session._left_over.left == []
        session.reconciler.close()

    asyncio.run(script())
    assert sorted(each["slot"] for each in logged.entries if each["event"] == "slot.swept") == _SLOTS
