"""A made-up /sys and database of udevd's in a folder, as the kernel and udevd write them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


class Tree:
    """Devices below one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.database = root / "data"
        self.database.mkdir()
        self._gone = 0

    def add(
        self,
        path: str,
        subsystem: str,
        uevent: str = "",
        number: str = "",
        *,
        driver: str = "",
        record: str | None = None,
        attrs: Mapping[str, str] | None = None,
    ) -> str:
        """A device. number: as in `dev`; record: what udevd has of it, or None. Returns its syspath."""
        folder = self.root / "devices" / path
        folder.mkdir(parents=True)
        (folder / "subsystem").symlink_to(f"/sys/class/{subsystem}")
        if driver:
            (folder / "driver").symlink_to(f"/sys/bus/any/drivers/{driver}")
        if number:
            major, minor = number.split(":")
            uevent = f"MAJOR={major}\nMINOR={minor}\n{uevent}"
            (folder / "dev").write_text(f"{number}\n")
        (folder / "uevent").write_bytes(os.fsencode(uevent))
        for name, text in (attrs or {}).items():
            (folder / name).write_bytes(os.fsencode(text))
        if record is not None:
            kind = "b" if subsystem == "block" else "c"
            self.processed(f"{kind}{number}" if number else f"+{subsystem}:{folder.name}", record)
        return str(folder)

    def processed(self, name: str, record: str) -> None:
        """udevd has this in the file of that name."""
        (self.database / name).write_bytes(os.fsencode(record))

    def remove(self, syspath: str) -> None:
        """The device is no more; udevd may still have its file."""
        self._gone += 1
        # Kept, so that its number is no other folder's: sysfs gives none twice.
        Path(syspath).rename(self.root / f"gone{self._gone}")
