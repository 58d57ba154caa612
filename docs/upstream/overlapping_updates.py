#!/usr/bin/env python3
"""Shows that LXD 5.0.2 forgets one of two updates of an instance that overlap, whatever their ETags say.

Usage, as root: overlapping_updates.py SOCKET INSTANCE

SOCKET    path of the server's unix socket
INSTANCE  name of an instance in the default project; it gets the keys user.first and user.second, and the
          device entry `overlap`

Exit status: 0 when an update was lost, 1 when the server refused the second update or kept both.
"""

from __future__ import annotations

import http.client
import json
import socket
import sys
import time
from pathlib import Path


class Connection(http.client.HTTPConnection):
    """A connection to the server's unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("server", timeout=30)
        self._path = path

    def connect(self) -> None:
        """Connect to the path instead of a host."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


def main(path: str, instance: str) -> int:
    """Overlap two updates; return the exit status."""
    url = f"/1.0/instances/{instance}"

    def ask(method: str, body: str | None = None) -> http.client.HTTPResponse:
        connection = Connection(path)
        connection.request(method, url, body)
        return connection.getresponse()

    # The second update begins: the server reads the instance, compares the ETag, and waits for the body.
    body = json.dumps({"config": {"user.second": "2"}}).encode()
    second = Connection(path)
    second.putrequest("PATCH", url)
    second.putheader("If-Match", ask("GET").headers["ETag"])
    second.putheader("Content-Length", str(len(body)))
    second.endheaders(body[:1])
    time.sleep(1)

    # The first update comes and goes meanwhile. A server that holds the instance's lock lets it wait.
    first = Connection(path)
    entry = {"type": "unix-char", "source": "/dev/null", "path": "/dev/overlap"}
    change = {"config": {"user.first": "1"}, "devices": {"overlap": entry}}
    first.request("PATCH", url, json.dumps(change))
    time.sleep(1)

    second.send(body[1:])
    print("second update:", second.getresponse().status)
    print("first update:", first.getresponse().status)
    config = json.loads(ask("GET").read())["metadata"]["config"]
    if "user.first" in config:
        print("the server kept the first update: it does not have the fault")
        return 1
    print("the first update was answered with 200, and is lost")
    for file in sorted(Path(path).parent.glob(f"devices/{instance}/unix.overlap.*")):
        print("the server keeps, without an entry:", file)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
