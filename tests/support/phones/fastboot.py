"""What a phone's bootloader speaks (Android: system/core/fastboot/README.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping


class Fastboot:
    """The phone's end.

    variables  what `getvar` answers
    send       takes one transfer for the host
    reboot     is told where to: `bootloader`, or nothing
    """

    def __init__(
        self, variables: Mapping[str, str], send: Callable[[bytes], None], reboot: Callable[[str], None]
    ) -> None:
        self._variables = variables
        self._send = send
        self._reboot = reboot

    def take(self, data: bytes) -> None:
        """One command."""
        name, _, rest = data.decode(errors="replace").partition(":")
        if name == "getvar" and rest in self._variables:
            self._say("OKAY", self._variables[rest])
        elif name in ("reboot", "reboot-bootloader"):
            self._say("OKAY")
            self._reboot(name.partition("-")[2])
        else:
            self._say("FAIL", "unknown")

    def _say(self, kind: str, text: str = "") -> None:
        self._send(f"{kind}{text}".encode()[:64])
