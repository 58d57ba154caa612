"""QEMU's control socket (docs/interop/qmp-spec.txt): commands, and the events of devices."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping
from typing import Final, cast

Json = Mapping[str, object]
_ANSWERS_WITHIN: Final = 20.0


class Refused(Exception):
    """QEMU's answer to a command was an error, or the guest refused; nothing has changed."""


class Gone(Exception):
    """QEMU ended, or does not answer any more."""


class Qmp:
    """Speaks to one machine. Every call raises Gone where that ends meanwhile."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._read = b""
        self._events: list[Json] = []

    def greet(self) -> None:
        """What has to be said first, once."""
        if self._next(time.monotonic() + _ANSWERS_WITHIN) is None:
            raise Gone("QEMU says nothing")
        self.execute("qmp_capabilities")

    def execute(self, command: str, **arguments: object) -> object:
        """Run a command; underscores of its arguments are dashes. Returns its answer. Raises Refused."""
        named = {key.replace("_", "-"): value for key, value in arguments.items()}
        try:
            self._connection.sendall(json.dumps({"execute": command, "arguments": named}).encode())
        except OSError as error:
            raise Gone(str(error)) from error
        end = time.monotonic() + _ANSWERS_WITHIN
        while (message := self._next(end)) is not None:
            if "event" in message:
                self._events.append(message)
            elif "error" in message:
                raise Refused(str(cast("Json", message["error"]).get("desc")))
            else:
                return message["return"]
        raise Gone(f"QEMU does not answer {command}")

    def remove(self, device: str, deadline: float) -> None:
        """Take out the device of this id, which a guest may have to agree to.

        deadline  in seconds, for the guest
        Raises Refused, also where the guest did not agree in time.
        """
        self._events.clear()
        self.execute("device_del", id=device)
        end = time.monotonic() + deadline
        while (event := self._events.pop(0) if self._events else self._next(end)) is not None:
            if cast("Json", event.get("data", {})).get("device") == device:
                if event["event"] == "DEVICE_DELETED":
                    return
                if event["event"] == "DEVICE_UNPLUG_GUEST_ERROR":
                    raise Refused(f"the guest does not let {device} go")
        raise Refused(f"the guest did not let {device} go within {deadline:.0f} s")

    def _next(self, end: float) -> Json | None:
        """The next message; None where none came until `end`, on the monotonic clock."""
        while b"\n" not in self._read:
            left = end - time.monotonic()
            if left <= 0:
                return None
            self._connection.settimeout(left)
            try:
                some = self._connection.recv(1 << 16)
            except TimeoutError:
                return None
            except ConnectionError as error:
                raise Gone(str(error)) from error
            if not some:
                raise Gone("QEMU ended")
            self._read += some
        raw, _, self._read = self._read.partition(b"\n")
        return cast("Json", json.loads(raw))
