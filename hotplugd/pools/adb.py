"""What an adb server says of phones, and what to do about it. Pure.

A server that listens is asked by its own protocol, and never by the program `adb`: that would start a server
where there is none, and end the one of the job where its version is another (adb's adb_client.cpp).

The request is four hex digits, its length, and `host:devices-l`; the answer `OKAY`, likewise a length,
and a line a device: its serial number, padded, its state, and `usb:1-1.4` with others of its kind (adb's
SERVICES.TXT and transport.cpp).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from hotplugd.model.text import quoted

_SERVICE: Final = "host:devices-l"
REQUEST: Final = f"{len(_SERVICE):04x}{_SERVICE}".encode()
_PORT: Final = 5037

COMMANDS: Final = (
    ("bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{_PORT} || exit 1; cat >&3; exec cat <&3"),
    ("nc", "127.0.0.1", str(_PORT)),
)
"""What connects to the server that listens inside, the first that is there. Each reads `REQUEST` and writes
the answer, and neither starts anything.
"""

_HEAD: Final = 8
_MOST_PHONES: Final = 256
_NO_SERIAL: Final = "(no serial number)"
_USB: Final = re.compile(r"(?:^| )usb:([0-9]+-[0-9.]+)(?= |$)", re.ASCII)
_STATE: Final = re.compile(r"no permissions|[a-z]+", re.ASCII)

READY: Final = "device"
_WHAT_TO_DO: Final[Mapping[str, str]] = MappingProxyType(
    {
        "unauthorized": "the phone does not know the key of the adb server inside: allow it on its screen, "
        "always, or have the pool put in a key that its phones know (`files`); an adb server that started "
        "before that key was inside has another one: `adb kill-server`",
        "authorizing": "the phone is asked whether it knows the adb key inside; wait",
        "connecting": "adb connects; wait",
        "offline": "it does not answer adb: `adb reconnect offline` inside, else restart the phone",
        "recovery": "the phone is in recovery: `adb reboot`, unless that is meant",
        "rescue": "the phone is in rescue mode: `adb reboot`, unless that is meant",
        "sideload": "the phone waits for an update: finish it, or `adb reboot`",
        "bootloader": "the phone is in its boot loader: `fastboot reboot`, unless that is meant",
        "detached": "adb has let go of it: `adb attach` inside",
        "no permissions": "the adb server inside may not open the node: run it as root, or give the rule the "
        "`group` and `mode` that it needs",
    }
)


@dataclass(frozen=True, slots=True)
class Phone:
    """A phone as an adb server lists it. port: as the kernel calls it, 1-1.4; empty where it does not say."""

    serial: str
    state: str
    port: str


def listed(answer: bytes) -> list[Phone] | None:
    """The phones in a server's answer; None where that is none of an adb server's."""
    if not answer.startswith(b"OKAY"):
        return None
    try:
        size = int(answer[4:_HEAD], 16)
    except ValueError:
        return None
    lines = answer[_HEAD : _HEAD + size].decode(errors="replace").splitlines()
    return [phone for line in lines[:_MOST_PHONES] if (phone := _phone(line)) is not None]


def state_of(phones: list[Phone], serial: str, port: str) -> str:
    """The state of one phone; empty where it is not listed.

    serial  its own; port: where it is plugged in, which tells those of one serial number apart
    """
    same = [each for each in phones if serial and each.serial == serial]
    if len(same) != 1:
        same = [each for each in same or phones if port and each.port == port]
    return same[0].state if len(same) == 1 else ""


def told(state: str) -> str:
    """Why a phone in such a state is not ready, and what to do; empty where it is ready."""
    if state == READY:
        return ""
    if not state:
        return "adb does not list it: is USB debugging on, and the phone in a mode that has it?"
    return f"adb says '{quoted(state)}'" + (f": {todo}" if (todo := _WHAT_TO_DO.get(state)) else "")


def _phone(line: str) -> Phone | None:
    if line.startswith(_NO_SERIAL):
        serial, rest = "", line.removeprefix(_NO_SERIAL)
    else:
        serial, _, rest = line.partition(" ")
    state = _STATE.match(rest.lstrip())
    if state is None:
        return None
    port = _USB.search(rest)
    return Phone(serial, state[0], port[1] if port is not None else "")
