"""Has the udev rules written that tell the host's software to leave alone what goes into instances.

By the program that may do that: see `udev_rules_helper` and `aio.helper`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from hotplugd.aio.helper import Program, Unanswered
from hotplugd.aio.helper_loop import DONE
from hotplugd.aio.threads import Threads
from hotplugd.host import udev_rules_helper

_DEADLINE: Final = 10.0
_SOCKET: Final = Path("/run/hotplugd-udevrules.sock")
# USB devices before libmtp probes them (69-libmtp.rules), others once udevd knows their serial numbers.
_FILES: Final = {"68-hotplugd-leave.rules": True, "90-hotplugd-leave.rules": False}


class Leave:
    """The rules in one folder; behind systemd's socket is the program for the folder of udevd's."""

    def __init__(self, threads: Threads, folder: Path) -> None:
        path = _SOCKET if folder == Path(udev_rules_helper.FOLDER) else Path("/nonexistent")
        self._folder = folder
        self._program = Program(
            threads,
            "udevrules",
            udev_rules_helper.__name__,
            path,
            _DEADLINE,
            udev_rules_helper.LIMITS,
            [str(folder)],
        )

    async def write(self, text: Callable[[bool], str]) -> bool:
        """Write what has changed; udevd finds it by itself, at the next device. Returns whether anything had.

        text  gives the rules as they are by then: those for USB devices, or those for all others
        Raises OSError.
        """
        changed = False
        async with self._program.turn:
            for name, usb in _FILES.items():
                wanted = text(usb)
                path = self._folder / name
                if not path.is_file() or path.read_bytes() != wanted.encode():
                    await self._put(name, wanted)
                    changed = True
            # The helper is needed seldom: it ends until then.
            self._program.let_go()
        return changed

    async def clear(self) -> None:
        """Take the files away. Raises OSError."""
        async with self._program.turn:
            for name in _FILES:
                if (self._folder / name).exists():
                    await self._put(name, "")
            self._program.let_go()

    def close(self) -> None:
        """Let go of the program. What is under way is cancelled."""
        self._program.close()

    async def _put(self, name: str, text: str) -> None:
        file = os.memfd_create(name, os.MFD_CLOEXEC)
        try:
            os.pwrite(file, text.encode(), 0)
            answer = await self._program.ask(name.encode(), [file])
        except Unanswered as error:
            raise OSError(str(error)) from error
        finally:
            os.close(file)
        if answer != DONE:
            raise OSError(answer.decode("utf-8", "replace"))
