"""A connection of the control socket, as aiohttp parses it."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_request import BaseRequest
from aiohttp.web_server import Server

# Bytes of a request's first line, of one of its headers, and of its body.
_LINE: Final = 8190
_BODY: Final = 64 << 10


class Connection(RequestHandler):
    """Takes what a client sends. Targets for which yarl raises other errors than aiohttp expects, such as
    `https://][1@`, are the client's fault and no defect.
    """

    def data_received(self, data: bytes) -> None:
        """Take some bytes."""
        try:
            super().data_received(data)
        except (ValueError, LookupError):
            self.force_close()


def connection(server: Server, logger: logging.Logger) -> RequestHandler:
    """One more connection of a server. logger: as `logger_of` gives it"""
    return Connection(
        server,
        loop=asyncio.get_running_loop(),
        logger=logger,
        access_log=logger,
        tcp_keepalive=False,
        max_line_size=_LINE,
        max_field_size=_LINE,
        lingering_time=0,
        auto_decompress=False,
    )


def request_of(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: RequestHandler,
    writer: AbstractStreamWriter,
    task: asyncio.Task[None],
) -> BaseRequest:
    """The request in what aiohttp parsed."""
    loop = asyncio.get_running_loop()
    if message.url.absolute:
        # Its host does not matter, and aiohttp would decode its name, which fails for `http://xn--/`.
        message = message._replace(url=message.url.relative())
    return BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=_BODY)


class _Defects(logging.Handler):
    """Hands exceptions of handlers to the event loop's handler, and drops what clients did wrong."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop

    def emit(self, record: logging.LogRecord) -> None:
        """Take what aiohttp logs."""
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and not isinstance(error, HttpProcessingError):
            self._loop.call_exception_handler({"message": record.getMessage(), "exception": error})


def logger_of(loop: asyncio.AbstractEventLoop) -> logging.Logger:
    """What aiohttp logs to, for connections of this loop: exceptions of handlers are the loop's."""
    # A logger of its own: the process's loggers stay as they are.
    logger = logging.Logger(__name__, logging.ERROR)  # noqa: LOG001
    logger.addHandler(_Defects(loop))
    return logger
