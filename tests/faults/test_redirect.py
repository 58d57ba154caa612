"""A server that sends us elsewhere for its events: we go nowhere."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hotplugd.model.ports import Unreachable
from hotplugd.server.events import Identity, lifecycle


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    """A certificate and its key, of both sides."""
    cert, key = str(tmp_path / "cert"), str(tmp_path / "key")
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    subprocess.run(
        [*words, "-subj", "/CN=server", "-keyout", key, "-out", cert], check=True, capture_output=True
    )
    return Identity(Path(cert), cert, key)


@asynccontextmanager
async def redirecting(to: str, path: Path | None, identity: Identity) -> AsyncIterator[str]:
    """The address of a server whose every answer leads there."""
    answer = f"HTTP/1.1 307 Temporary Redirect\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (await reader.readuntil(b"\r\n\r\n")).strip():
            writer.write(answer)

    async def caught(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    if path is not None:
        server = await asyncio.start_unix_server(caught, path)
        address = str(path)
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(identity.cert, identity.key)
        server = await asyncio.start_server(caught, "127.0.0.1", 0, ssl=context)
        address = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield address


@pytest.mark.parametrize("over", ["unix", "https"])
@pytest.mark.parametrize("scheme", ["http", "ws"])
def test_events_are_heard_from_nobody_else(
    identity: Identity, tmp_path: Path, over: str, scheme: str
) -> None:
    visits: list[bytes] = []

    async def visited(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visits.append(await reader.read(1 << 16))
        writer.close()

    async def listen() -> None:
        elsewhere = await asyncio.start_server(visited, "127.0.0.1", 0)
        to = f"{scheme}://127.0.0.1:{elsewhere.sockets[0].getsockname()[1]}/latest/meta-data"
        path = tmp_path / "socket" if over == "unix" else None
        async with elsewhere, redirecting(to, path, identity) as address:
            with pytest.raises(Unreachable):
                async for _ in lifecycle(address, None if path else identity, None):
                    pass

    asyncio.run(listen())
    assert visits == []
