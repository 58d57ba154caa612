"""A server that sends us elsewhere, for its events or for an answer: we go nowhere."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from pylxd.client import Cert, get_session_for_url

from hotplugd.aio.threads import Threads
from hotplugd.model.ports import ServerError, Unreachable
from hotplugd.model.values import InstanceName
from hotplugd.server import connection
from hotplugd.server.client import Lxd
from hotplugd.server.events import Identity, lifecycle
from hotplugd.server.transport import Http, Room
from tests.faults.test_answers import CALLS
from tests.support.lab.container import Container
from tests.support.lab.faults import Say, answer
from tests.support.lab.proxy import Fault, Proxy
from tests.support.lab.server import Server


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    """A certificate and its key, of both sides."""
    cert, key = str(tmp_path / "cert"), str(tmp_path / "key")
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    subprocess.run(
        [*words, "-subj", "/CN=server", "-keyout", key, "-out", cert], check=True, capture_output=True
    )
    return Identity(Path(cert), cert, key)


def redirect(status: int, to: str) -> bytes:
    return answer(b"", status, "Elsewhere", more=f"Location: {to}\r\nConnection: close\r\n")


@asynccontextmanager
async def redirecting(
    to: str, path: Path | None, identity: Identity, status: int = 307
) -> AsyncIterator[str]:
    """The address of a server whose every answer leads there."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        # Whatever is asked with a body has `{}` for one.
        await reader.readexactly(2 if b"Content-Length: 2" in head else 0)
        writer.write(redirect(status, to))

    async def caught(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await serve(reader, writer)
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


@asynccontextmanager
async def elsewhere() -> AsyncIterator[tuple[str, list[bytes]]]:
    """An address without its scheme that nobody has a reason to ask, and what was said there."""
    visits: list[bytes] = []

    async def visited(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visits.append(await reader.read(1 << 16))
        writer.close()

    async with await asyncio.start_server(visited, "127.0.0.1", 0) as server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}/latest/meta-data", visits


@pytest.mark.parametrize("over", ["unix", "https"])
@pytest.mark.parametrize("scheme", ["http", "ws"])
def test_events_are_heard_from_nobody_else(
    identity: Identity, tmp_path: Path, over: str, scheme: str
) -> None:
    async def listen() -> None:
        path = tmp_path / "socket" if over == "unix" else None
        async with (
            elsewhere() as (to, visits),
            redirecting(f"{scheme}://{to}", path, identity) as address,
        ):
            with pytest.raises(Unreachable):
                async for _ in lifecycle(address, None if path else identity, None):
                    pass
            assert visits == []

    asyncio.run(listen())


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


@pytest.fixture
def pinned(identity: Identity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Keeps the server's certificate beside ours, as `lxc remote add` does."""

    def keep(address: str) -> None:
        folder = tmp_path / "servercerts"
        folder.mkdir()
        (folder / f"{urlsplit(address).hostname}.crt").write_bytes(identity.server.read_bytes())

    monkeypatch.setattr(connection, "DEFAULT_CERTS", Cert(identity.cert, identity.key))
    return keep


@pytest.mark.parametrize("over", ["unix", "https"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_request_goes_to_nobody_else(
    identity: Identity, pinned: Callable[[str], None], tmp_path: Path, over: str, status: int
) -> None:
    async def connect() -> None:
        path = tmp_path / "socket" if over == "unix" else None
        async with (
            elsewhere() as (to, visits),
            redirecting(f"http://{to}", path, identity, status) as address,
        ):
            if path is None:
                pinned(address)
            lxd = Lxd(address, Threads())
            with pytest.raises(ServerError):
                await lxd.connect()
            lxd.close()
            assert visits == []

    asyncio.run(connect())


@pytest.mark.parametrize("call", CALLS)
def test_nor_does_one_to_a_server_that_answered_before(
    server: Server, container: Container, tmp_path: Path, call: str
) -> None:
    to, do = CALLS[call]

    async def ask(proxy: Proxy) -> None:
        lxd = Lxd(str(proxy.socket), Threads())
        await lxd.connect()
        async with elsewhere() as (place, visits):
            sent_away = Fault(Say(redirect(307, f"http://{place}")), to)
            with proxy.fault(sent_away) as (fault,), pytest.raises(ServerError):
                await do(lxd, InstanceName("default", container.name))
            # A listing asks once for each project.
            assert fault.met >= 1
            assert visits == []
        lxd.close()

    with Proxy(tmp_path / "p", server.socket) as proxy:
        asyncio.run(ask(proxy))
