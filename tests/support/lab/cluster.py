"""A cluster of three private servers on this machine, each at a loopback address of its own."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Final, Self, cast

from tests.support.lab.api import Api, Json
from tests.support.lab.container import Container
from tests.support.lab.server import Manager, Server, Software, software
from tests.support.lab.wait import eventually

_PORT: Final = 18443
# A token is taken where a password once was.
_TOKEN_KEYS: Final[Mapping[Software, str]] = {"lxd": "cluster_password", "incus": "cluster_token"}


class _Member(Server):
    """A server whose pool and image are the cluster's."""

    def initialise(self) -> None:
        """Nothing: the first member does it for all."""


class Cluster:
    """Members m1, m2 and m3. Entering it takes some 3 s; leaves nothing behind, as `Server`."""

    def __init__(self, size: int = 3) -> None:
        self.members = [_Member() for _ in range(size)]
        # Several clusters may be on one machine: each process has loopback addresses of its own.
        net = 64 + os.getpid() % 128
        self._addresses = [f"127.{net}.77.{number}:{_PORT}" for number in range(1, size + 1)]
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            for member in self.members:
                undo.enter_context(member)
            self._form()
            self._undo = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Containers can be deleted only while all members answer, and the first member holds the database.
        for member in self.members:
            member.start_again()
        with ExitStack() as undo:
            undo.push(self._undo)
            for container in self.members[0].containers():
                container.delete()

    def name(self, number: int) -> str:
        """What the cluster calls its member of this number, from 0 on."""
        return f"m{number + 1}"

    def launch(self, name: str, number: int, *, start: bool = True) -> Container:
        """A new container on the member of this number."""
        first = self.members[0]
        container = Container(first.api, name)
        first.api.request(
            "POST",
            f"/1.0/instances?target={self.name(number)}",
            {"name": name, "source": {"type": "image", "fingerprint": first.image}},
        )
        if start:
            container.start()
        return container

    def move(self, container: Container, number: int) -> None:
        """Move a container that does not run to another member."""
        self.members[0].api.request(
            "POST",
            f"/1.0/instances/{container.name}?target={self.name(number)}",
            {"name": container.name, "migration": True},
        )

    def states(self) -> dict[str, str]:
        """What the first member says of each."""
        found = self.members[0].api.list("/1.0/cluster/members?recursion=1")
        return {str(each["server_name"]): str(each["status"]) for each in found}

    def offline_after(self, seconds: int) -> None:
        """Count a member as offline when it was not heard for so long; LXD takes no less than 11."""
        threshold = {"cluster.offline_threshold": str(seconds)}
        self.members[0].api.request("PATCH", "/1.0", {"config": threshold})

    def _form(self) -> None:
        first = self.members[0].api
        first.request("PATCH", "/1.0", {"config": {"core.https_address": self._addresses[0]}})
        first.request("PUT", "/1.0/cluster", {"server_name": self.name(0), "enabled": True})
        Manager.initialise(self.members[0])
        environment = cast("Json", first.get("/1.0")["environment"])
        for number, member in enumerate(self.members[1:], 1):
            token = _token(first, self.name(number))
            member.api.request(
                "PUT",
                "/1.0/cluster",
                {
                    "server_name": self.name(number),
                    "server_address": self._addresses[number],
                    "enabled": True,
                    "cluster_address": self._addresses[0],
                    "cluster_certificate": environment["certificate"],
                    _TOKEN_KEYS[software()]: token,
                    "member_config": [
                        {"entity": "storage-pool", "name": "default", "key": "source", "value": ""}
                    ],
                },
            )
        eventually(lambda: set(self.states().values()) == {"Online"})


def _token(first: Api, name: str) -> str:
    """What lets a new member of this name join: what the clients make of the answer."""
    made = first.begin("POST", "/1.0/cluster/members", {"server_name": name})
    token = {
        "server_name": made["serverName"],
        "fingerprint": made["fingerprint"],
        "addresses": made["addresses"],
        "secret": made["secret"],
        "expires_at": made.get("expiresAt", "0001-01-01T00:00:00Z"),
    }
    return base64.b64encode(json.dumps(token).encode()).decode()
