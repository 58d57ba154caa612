"""A server that sends us elsewhere, for its events or for what is asked: we go nowhere."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
from pylxd.client import get_session_for_url

from hotplugd.model.ports import Unreachable
from hotplugd.server.events import Identity, lifecycle
from hotplugd.server.transport import Http, Room


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
async def redirecting(
    to: str, path: Path | None, identity: Identity, status: int = 307
) -> AsyncIterator[str]:
    """The address of a server whose every answer leads there."""
    answer = f"HTTP/1.1 {status} Elsewhere\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            # Whatever is asked with a body has `{}` for one.
            await reader.readexactly(2 if b"Content-Length: 2" in head else 0)
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


@pytest.mark.parametrize("over", ["unix", "https"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_nobody_else_is_asked(identity: Identity, tmp_path: Path, over: str, status: int) -> None:
    visits: list[bytes] = []

    async def visited(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visits.append(await reader.read(1 << 16))
        writer.close()

    def ask(address: str) -> list[int]:
        with Http(address if over == "unix" else "", 2, 5.0, Room()) as http:
            if over == "https":
                pinned = get_session_for_url(address, verify=str(identity.server))
                http.verify, http.cert = str(identity.server), (identity.cert, identity.key)
                http.mount_https(address, pinned.get_adapter(address))
            base = address if over == "https" else f"http+unix://{quote(address, safe='')}"
            methods = ("GET", "PATCH", "PUT", "POST", "DELETE")
            return [http.request(each, f"{base}/1.0", json={}).status_code for each in methods]

    async def main() -> list[int]:
        elsewhere = await asyncio.start_server(visited, "127.0.0.1", 0)
        to = f"http://127.0.0.1:{elsewhere.sockets[0].getsockname()[1]}/latest/meta-data"
        path = tmp_path / "socket" if over == "unix" else None
        async with elsewhere, redirecting(to, path, identity, status) as address:
            return await asyncio.to_thread(ask, address)

    assert asyncio.run(main()) == [status] * 5
    assert visits == []
