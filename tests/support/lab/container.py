"""One container of the private LXD."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

from tests.support.lab import inside
from tests.support.lab.api import Api, Json, ServerError, metadata_of
from tests.support.lab.patience import patiently

# A container without a network namespace of its own.
HOSTS_NETWORK = {"security.privileged": "true", "raw.lxc": f"lxc.namespace.share.net={os.getpid()}"}


@dataclass(frozen=True, slots=True)
class Done:
    """A program that ran inside: its exit code and what it wrote."""

    code: int
    output: str


class Container:
    """What `lxc` does to a container, over the API; every call is done when it returns."""

    def __init__(self, api: Api, name: str, project: str = "default") -> None:
        self.api = api
        self.name = name
        self.project = project
        self._pid = 0

    def __str__(self) -> str:
        return self.name if self.project == "default" else f"{self.project}/{self.name}"

    # --- life -------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._change("start")

    def stop(self) -> None:
        """Pull its plug."""
        self._change("stop")

    def restart(self) -> None:
        self._change("restart")

    def freeze(self) -> None:
        self._change("freeze")

    def unfreeze(self) -> None:
        self._change("unfreeze")

    def delete(self) -> None:
        """Away with it, running or not."""
        patiently(self._away)

    def _away(self) -> None:
        with suppress(ServerError):  # it is stopped, or busy
            self.stop()
        self.api.request("DELETE", self._url())

    def rename(self, name: str) -> None:
        """Rename it, which the server only does to a stopped one."""
        self.api.request("POST", self._url(), {"name": name})
        self.name = name

    def copy(self, name: str) -> Container:
        """A stopped copy, with everything that a copy takes along."""
        before = self.config
        config = cast("Mapping[str, str]", before["config"])
        body = {
            "name": name,
            "source": {"type": "copy", "source": self.name, "project": self.project},
            # As the `lxc copy` client does.
            "config": {key: config[key] for key in config if not key.startswith("volatile.")},
            **{key: before[key] for key in ("devices", "profiles", "ephemeral", "description")},
        }
        self.api.request("POST", f"/1.0/instances?project={self.project}", body)
        return Container(self.api, name, self.project)

    def snapshot(self, name: str) -> None:
        self.api.request("POST", self._url("/snapshots"), {"name": name})

    def description_of(self, snapshot: str) -> str:
        """What a snapshot has for a description: the instance's own in Incus from 6.16 on, else none."""
        found = self.api.get(self._url(f"/snapshots/{snapshot}"))
        return str(found.get("description", ""))

    def restore(self, name: str) -> None:
        """Back to a snapshot; a container that runs is restarted by the server."""
        self._pid = 0
        self.api.request("PUT", self._url(), {"restore": name})

    # --- configuration ----------------------------------------------------------------------------------

    @property
    def config(self) -> Json:
        """The whole of what the server has, as `GET /1.0/instances/<name>` answers."""
        return self.api.get(self._url())

    @property
    def own_config(self) -> dict[str, str]:
        """Its own configuration keys, without its profiles'."""
        return cast("dict[str, str]", self.config["config"])

    @property
    def devices(self) -> dict[str, dict[str, str]]:
        """Its own device entries, without its profiles'."""
        return cast("dict[str, dict[str, str]]", self.config["devices"])

    def patch(self, body: Mapping[str, object]) -> None:
        """Change what is named. The description is sent along, since the server forgets it otherwise."""
        self.api.request("PATCH", self._url(), {"description": self.config["description"], **body})

    def remove_device(self, name: str, *, unchanged: bool = False) -> bool:
        """Take a device entry away, as `lxc config device remove` does. Returns whether it was there.

        unchanged  only where nobody changed the instance since it was read, as the command does
        """
        before, etag = self.api.get_with_etag(self._url())
        entries = cast("dict[str, dict[str, str]]", before["devices"])
        devices = {each: entry for each, entry in entries.items() if each != name}
        kept = ("architecture", "config", "description", "ephemeral", "profiles")
        body = {**{key: before[key] for key in kept}, "devices": devices}
        self.api.request("PUT", self._url(), body, {"If-Match": etag} if unchanged else {})
        return name in entries

    # --- inside -----------------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """Its init's process on the host, asked for once a start."""
        if not self._pid:
            self._pid = cast("int", self.api.get(self._url("/state"))["pid"])
            assert self._pid > 0, f"container {self} does not run"
        return self._pid

    def forget_pid(self) -> None:
        """Its init is another one by now, for a reason that was not ours."""
        self._pid = 0

    def look(self, path: str) -> inside.Seen | None:
        """The device node at a path inside, or None."""
        return inside.look(self.pid, path)

    def nodes(self) -> dict[str, inside.Seen]:
        """Every device node below /dev inside."""
        return inside.nodes(self.pid)

    def interfaces(self) -> set[str]:
        """The names of its network interfaces."""
        return set(os.listdir(f"/proc/{self.pid}/root/sys/class/net"))

    def run(self, *words: str) -> Done:
        """Run a program inside and wait for it; the output is both streams, standard output first."""
        body = {"command": list(words), "record-output": True, "interactive": False}
        done = metadata_of(self.api.request("POST", self._url("/exec"), body))
        output = cast("Mapping[str, str]", done.get("output") or {})
        text = "".join(self.api.text(f"{output[key]}?project={self.project}") for key in sorted(output))
        return Done(cast("int", done.get("return", -1)), text)

    # --- inner workings ---------------------------------------------------------------------------------

    def _url(self, below: str = "") -> str:
        return f"/1.0/instances/{self.name}{below}?project={self.project}"

    def _change(self, action: str) -> None:
        self._pid = 0
        self.api.request("PUT", self._url("/state"), {"action": action, "force": True, "timeout": 30})
