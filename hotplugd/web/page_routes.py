"""The page over HTTP: its files, the stream of what is so, and what is said of one tile.

Whoever looks at it can change nothing, and costs the daemon no more than one look in half a second, however
many there are.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from hashlib import blake2b
from importlib import resources
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeVar

from aiohttp import web

from hotplugd.aio.pace import Pace
from hotplugd.aio.threads import NoThread, Threads
from hotplugd.web.daemon import DaemonAway, DaemonClient, Rack
from hotplugd.web.details import ExplainedJson, HistoryJson, SectionJson, happened, history, section
from hotplugd.web.limits import LIMITER
from hotplugd.web.live import Live, Message, Unmade
from hotplugd.web.masking import Masking
from hotplugd.web.page import Names, Page, page

if TYPE_CHECKING:
    from hotplugd.app.device_documents import ExplainJson
    from hotplugd.app.event_views import Event

T = TypeVar("T")

_TYPES: Final = MappingProxyType(
    {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
)
FILES: Final = MappingProxyType(
    {"/": "page.html", **{f"/{name}": name for name in ("page.js", "tiles.js", "page.css", "icon.svg")}}
)
"""The files of the page, by their paths."""
HEADERS: Final = MappingProxyType(
    {
        "Cache-Control": "no-store",
        "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
    }
)
"""What the page may do: nothing but what comes from here."""
NO_DOCUMENT: Final = (
    LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError,
)  # fmt: skip
"""What comes of documents that are not as expected, as those of a daemon of another version."""
# So many questions in a row, and then one in so many seconds.
_QUESTIONS: Final = (10, 0.5)
# And so many at a time: the page and metrics need connections to the daemon, too (daemon.py, `limit`).
_AT_A_TIME: Final = 2
# Seconds between two signs of life.
_STILL: Final = 5.0
# Seconds for the work on documents.
_WORK: Final = 30.0
_MOST_EXPLAINED: Final = 4
_NOT_AS_EXPECTED: Final = "the daemon answers otherwise than expected: is it of another version?"


class PageRoutes:
    """The page of one daemon. client: asks it; serials: whether serial numbers are shown"""

    def __init__(self, client: Callable[[], DaemonClient], *, serials: bool = False) -> None:
        self._client = client
        self._shown = Masking(serials=serials)
        self._key = secrets.token_bytes(16)
        self._questions = Pace(*_QUESTIONS)
        self._asking = asyncio.Semaphore(_AT_A_TIME)
        self._threads: Threads | None = None
        self.live = Live(self._made)

    def add_to(self, app: web.Application) -> None:
        """Have the application serve it."""
        folder = resources.files("hotplugd.web") / "static"
        for path, name in FILES.items():
            app.router.add_get(path, partial(_file, folder.joinpath(name).read_bytes(), name))
        app.router.add_get("/page/stream", self._stream)
        app.router.add_get("/page/explain", self._explain)
        app.router.add_get("/page/history", self._history)
        app.cleanup_ctx.append(self._running)
        app.on_shutdown.append(self._ending)

    async def _running(self, _: web.Application) -> AsyncIterator[None]:
        # One: the texts that may be seen are kept without a lock.
        self._threads = Threads(1)
        running = asyncio.create_task(self.live.run())
        yield
        running.cancel()
        await asyncio.wait([running])
        self._threads.close()

    async def _ending(self, _: web.Application) -> None:
        self.live.close()

    # --- the page ---------------------------------------------------------------------------------------

    async def _made(self) -> Page:
        """The page of now. Raises Unmade."""
        try:
            rack = await self._client().rack()
        except DaemonAway as error:
            raise Unmade(f"the daemon does not answer: {error}") from error
        try:
            return await self._call(partial(_page, rack, self._shown, self._ident))
        except NO_DOCUMENT as error:
            raise Unmade(_NOT_AS_EXPECTED) from error
        except (NoThread, TimeoutError) as error:
            raise Unmade(f"the page cannot be made: {str(error) or 'it takes too long'}") from error

    async def _call(self, work: Callable[[], T]) -> T:
        assert self._threads is not None
        return await self._threads.call(work, _WORK)

    def _ident(self, text: str) -> str:
        """The id of a tile: it says nothing of what it stands for, and is another after a start."""
        return blake2b(text.encode("utf-8", "surrogatepass"), key=self._key, digest_size=12).hexdigest()

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        """What is so, as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html):
        `page` with the page, `stale` with the reason, and `alive` where neither is new.
        """
        if (refused := _foreign(request)) is not None:
            return refused
        response = web.StreamResponse(headers={**HEADERS, "Content-Type": "text/event-stream"})
        with request.app[LIMITER].stream(request) as write:
            await response.prepare(request)
            with suppress(ConnectionError), self.live.watched() as after:
                number = after
                while not self.live.is_closed:
                    message = await self.live.after(number, _STILL)
                    if message is not None:
                        number = message.number
                    elif self.live.page is None:
                        message = self.live.message
                    await write(response.write(_event(message)))
        if request.transport is not None:
            # Do not wait for a client that stops reading.
            request.transport.abort()
        return response

    # --- what is said of one tile -----------------------------------------------------------------------

    async def _explain(self, request: web.Request) -> web.Response:
        return await self._answer(request, self._explained)

    async def _history(self, request: web.Request) -> web.Response:
        return await self._answer(request, self._happened)

    async def _answer(
        self, request: web.Request, answer: Callable[[Names], Awaitable[object]]
    ) -> web.Response:
        """The answer to a question about a tile."""
        if (refused := _foreign(request)) is not None:
            return refused
        now = asyncio.get_running_loop().time()
        if self._questions.due > now:
            return _said(429, "too many questions at a time: ask again in a second")
        self._questions.done(now)
        current = self.live.page
        names = current.names.get(request.query.get("tile", "")) if current is not None else None
        if names is None:
            return _said(404, "nothing is known of that tile now")
        try:
            async with self._asking:
                return web.json_response(await answer(names), headers=HEADERS)
        except (DaemonAway, NoThread, TimeoutError) as error:
            why = str(error) or "the answer takes too long"
        except NO_DOCUMENT:
            why = _NOT_AS_EXPECTED
        return _said(502, await self._call(partial(self._shown, why)))

    async def _explained(self, names: Names) -> ExplainedJson:
        sections: list[SectionJson] = []
        for name in names.devices[:_MOST_EXPLAINED]:
            document = await self._client().explain(name)

            sections.append(await self._call(partial(_section, document, self._shown)))
        return {"sections": sections}

    async def _happened(self, names: Names) -> HistoryJson:
        found: list[Event] = []

        def keep(events: list[Event]) -> None:
            found.extend(happened(events, names))

        is_all = await self._client().events(keep)
        note = "" if is_all else "older events are in the journal: `hotplugd history` has them"

        def told() -> HistoryJson:
            self._shown.learn([dict(each) for each in found])
            return history(found, note, self._shown)

        return await self._call(told)


def _page(rack: Rack, shown: Masking, ident: Callable[[str], str]) -> Page:
    shown.learn_anew(*rack)
    return page(*rack, shown, ident)


def _section(document: ExplainJson, shown: Masking) -> SectionJson:
    shown.learn(document)
    return section(document, shown, serials=shown.serials)


async def _file(body: bytes, name: str, _: web.Request) -> web.Response:
    kind = _TYPES[name.rpartition(".")[2]]
    return web.Response(body=body, headers={**HEADERS, "Content-Type": f"{kind}; charset=utf-8"})


def _event(message: Message | None) -> bytes:
    event, text = (message.event, message.text) if message is not None else ("alive", "")
    lines = "".join(f"data: {line}\n" for line in text.splitlines() or [""])
    return f"event: {event}\n{lines}\n".encode()


def _foreign(request: web.Request) -> web.Response | None:
    """The refusal of what another site's page asks for; None where it is none.

    https://www.w3.org/TR/fetch-metadata/, which browsers send over HTTPS and to loopback alone; elsewhere
    they say where a page is from that may not read the answer.
    """
    is_own = request.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin")
    origin = request.headers.get("Origin", "")
    if is_own and (not origin or origin.partition("://")[2] == request.headers.get("Host")):
        return None
    return _said(403, "a page of another site asks")


def _said(status: int, why: object) -> web.Response:
    return web.json_response({"error": str(why)}, status=status, headers=HEADERS)
