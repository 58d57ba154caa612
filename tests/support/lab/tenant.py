"""Who may edit instances in projects of theirs and nowhere else: by a restricted certificate, over https."""

from __future__ import annotations

import http.client
import os
import ssl
import subprocess
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Final

from tests.support.lab.api import Api
from tests.support.lab.server import Server

_PORT: Final = 18446
_numbers = count(1)
# What a project may be allowed that is restricted. Instances of hotplugd's need char devices.
RESTRICTED: Final = {"restricted": "true", "restricted.devices.unix-char": "allow"}
# With profiles of its own.
OWN: Final = {"features.images": "false", "features.profiles": "true"}


class Tenant(Api):
    """The server's API as such a tenant has it.

    host      the address at which the server answers
    identity  a file with the certificate and the key
    """

    def __init__(self, host: str, identity: Path, timeout: float = 60.0) -> None:
        super().__init__(identity, timeout)
        self._host = host
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # The server is ours, at an address of ours.
        self._context.check_hostname = False
        self._context.verify_mode = ssl.CERT_NONE
        self._context.load_cert_chain(identity)

    def _connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPSConnection(self._host, _PORT, timeout=self._timeout, context=self._context)


def tenant(server: Server, folder: Path, projects: Sequence[str]) -> Tenant:
    """A new tenant of these projects. folder: where the certificate and the key go"""
    # A loopback address of this process's own.
    host = f"127.{64 + os.getpid() % 128}.79.1"
    server.api.request("PATCH", "/1.0", {"config": {"core.https_address": f"{host}:{_PORT}"}})
    name = f"tenant{next(_numbers)}"
    cert, key = folder / f"{name}.crt", folder / f"{name}.key"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    subprocess.run(
        [*words, "-subj", f"/CN={name}", "-keyout", key, "-out", cert], check=True, capture_output=True
    )
    both = folder / f"{name}.pem"
    both.write_text(key.read_text() + cert.read_text())
    body = "".join(cert.read_text().strip().splitlines()[1:-1])
    server.api.request(
        "POST",
        "/1.0/certificates",
        {"type": "client", "name": name, "certificate": body, "restricted": True, "projects": list(projects)},
    )
    return Tenant(host, both)


def project(server: Server, name: str, **more: str) -> None:
    """A new project with profiles of its own and the server's images. more: its configuration besides"""
    api = server.api
    api.request("POST", "/1.0/projects", {"name": name, "config": {**OWN, **more}})
    disk = {"root": {"type": "disk", "path": "/", "pool": "default"}}
    api.request("PATCH", f"/1.0/profiles/default?project={name}", {"devices": disk})
