"""A folder in the place of /dev/hotplugd."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from hotplugd.host import journals, server_lock, slots
from hotplugd.host.slots import Slots
from hotplugd.model import entry


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in the place of /dev/hotplugd, which does not exist yet."""
    place = tmp_path / "hotplugd"
    for module in (entry, journals, server_lock, slots):
        monkeypatch.setattr(module, "SLOTS", str(place))
    return place


@pytest.fixture
def ours() -> Iterator[Slots]:
    with closing(Slots()) as found:
        yield found
