"""Reads the files of the settings while the daemon runs, though one of them may hang."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

from hotplugd.aio.threads import NoThread, Threads
from hotplugd.app.in_force import Settings, load
from hotplugd.rulefile.discover import Place

LOAD: Final = 40.0
"""Seconds that the files may take to be read. Whoever asks for a reload waits for one that is under way and
for the next one, and for no longer than `control` waits for an answer.
"""


class Unreadable(Exception):
    """The files cannot be read. The text says why, and is fit to be shown."""


class SettingsReader:
    """Reads the files in a thread; where one hangs, no further thread is begun.

    path  the configuration's file
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._threads = Threads()
        self._place = Place()

    async def read(self) -> Settings:
        """What the files say now, errors included. Raises Unreadable."""
        if self._place.path is None:
            try:
                return await self._threads.call(partial(load, self._path, self._place), LOAD)
            except NoThread as error:
                raise Unreadable(f"the files cannot be read: {error}") from error
            except TimeoutError:
                pass
        where = self._place.path
        why = f"{where} hangs" if where is not None else f"that takes longer than {LOAD:.0f} s"
        raise Unreadable(f"the files cannot be read: {why}")
