"""How often ports were switched off, as sysfs has it."""

from __future__ import annotations

from pathlib import Path

import pytest

from hotplugd.host.usb_counts import over_current_counts


def port(folder: Path, hub: str, name: str, count: str) -> None:
    made = folder / hub / name
    made.mkdir(parents=True)
    (made / "over_current_count").write_text(count)


def test_ports_are_called_as_their_devices(tmp_path: Path) -> None:
    port(tmp_path, "1-0:1.0", "usb1-port4", "2\n")
    port(tmp_path, "1-0:1.0", "usb1-port5", "0\n")
    port(tmp_path, "2-1.3:1.0", "2-1.3-port2", "1\n")
    (tmp_path / "2-1.3").mkdir()
    (tmp_path / "1-4:1.0").mkdir()
    assert over_current_counts(tmp_path) == {"1-4": 2, "2-1.3.2": 1}


def test_what_is_no_count_is_none(tmp_path: Path) -> None:
    port(tmp_path, "1-0:1.0", "usb1-port1", "many\n")
    port(tmp_path, "1-0:1.0", "usb1-port2", "9" * 30)
    (tmp_path / "1-0:1.0" / "usb1-port3").mkdir()
    (tmp_path / "1-0:1.0" / "x-portx").mkdir()
    assert over_current_counts(tmp_path) == {}


def test_without_usb_it_raises(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        over_current_counts(tmp_path / "none")
