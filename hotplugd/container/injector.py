"""Has uevents injected into containers by a helper program: see `inject_helper`."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from hotplugd.aio.helper import Program, Unanswered
from hotplugd.aio.helper_loop import DONE
from hotplugd.aio.threads import NoThread, Threads
from hotplugd.container import inject_helper
from hotplugd.container.root import Lost, Network
from hotplugd.container.uevent_message import kernel_form, libudev_form
from hotplugd.model.ports import Unfit, Untold
from hotplugd.model.uevent import Uevent
from hotplugd.model.values import InstanceName

# A uevent takes a fraction of a millisecond.
_DEADLINE: Final = 2.0


class Injector:
    """Injects uevents, one after the other.

    network       gives the network namespace of an instance that runs, as `Inspector.network` does
    kernel_lines  reads what the kernel says of the device with this syspath
    sequence      gives the number of the kernel's latest uevent
    path          where systemd listens for the program
    """

    def __init__(
        self,
        threads: Threads,
        network: Callable[[InstanceName], Awaitable[Network | None]],
        kernel_lines: Callable[[str], Mapping[str, str] | None],
        sequence: Callable[[], int],
        path: Path,
    ) -> None:
        self._threads = threads
        self._network = network
        self._kernel_lines = kernel_lines
        self._sequence = sequence
        self._program = Program(
            threads, "inject", inject_helper.__name__, path, _DEADLINE, inject_helper.LIMITS
        )
        self._reading: set[str] = set()

    async def inject(self, name: InstanceName, uevent: Uevent) -> Uevent:
        """See `InjectorPort`."""
        try:
            if uevent.action == "add":
                uevent = replace(uevent, kernel=await self._read(uevent.device.syspath))
            kernel, libudev = kernel_form(uevent), libudev_form(uevent, self._sequence() + 1)
        except ValueError as error:
            raise Unfit(str(error)) from error
        except OSError as error:
            raise Untold(f"what the kernel says of it cannot be read: {error}") from error
        try:
            async with self._program.turn:
                self._program.see_whether_over()
                if (network := await self._network(name)) is None:
                    return uevent  # those inside hear what the host's kernel and udevd say
                try:
                    request = inject_helper.request(network.user, kernel, libudev)
                    answer = await self._program.ask(request, [network.descriptor])
                finally:
                    os.close(network.descriptor)
        except (Lost, Unanswered) as error:
            raise Untold(str(error)) from error
        if answer != DONE:
            raise Untold(self._program.explained(answer.decode("utf-8", "replace")))
        return uevent

    def close(self) -> None:
        """Let go of the program. What is under way is cancelled."""
        self._program.close()

    async def _read(self, syspath: str) -> str:
        """The kernel's own variables of the device, as lines; none where it takes too long or is gone.

        Raises OSError where no file can be opened, or there is no thread.
        """
        if syspath in self._reading:
            return ""
        self._reading.add(syspath)

        def work() -> str:
            try:
                return "\n".join(
                    f"{key}={value}" for key, value in (self._kernel_lines(syspath) or {}).items()
                )
            finally:
                self._threads.tell(self._reading.discard, syspath)

        try:
            return await self._threads.call(work, _DEADLINE)
        except NoThread:
            self._reading.discard(syspath)
            raise
        except TimeoutError:
            return ""
