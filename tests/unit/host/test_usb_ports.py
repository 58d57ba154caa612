"""The ports of a hub in sysfs."""

from __future__ import annotations

from pathlib import Path

import pytest

from hotplugd.host.sysfs import in_port
from hotplugd.host.usb_ports import UsbPort, ports_of


def port(folder: Path, name: str, peer: str = "", connection: str = "hotplug") -> None:
    (folder / name).mkdir(parents=True)
    (folder / name / "connect_type").write_text(f"{connection}\n")
    if peer:
        (folder / name / "peer").symlink_to(f"../../{peer}")


def test_ports_have_their_peers(tmp_path: Path) -> None:
    port(tmp_path / "1-0:1.0", "usb1-port1")
    port(tmp_path / "1-0:1.0", "usb1-port12", "2-0:1.0/usb2-port4", "not used")
    port(tmp_path / "1-0:1.0", "ep_81")
    (tmp_path / "power").mkdir()
    assert ports_of(str(tmp_path)) == {1: UsbPort("", "hotplug"), 12: UsbPort("2-4", "not used")}


def test_those_of_a_hub_in_a_hub(tmp_path: Path) -> None:
    port(tmp_path / "1-3.4:1.0", "1-3.4-port2", "2-1.4:1.0/2-1.4-port2", "unknown")
    assert ports_of(str(tmp_path)) == {2: UsbPort("2-1.4.2", "unknown")}


def test_what_is_no_hub_has_none(tmp_path: Path) -> None:
    (tmp_path / "1-3:1.0").mkdir()
    assert ports_of(str(tmp_path)) == {}
    assert ports_of(str(tmp_path / "none")) == {}


@pytest.mark.parametrize(
    ("name", "found"), [("usb2-port4", "2-4"), ("2-4-port2", "2-4.2"), ("2-4.1-port10", "2-4.1.10"), ("", "")]
)
def test_what_is_in_a_port_is_called_by_it(name: str, found: str) -> None:
    assert in_port(name) == found
