"""Who shows a certificate that an authority has signed which the system trusts, and is not the server."""

from __future__ import annotations

import asyncio
import os
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import certifi
import pytest

from tests.support.lab.daemon import Daemon

# What hotplugd asks the server with: for answers, and for events.
_ASK: Final = """
import asyncio, sys
from pathlib import Path
from hotplugd.server.events import Identity, lifecycle
from hotplugd.server.client import Lxd
from hotplugd.model.ports import Unreachable
from hotplugd.aio.threads import Threads
address, folder = sys.argv[1], Path(sys.argv[2])
identity = Identity(folder / "pinned.crt", str(folder / "client.crt"), str(folder / "client.key"))
async def events():
    async for _ in lifecycle(address, identity, None):
        return
async def main():
    for work in (Lxd(address, Threads()).connect(), events()):
        try:
            await work
        except Unreachable as error:
            print("refused", error)
        else:
            print("believed")
asyncio.run(main())
"""
# What everybody else asks with, who goes by the system's authorities.
_BELIEVE: Final = """
import ssl, socket, sys, requests
host, port = sys.argv[1].removeprefix("https://").split(":")
with socket.create_connection((host, port)) as channel:
    ssl.create_default_context().wrap_socket(channel, server_hostname=host).close()
print(requests.get(sys.argv[1]).status_code)
"""


def openssl(*words: str | Path) -> None:
    done = subprocess.run(["openssl", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def certificate(folder: Path, name: str, *more: str | Path) -> Path:
    """A certificate and its key in this folder, for 127.0.0.1; its own authority, unless told otherwise."""
    path = folder / f"{name}.crt"
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    names = ["-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"]
    openssl("req", "-x509", *curve, *names, "-keyout", path.with_suffix(".key"), "-out", path, *more)
    return path


@dataclass(frozen=True, slots=True)
class Trust:
    """A home with the pinned certificate, and words before a program that make it trust the authority."""

    home: Path
    folder: Path
    authority: Path
    impostor: Path
    within: Sequence[str]

    @property
    def environment(self) -> dict[str, str]:
        """With which whoever looks for authorities finds this one."""
        found = {**os.environ, "HOME": str(self.home), "SSL_CERT_FILE": str(self.authority)}
        found |= {"REQUESTS_CA_BUNDLE": str(self.authority), "CURL_CA_BUNDLE": str(self.authority)}
        found.pop("LXD_DIR", None)
        return found

    def run(self, script: str, address: str) -> list[str]:
        """The lines that a script prints which trusts the authority."""
        words = [*self.within, sys.executable, "-c", script, address, str(self.folder)]
        done = subprocess.run(
            words, env=self.environment, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()


@pytest.fixture
def trust(root: None, tmp_path: Path) -> Trust:
    home = tmp_path / "home"
    folder = home / ".config" / "lxc"
    (folder / "servercerts").mkdir(parents=True)
    certificate(folder, "client")
    true = certificate(folder, "pinned")
    (folder / "servercerts" / "127.0.0.1.crt").write_bytes(true.read_bytes())
    authority = certificate(tmp_path, "authority")
    signed = ("-CA", authority, "-CAkey", authority.with_suffix(".key"))
    impostor = certificate(tmp_path, "impostor", *signed, "-addext", "basicConstraints=CA:FALSE")
    # The files themselves too, in a mount namespace of its own: requests has a bundle beside the system's.
    bundles = {certifi.where(), ssl.get_default_verify_paths().cafile or certifi.where()}
    binds = "; ".join(f"mount --bind '{authority}' '{each}'" for each in sorted(bundles))
    within = ("unshare", "--mount", "sh", "-ec", f'{binds}; exec "$@"', "sh")
    return Trust(home, folder, authority, impostor, within)


@asynccontextmanager
async def listening(cert: Path, heard: list[bytes]) -> AsyncIterator[str]:
    """Whoever answers with this certificate, and takes any client for what it says; heard: all requests."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                heard.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        except (asyncio.IncompleteReadError, OSError):
            writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, cert.with_suffix(".key"))
    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def answers(trust: Trust, cert: Path) -> tuple[list[str], list[str], list[bytes]]:
    """What everybody else makes of who has this certificate, what hotplugd does, and what hotplugd said."""

    async def meet() -> tuple[list[str], list[str], list[bytes]]:
        heard: list[bytes] = []
        async with listening(cert, heard) as address:
            others = await asyncio.to_thread(trust.run, _BELIEVE, address)
            heard.clear()
            ours = await asyncio.to_thread(trust.run, _ASK, address)
        return others, ours, heard

    return asyncio.run(meet())


def test_who_is_vouched_for_by_an_authority_of_the_systems_is_not_believed(trust: Trust) -> None:
    others, (answer, events), heard = answers(trust, trust.impostor)
    assert others == ["200"]
    assert answer.startswith("refused")
    assert "shows another certificate than the one in" in answer
    assert events.startswith("refused")
    # Neither a request, nor who asks.
    assert heard == []


def test_nor_is_one_who_has_the_authoritys_own_certificate(trust: Trust) -> None:
    others, ours, heard = answers(trust, trust.authority)
    assert others == ["200"]
    assert [each.partition(" ")[0] for each in ours] == ["refused"] * 2
    assert heard == []


def test_the_daemon_says_so(trust: Trust) -> None:
    async def meet() -> None:
        heard: list[bytes] = []
        async with listening(trust.impostor, heard) as address:
            daemon = Daemon(Path(address), "rules: []\n", trust.environment, trust.within)
            text = daemon.config.read_text().replace(f"server: {Path(address)}", f"server: {address}")
            daemon.config.write_text(text)
            try:
                await asyncio.to_thread(daemon.start)
                told = await asyncio.to_thread(daemon.status)
            finally:
                daemon.close()
        assert "shows another certificate than the one in" in str(told["problems"])
        assert heard == []

    asyncio.run(meet())
