"""Converging once, and the log of a defect."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping

from structlog.typing import FilteringBoundLogger

from hotplugd.aio.threads import Threads
from hotplugd.app.in_force import Settings
from hotplugd.app.kept_state import KeptState
from hotplugd.app.session import Session
from hotplugd.server.discover import find_server


def tell_defect(log: FilteringBoundLogger, context: Mapping[str, object]) -> None:
    """Log an unexpected exception, as asyncio describes it."""
    error = context.get("exception")
    reason = str(context.get("message"))
    log.critical("defect", reason=reason, exc_info=error if isinstance(error, BaseException) else None)


async def converge(settings: Settings, log: FilteringBoundLogger, *, dry_run: bool = False) -> int:
    """Converge once. Returns 0 where everything is as it should be then, else 1.

    Raises ServerError where no server is found, and what `Session.run` raises.
    """
    config = settings.config
    address = find_server(config.server, os.environ)
    kept = KeptState(log, Threads(), dry_run=dry_run)
    await kept.load(config.state)
    state = kept.state
    session = Session(
        address,
        settings.rules,
        log,
        config,
        kept,
        overrides=state.overrides,
        cordons=state.cordons,
        dry_run=dry_run,
    )
    loop = asyncio.get_running_loop()
    defects: list[Mapping[str, object]] = []

    def on_defect(_: asyncio.AbstractEventLoop, context: Mapping[str, object]) -> None:
        tell_defect(log, context)
        defects.append(context)

    loop.set_exception_handler(on_defect)
    work, tried = loop.create_task(session.run()), loop.create_task(session.tried.wait())
    try:
        await asyncio.wait({work, tried}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            await work
        problems = session.problems()
        # Problems of devices were logged by the reconciler.
        for each in problems:
            if not each.device:
                log.error("instance.problem", reason=each.message)
        left = [] if dry_run else session.reconciler.pending()
        return 1 if problems or left or defects else 0
    finally:
        work.cancel()
        tried.cancel()
        await asyncio.gather(work, tried, return_exceptions=True)
