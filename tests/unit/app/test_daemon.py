"""What the daemon keeps over its sessions."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import structlog

from hotplugd.app import endpoints
from hotplugd.app.daemon import Daemon
from hotplugd.app.grants import Allowed
from hotplugd.app.in_force import Settings
from hotplugd.app.peer_names import Groups
from hotplugd.app.settings import Config
from tests.support.devices import ALL

LOG: Any = structlog.wrap_logger(None, [], structlog.make_filtering_bound_logger(50))


def test_a_further_session_makes_no_further_threads(tmp_path: Path) -> None:
    async def made() -> None:
        daemon = Daemon(tmp_path / "config.yaml", Settings(Config(), ALL), LOG)
        before, after = daemon._handlers(), daemon._handlers()
        for each in (endpoints.RESET, endpoints.PORT, endpoints.DEVICES, endpoints.EXPLAIN):
            # Bound methods, which have the same threads where they are of the same object.
            assert before[each] == after[each]

    asyncio.run(made())


def test_the_groups_of_further_settings_make_no_further_threads() -> None:
    async def made() -> None:
        groups = Groups(LOG)
        allow = [Allowed("root", ("read",))]
        await groups.granted(allow)
        first = [*groups._threads._idle]
        await groups.granted(allow)
        assert [*groups._threads._idle] == first

    asyncio.run(made())
