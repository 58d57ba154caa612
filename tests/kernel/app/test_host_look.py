"""Whether the host uses a device is asked again soon where it could not be told."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from hotplugd.aio.threads import Threads
from hotplugd.app import host_look
from hotplugd.app.host_look import HostLook
from hotplugd.model.values import CANNOT_TELL, Device
from hotplugd.plan.desired import wants
from hotplugd.plan.kinds.kind import Want
from tests.kernel.udev.bench import until
from tests.support.devices import ALL, disk
from tests.support.lab.shortage import no_more_descriptors

pytestmark = pytest.mark.usefixtures("root")


def test_what_could_not_be_told_is_asked_again_until_it_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The host may change what it uses at any time, and then all is asked for once more.
    monkeypatch.setattr(host_look, "HostWatch", lambda _: None)
    monkeypatch.setattr(host_look, "_PAUSES", (0.02, 0.1))
    (tmp_path / "dev").write_text("252:4000\n")
    (want,) = wants(ALL, disk()).wants
    known = replace(disk(), syspath=str(tmp_path))
    found: list[str] = []

    def usable() -> list[tuple[Device, Want]]:
        return [(known, want)]

    def took(device: Device, used: str) -> None:
        nonlocal known
        assert device == known
        found.append(used)
        known = replace(known, in_use=used)

    async def script() -> None:
        threads = Threads()
        look = HostLook(threads, tmp_path / "roots", tmp_path / "usb")
        running = asyncio.get_running_loop().create_task(look.run(usable, took))
        with no_more_descriptors():
            assert (await look.in_use(replace(want, device=known))).startswith(CANNOT_TELL)
            assert found == []
            look.unsure()
            await until(lambda: found)
            await asyncio.sleep(0.3)
        await until(lambda: len(found) > 1)
        running.cancel()
        threads.close()
        assert found[0].startswith(CANNOT_TELL)
        assert "Too many open files" in found[0]
        assert found[1:] == [""]

    asyncio.run(script())
