"""The helper program that injects uevents into network namespaces, which needs privileges.

It is served as `helper_loop` says. A request is made by `request`, with one descriptor beside it: the network
namespace. The answer is `DONE` or what went wrong.

What it needs, and why (Linux: net/netlink/af_netlink.c, lib/kobject_uevent.c, net/core/scm.c):

- CAP_SYS_ADMIN to enter the namespace, and for the kernel to send a uevent on.
- CAP_NET_ADMIN to send to a group, as udevd does.
- CAP_SETUID to have the messages come from the container's own root. Those who hear them believe no other
  user, and the host's root is nobody in there.

LXD forks a process that enters the container's user namespace. A user named in the message (unix(7),
SCM_CREDENTIALS) does the same without: nothing of ours ever has a container's privileges, and there is
nothing that cannot be undone, so one process with one thread serves all. A namespace given as a descriptor
needs no CAP_SYS_PTRACE and cannot turn out to be that of a process which got the number meanwhile.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
from collections.abc import Sequence
from typing import Final

from hotplugd.aio.helper_loop import NO_REQUEST, Answer, Handler, Limits, serve

LIMITS: Final = Limits(request=32 << 10, least=1, most=1, answer=4096)
_REQUEST: Final = struct.Struct("=II")

_NETWORK: Final = 0x40000000  # linux/sched.h: CLONE_NEWNET
_KIND: Final = 0xB703  # linux/nsfs.h: NS_GET_NSTYPE
_UEVENTS: Final = 15  # linux/netlink.h: NETLINK_KOBJECT_UEVENT
_KERNEL: Final = (0, 0)
_LIBUDEV: Final = (0, 2)
# linux/netlink.h: nlmsghdr, and nlmsgerr behind it in an answer. The kernel takes any type from 16 on.
_HEADER: Final = struct.Struct("=IHHII")
_ERROR: Final = struct.Struct("=IHHIIi")
_TYPE: Final = 16
_REQUEST_WITH_ANSWER: Final = 1 | 4
_ANSWER_MOST: Final = 4096
_USER: Final = struct.Struct("=iII")


def request(user: int, kernel: bytes, libudev: bytes) -> bytes:
    """A request. user: the container's root, as the host counts. kernel, libudev: the uevent's two forms."""
    return _REQUEST.pack(user, len(kernel)) + kernel + libudev


def main(_: Sequence[str] = ()) -> int:
    """Serve standard input. Returns the exit code."""
    own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return serve("inject", LIMITS, handler(own))
    finally:
        os.close(own)


def handler(own: int) -> Handler:
    """Serves requests. own: our own network namespace, a descriptor."""

    def handle(message: bytes, descriptors: Sequence[int]) -> Answer:
        _inject(descriptors[0], own, message)
        return Answer()

    return handle


def _inject(network: int, own: int, message: bytes) -> None:
    if len(message) < _REQUEST.size:
        raise ValueError(NO_REQUEST)
    user, length = _REQUEST.unpack_from(message)
    forms = message[_REQUEST.size :]
    kernel, libudev = forms[:length], forms[length:]
    if not kernel or not libudev or len(kernel) != length:
        raise ValueError(NO_REQUEST)
    if fcntl.ioctl(network, _KIND) != _NETWORK:
        raise ValueError("not a network namespace")
    if os.path.samestat(os.fstat(network), os.fstat(own)):
        raise ValueError("the network namespace is the host's, whose udevd is not to hear of this")
    sender = [(socket.SOL_SOCKET, socket.SCM_CREDENTIALS, _USER.pack(os.getpid(), user, 0))]
    with _socket_in(network, own) as uevents:
        head = _HEADER.pack(_HEADER.size + len(kernel), _TYPE, _REQUEST_WITH_ANSWER, 1, 0)
        uevents.sendmsg([head, kernel], sender, 0, _KERNEL)
        # The answer is there: the kernel does this within the call.
        answer = uevents.recv(_ANSWER_MOST, socket.MSG_DONTWAIT)
        *_, error = _ERROR.unpack_from(answer)
        if error:
            raise OSError(-error, os.strerror(-error))
        uevents.sendmsg([libudev], sender, 0, _LIBUDEV)


def _socket_in(network: int, own: int) -> socket.socket:
    """A socket for uevents that belongs to this namespace."""
    _enter(network)
    try:
        return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _UEVENTS)
    finally:
        try:
            _enter(own)
        except OSError as error:
            # The daemon starts another process, which is in the right namespace.
            raise SystemExit(f"hotplugd inject: cannot leave a network namespace: {error}") from error


def _enter(network: int) -> None:
    # os.setns came with Python 3.12. The kind is named, as RestrictNamespaces= of systemd.exec(5) wants it.
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(network, _NETWORK) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
