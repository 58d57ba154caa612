"""Run a program as our unit confines it, where no systemd does.

`python -m tests.support.lab.confine UNIT PROGRAM …`


Capabilities, system calls, address families, namespaces, no new privileges, no writable and executable
memory: what can be put on one process. The unit's mounts cannot, and are not. Sets such as @system-service
are expanded by systemd itself.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any, Final

_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_SET_MDWE: Final = 65
_CAPABILITIES: Final = {
    "CAP_CHOWN": 0,
    "CAP_DAC_READ_SEARCH": 2,
    "CAP_SETGID": 6,
    "CAP_SETUID": 7,
    "CAP_NET_ADMIN": 12,
    "CAP_SYS_PTRACE": 19,
    "CAP_SYS_ADMIN": 21,
    "CAP_BLOCK_SUSPEND": 36,
}
_NAMESPACES: Final = {"net": 0x40000000}
_LAST_CAPABILITY: Final = 63
_ALLOW: Final = 0x7FFF0000
_REFUSE: Final = 0x00050000
_EQUAL: Final = 4


class _Comparison(ctypes.Structure):
    """struct scmp_arg_cmp of seccomp.h."""

    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("value", ctypes.c_uint64),
        ("mask", ctypes.c_uint64),
    )


def main() -> None:
    """Confine ourselves, then become the program."""
    unit, *program = sys.argv[1:]
    settings = _settings(Path(unit))
    libc: Any = ctypes.CDLL(None, use_errno=True)
    kept = {_CAPABILITIES[name] for name in " ".join(settings["CapabilityBoundingSet"]).split()}
    for number in range(_LAST_CAPABILITY + 1):
        # Fails above the last one that this kernel knows.
        if number not in kept and libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0) != 0:
            assert ctypes.get_errno() == errno.EINVAL, os.strerror(ctypes.get_errno())
    assert libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    if "yes" in settings["MemoryDenyWriteExecute"]:
        libc.prctl(_PR_SET_MDWE, 1, 0, 0, 0)  # Linux 6.3; systemd has another way before that
    families = [getattr(socket, name) for name in " ".join(settings["RestrictAddressFamilies"]).split()]
    spaces = [_NAMESPACES[name] for name in " ".join(settings["RestrictNamespaces"]).split() if name != "yes"]
    _filter(allowed(settings["SystemCallFilter"]), families, spaces)
    os.execvp(program[0], program)


def _settings(unit: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in unit.read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


def allowed(filters: list[str]) -> set[str]:
    """The system calls of an allow-list and what later lines take from it."""
    allowed = set(_members("@default"))
    for line in filters:
        names = {call for word in line.lstrip("~").split() for call in _members(word)}
        allowed = allowed - names if line.startswith("~") else allowed | names
    return allowed


@cache
def _members(word: str) -> frozenset[str]:
    """A system call, or those of a set and of the sets in it."""
    if not word.startswith("@"):
        return frozenset({word})
    done = subprocess.run(
        ["systemd-analyze", "syscall-filter", word], check=True, capture_output=True, text=True
    )
    lines = [line.strip() for line in done.stdout.splitlines()[1:]]
    return frozenset(call for each in lines if each and not each.startswith("#") for call in _members(each))


def _filter(calls: set[str], families: list[int], spaces: list[int]) -> None:
    """Refuse every other system call, sockets of every other family, and to enter every other namespace."""
    library: Any = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_rule_add_array.argtypes = [
        ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.POINTER(_Comparison),
    ]  # fmt: skip
    library.seccomp_load.argtypes = [ctypes.c_void_p]
    context = library.seccomp_init(_REFUSE | errno.EPERM)
    # Nothing here makes namespaces; clone would have to be told apart by its flags.
    for name in calls - {"socket", "setns", "unshare"}:
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:  # another architecture's otherwise
            assert library.seccomp_rule_add_array(context, _ALLOW, number, 0, None) == 0, name
    for name, argument, values in (("socket", 0, families), ("setns", 1, spaces)):
        number = library.seccomp_syscall_resolve_name(name.encode())
        for value in values:
            only = _Comparison(argument, _EQUAL, value, 0)
            assert library.seccomp_rule_add_array(context, _ALLOW, number, 1, ctypes.byref(only)) == 0, name
    assert library.seccomp_load(context) == 0


if __name__ == "__main__":
    main()
