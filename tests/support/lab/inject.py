"""The program that injects uevents, as the daemon starts it, to be asked directly."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Sequence

from hotplugd.aio.helper import words
from hotplugd.container import inject_helper
from hotplugd.container.uevent_message import kernel_form, libudev_form
from hotplugd.model.uevent import Uevent
from tests.support.lab.uevents import ROOT


class Program:
    """One program and its channel."""

    def __init__(self) -> None:
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.channel.settimeout(10)
        with theirs:
            self.process = subprocess.Popen(words(inject_helper.__name__), stdin=theirs.fileno(), env={})

    def ask(self, request: bytes, descriptors: Sequence[int]) -> str:
        """The answer to a request, with these descriptors beside it."""
        socket.send_fds(self.channel, [request], descriptors)
        return self.channel.recv(1 << 16).decode()

    def tell(self, uevent: Uevent, sequence: int, network: int) -> str:
        """The answer to a proper request for the namespaces of `uevents.namespaces`."""
        request = inject_helper.request(ROOT, kernel_form(uevent), libudev_form(uevent, sequence))
        return self.ask(request, [network])

    def close(self) -> None:
        """It ends, and well."""
        self.channel.close()
        assert self.process.wait(10) == 0
