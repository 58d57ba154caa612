"""The daemon: signals, reload, readiness, watchdog and the control socket, around a session."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from structlog.typing import FilteringBoundLogger

from hotplugd import __version__
from hotplugd.aio.backoff import Retry
from hotplugd.aio.pace import Pace
from hotplugd.app import endpoints, status_answers, systemd
from hotplugd.app.by_hand import ByHand
from hotplugd.app.control import serve
from hotplugd.app.control_client import ControlError
from hotplugd.app.control_request import ControlRequest, Handler
from hotplugd.app.device_answers import DeviceAnswers
from hotplugd.app.documents import StatusJson
from hotplugd.app.endpoints import Endpoint
from hotplugd.app.event_buffer import EventBuffer
from hotplugd.app.health import health
from hotplugd.app.hook_reports import HookReports
from hotplugd.app.in_force import Settings, texts
from hotplugd.app.lease_orders import LeaseOrders
from hotplugd.app.openapi import openapi
from hotplugd.app.peer_names import Groups, asked_by
from hotplugd.app.refused_clients import RefusedClients
from hotplugd.app.reports import ReloadJson, reload_json
from hotplugd.app.run_once import tell_defect
from hotplugd.app.session import TRIED_AGAIN, Session
from hotplugd.app.settings import Config
from hotplugd.app.settings_reader import SettingsReader, Unreadable
from hotplugd.app.usb_orders import UsbOrders
from hotplugd.host.server_lock import AlreadyRunning
from hotplugd.host.sysfs import boot
from hotplugd.model.ports import ServerError
from hotplugd.model.problem import Problem
from hotplugd.model.text import counted
from hotplugd.rulefile.diagnostics import Diagnostic
from hotplugd.server.discover import find_server

# How often the service manager is told how things are, in seconds, where it does not ask for more.
_TICK: Final = 10.0
# Seconds after which Python's threads give way to each other; by itself it is 5 ms.
_SWITCH: Final = 0.0001
# So many reloads in a row, and then one in so many seconds: after each, every container is looked into.
_RELOADS: Final = (10, 0.5)
_PAUSES: Final = (0.2, 10.0)


class Daemon:
    """Runs sessions until told to end.

    path      the configuration's file, which is read again at each reload
    settings  what it says now, without errors
    events    where the log's events are kept; None: nowhere
    """

    def __init__(
        self,
        path: Path,
        settings: Settings,
        log: FilteringBoundLogger,
        *,
        dry_run: bool = False,
        events: EventBuffer | None = None,
    ) -> None:
        self._path = path
        self._settings = settings
        # The settings before the last reload, in case it fails.
        self._before: Settings | None = None
        self._log = log
        self._dry_run = dry_run
        self._events = events or EventBuffer(boot())
        self._session: Session | None = None
        self._by_hand = ByHand(log, lambda: self._session, dry_run=dry_run)
        self._lease_orders = LeaseOrders(log, lambda: self._session, self._by_hand)
        self._usb_orders = UsbOrders(log, lambda: self._session)
        self._device_answers = DeviceAnswers(lambda: self._session, lambda: self._by_hand.overrides)
        self._retry = Retry()
        self._ready = False
        self._failed_reloads = 0
        self._reload_problem = ""
        self._again = asyncio.Event()
        self._stop = asyncio.Event()
        self._reloads = asyncio.Queue[None](1)
        # Clients that wait for the outcome of a reload that has not begun.
        self._waiting: list[asyncio.Future[ReloadJson]] = []
        self._since = datetime.now(UTC).isoformat(timespec="seconds")
        self._defect = False
        self._refused_clients = RefusedClients(log)
        self._groups = Groups(log)
        self._hooks = HookReports()

    async def run(self) -> int:
        """Run until SIGTERM or SIGINT. Returns the exit code.

        Raises what `Session.run` raises, and ControlError where the control socket cannot be had.
        """
        self._log.info("starting", version=__version__)
        # A thread that has a request to send does not wait for the loop to be done with the next event.
        sys.setswitchinterval(_SWITCH)
        # Imported modules are most of the objects and never garbage: the collector skips them.
        gc.freeze()
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._on_defect)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._on_hangup)
        tasks = (self._sessions(), self._tick(), self._reload_when_told())
        work: list[asyncio.Task[None]] = [loop.create_task(each) for each in tasks]
        stop = loop.create_task(self._stop.wait())
        try:
            await asyncio.wait({*work, stop}, return_when=asyncio.FIRST_COMPLETED)
            for task in work:
                if task.done():
                    await task
            self._log.info("stopping")
            systemd.notify("STOPPING=1")
            return 1 if self._defect else 0
        finally:
            for each in (*work, stop):
                each.cancel()
            await asyncio.gather(*work, stop, return_exceptions=True)
            await self._by_hand.kept.written()

    # --- sessions ---------------------------------------------------------------------------------------

    async def _sessions(self) -> None:
        while True:
            self._again.clear()
            try:
                await self._by(self._settings.config)
            except (ControlError, AlreadyRunning) as error:
                if self._before is None:
                    raise
                self._refuse(str(error))
                # Once: when the old ones cannot be had either, there is nothing to go back to.
                self._settings, self._before = self._before, None
            self._session = None

    async def _by(self, config: Config) -> None:
        """Sessions by one configuration, until it is another."""
        await self._by_hand.load(config.state, "start")
        async with AsyncExitStack() as undo:
            if not self._dry_run:
                grants = await self._groups.granted(config.allow)
                await undo.enter_async_context(
                    serve(config.control, self._handlers(), grants, self._refused_client)
                )
            address = await self._find(config.server)
            if address is not None:
                await self._one(address)

    def _handlers(self) -> Mapping[Endpoint, Handler]:
        """What the control socket offers."""
        return {
            endpoints.STATUS: lambda _: self._status(),
            endpoints.HEALTH: lambda _: health(self._status()),
            endpoints.RULES: lambda _: status_answers.rules(self._settings.rules, self._session, self._since),
            endpoints.POOLS: lambda _: status_answers.pools(self._session),
            endpoints.SETTINGS: lambda _: texts(self._path, self._settings),
            endpoints.OPENAPI: lambda _: openapi(),
            endpoints.EVENTS: lambda asked: status_answers.events(self._events, asked),
            endpoints.STREAM: lambda asked: status_answers.event_lines(self._events, asked),
            endpoints.RELOAD: self._reload,
            **self._by_hand.handlers,
            **self._lease_orders.handlers,
            **self._hooks.handlers,
            **self._usb_orders.handlers,
            **self._device_answers.handlers,
        }

    def _refused_client(self, reason: str) -> None:
        self._refused_clients.refused(reason, asyncio.get_running_loop().time())

    async def _find(self, setting: str) -> str | None:
        """The server's address, as soon as there is one; None where other settings came first."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                address = find_server(setting, os.environ)
            except ServerError as error:
                pause, new = self._retry.failed(str(error), loop.time(), *_PAUSES)
                if new:
                    self._log.warning("server.away", reason=str(error), retry_in=pause)
                self._be_ready()
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._again.wait()
                        return None
            else:
                self._retry.reset()
                return address

    async def _one(self, address: str) -> None:
        """One session, until it fails or other settings ask for another."""
        rules, config, kept = self._settings.rules, self._settings.config, self._by_hand.kept
        overrides, dry_run = kept.state.overrides, self._dry_run
        session = Session(address, rules, self._log, config, kept, overrides=overrides, dry_run=dry_run)
        self._session = session
        self._lease_orders.loaded()
        loop = asyncio.get_running_loop()
        work = loop.create_task(session.run())
        again = loop.create_task(self._again.wait())
        tried = loop.create_task(session.tried.wait())
        tried.add_done_callback(lambda task: None if task.cancelled() else self._be_ready())
        try:
            await asyncio.wait({work, again}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
        finally:
            for task in (work, again, tried):
                task.cancel()
            await asyncio.gather(work, again, tried, return_exceptions=True)

    # --- signals ----------------------------------------------------------------------------------------

    def _on_hangup(self) -> None:
        # Who sent a signal is not told to whoever handles it in an event loop. Of very many one is told.
        if self._reloads.empty():
            self._log.info("reload.asked", by="SIGHUP")
        self._reload_soon()

    def _reload_soon(self) -> None:
        if self._reloads.empty():
            self._reloads.put_nowait(None)

    async def _reload_when_told(self) -> None:
        reader, pace = SettingsReader(self._path), Pace(*_RELOADS)
        loop, told = asyncio.get_running_loop(), self._settings.diagnostics
        while True:
            await self._reloads.get()
            await asyncio.sleep(max(pace.due - loop.time(), 0.0))
            pace.done(loop.time())
            systemd.notify(systemd.reloading())
            before, waiting, self._waiting = self._settings.rules, self._waiting, []
            diagnostics: Sequence[Diagnostic] = ()
            try:
                settings = await reader.read()
            except Unreadable as error:
                self._refuse(str(error))
            else:
                diagnostics = settings.diagnostics
                # Once, for as long as they say the same.
                for each in settings.diagnostics if settings.diagnostics != told else ():
                    self._log.warning(f"reload.{each.severity}", place=each.place, reason=each.message)
                told = settings.diagnostics
                if settings.errors:
                    first = settings.errors[0]
                    self._refuse(
                        f"{counted(len(settings.errors), 'error')} in the files, the first: "
                        f"{first.place}: {first.message}",
                        "`hotplugd check` shows all",
                    )
                else:
                    self._take(settings)
                    await self._by_hand.load(settings.config.state, "reload")
                    self._lease_orders.loaded()
            outcome = reload_json(before, self._settings.rules, diagnostics, self._reload_problem)
            for asked in waiting:
                if not asked.done():
                    asked.set_result(outcome)
            systemd.notify("READY=1\n" + self._summary())

    async def _reload(self, asker: ControlRequest) -> ReloadJson:
        """Read the files again, and say what came of it."""
        self._log.info("reload.asked", **asked_by(await self._by_hand.who(asker.peer)))
        asked: asyncio.Future[ReloadJson] = asyncio.get_running_loop().create_future()
        self._waiting.append(asked)
        self._reload_soon()
        return await asked

    def _refuse(self, reason: str, hint: str = "") -> None:
        self._failed_reloads += 1
        told = f"{reason}; {hint}" if hint else reason
        self._reload_problem = f"reload failed, and the old settings stay in force: {told}"
        self._log.error("reload.failed", reason=reason, **({"hint": hint} if hint else {}))

    def _take(self, settings: Settings) -> None:
        before, self._settings = self._settings, settings
        self._before = before
        self._reload_problem = ""
        is_another = replace(before.config, rules=()) != replace(settings.config, rules=())
        # A group that was not there may have been made.
        if is_another or self._groups.problems:
            self._again.set()
        elif self._session is not None:
            self._session.set_rules(settings.rules)
        self._log.info("reload.done", rules=len(settings.rules.rules))

    def _on_defect(self, _: asyncio.AbstractEventLoop, context: Mapping[str, object]) -> None:
        """Something failed that nobody foresaw: end, loudly, and let the service manager start us afresh."""
        tell_defect(self._log, context)
        self._defect = True
        self._stop.set()

    # --- what others are told ---------------------------------------------------------------------------

    def _be_ready(self) -> None:
        if not self._ready:
            self._ready = True
            self._log.info("ready")
            systemd.notify("READY=1\n" + self._summary())

    async def _tick(self) -> None:
        # Pinged from the loop that does the work: when that is stuck, the service manager hears nothing.
        pause = min(systemd.watchdog_interval() or _TICK, _TICK)
        while True:
            await asyncio.sleep(pause)
            self._refused_clients.tell_over(asyncio.get_running_loop().time())
            systemd.notify("WATCHDOG=1\n" + self._summary())

    def _summary(self) -> str:
        if self._session is None:
            return f"STATUS={self._retry.message or 'starting'}"
        attached, wrong = len(self._session.reconciler.attachments()), len(self._problems())
        who = f"{self._session.server}" if self._session.connected else f"waiting for {self._session.address}"
        return f"STATUS={attached} attached, {counted(wrong, 'problem')}, {who}"

    def _problems(self) -> list[Problem]:
        away = f"{self._retry.message}{TRIED_AGAIN}" if self._retry.message else ""
        own = [text for text in (self._reload_problem, away) if text]
        found = [Problem("", "", text) for text in own] + self._by_hand.problems() + self._groups.problems
        of_session = self._session.problems(TRIED_AGAIN) if self._session is not None else []
        return found + self._hooks.problems() + of_session

    def _status(self) -> StatusJson:
        return status_answers.status(
            self._settings.rules,
            self._session,
            self._by_hand.overrides,
            self._problems(),
            ready=self._ready,
            failed_reloads=self._failed_reloads,
            cursor=self._events.cursor,
        )
