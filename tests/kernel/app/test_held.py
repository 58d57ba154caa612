"""Who has a device open that goes from one instance to another: with real processes."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hotplugd.aio.threads import Threads
from hotplugd.app.host_look import HostLook
from hotplugd.model.values import Device, Devnum

FULL = Device("/sys/devices/virtual/mem/full", "mem", "full", node="/dev/full", devnum=Devnum("char", 1, 7))
_OPENS = "import os, sys; os.open('/dev/full', int(sys.argv[1])); print(flush=True); sys.stdin.read()"


def held(*devices: Device, roots: Path = Path("/nonexistent")) -> list[str]:
    async def ask() -> list[str]:
        threads = Threads()
        look = HostLook(threads, roots, Path("/nonexistent"))
        try:
            return [await look.held(each) for each in devices]
        finally:
            look.stop()
            threads.close()

    return asyncio.run(ask())


@pytest.mark.usefixtures("root")
def test_a_process_is_named_that_has_it_open_and_not_o_path() -> None:
    for flags, told in ((os.O_RDONLY, True), (os.O_PATH, False)):
        words = [sys.executable, "-c", _OPENS, str(flags)]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "\n"
            (found,) = held(FULL)
            name = Path(f"/proc/{process.pid}/comm").read_text().strip()
            assert found == (f"/dev/full is open in {name} (process {process.pid})" if told else "")
            process.kill()
    assert held(FULL, Device("/sys/x", "net", "x0")) == ["", ""]


def test_what_cannot_be_told_is_not_taken_for_closed(tmp_path: Path) -> None:
    nobody = tmp_path / "socket"
    nobody.write_text("")
    (found,) = held(FULL, roots=nobody)
    assert found.startswith("it cannot be told who has it open: the program for it cannot be reached")
