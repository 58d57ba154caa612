"""Has the kernel drop uevents of actions that the daemon does not read, so that they do not wake it.

The filter is a classic BPF program on the socket (Linux: Documentation/networking/filter.rst). It sees a
message as it is sent, `ACTION@DEVPATH` first.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from collections.abc import Sequence
from typing import Final

_SO_ATTACH_FILTER: Final = 26  # include/uapi/asm-generic/socket.h
_LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS: four bytes, big-endian
_JUMP_IF_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_RETURN: Final = 0x06  # BPF_RET | BPF_K: how many bytes of the message to keep
_ALL: Final = 0xFFFFFFFF
_INSTRUCTION: Final = struct.Struct("=HBBI")
_PROGRAM: Final = struct.Struct("@HP")


def hush(descriptor: int, actions: Sequence[str]) -> None:
    """Drop uevents of these actions on this socket of the kernel's group from now on. Raises OSError."""
    # Compared by the first four bytes: `add@` has four, and no two actions of the kernel begin alike.
    heads = [f"{action}@".encode("ascii")[:4] for action in actions]
    program = [_INSTRUCTION.pack(_LOAD, 0, 0, 0)]
    for left, head in zip(range(len(heads), 0, -1), heads, strict=True):
        program.append(_INSTRUCTION.pack(_JUMP_IF_EQUAL, left, 0, int.from_bytes(head)))
    program.append(_INSTRUCTION.pack(_RETURN, 0, 0, _ALL))
    program.append(_INSTRUCTION.pack(_RETURN, 0, 0, 0))
    instructions = ctypes.create_string_buffer(b"".join(program))
    with socket.socket(fileno=os.dup(descriptor)) as same:
        option = _PROGRAM.pack(len(program), ctypes.addressof(instructions))
        same.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, option)
