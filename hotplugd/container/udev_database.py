"""Has udev's records kept in containers by the program that may do that: see `udev_database_helper`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from hotplugd.aio.helper import Program, Unanswered
from hotplugd.aio.helper_loop import DONE
from hotplugd.aio.threads import Threads
from hotplugd.container import udev_database_helper
from hotplugd.container.root import Lost
from hotplugd.container.udev_record import texts
from hotplugd.model.ports import Untold
from hotplugd.model.uevent import UdevRecord
from hotplugd.model.values import InstanceName

# A few records take a millisecond. The program ends by itself before.
_DEADLINE: Final = 4.0


class UdevDatabase:
    """Keeps records, in one container after the other.

    opened  gives descriptors of an instance's root and of its init's folder, as `Inspector.opened` does
    path    where systemd listens for the program
    """

    def __init__(
        self, threads: Threads, opened: Callable[[InstanceName], tuple[int, int]], path: Path
    ) -> None:
        self._opened = opened
        self._program = Program(
            threads, "udevdb", udev_database_helper.__name__, path, _DEADLINE, udev_database_helper.LIMITS
        )

    async def keep(self, name: InstanceName, records: Iterable[UdevRecord]) -> None:
        """See `model.ports.UdevDatabasePort`."""
        found = {each: text for record in records for each, text in texts(record).items()}
        written = json.dumps(found).encode()
        if len(written) > udev_database_helper.ROOM:
            raise Untold(
                f"expected {udev_database_helper.ROOM} bytes of records at most, and these have more"
            )
        try:
            async with self._program.turn:
                self._program.see_whether_over()
                root, process = self._opened(name)
                held = [process, root]
                try:
                    held.append(os.memfd_create("records", os.MFD_CLOEXEC))
                    os.pwrite(held[-1], written, 0)
                    answer = await self._program.ask(udev_database_helper.KEEP, held)
                finally:
                    for each in held:
                        os.close(each)
        except (Lost, Unanswered, OSError) as error:
            raise Untold(str(error)) from error
        if answer not in (DONE, udev_database_helper.UDEVD):
            message = answer.decode("utf-8", "replace")
            # Else it is the container's root that lacks a right.
            is_ours = message == udev_database_helper.NOT_PERMITTED
            raise Untold(self._program.explained(message) if is_ours else message)

    def close(self) -> None:
        """Let go of the program. What is under way is cancelled."""
        self._program.close()
