"""What tells that a USB port or device does not do well, as sysfs has it."""

from __future__ import annotations

from pathlib import Path

import pytest

from hotplugd.host.usb_signs import UsbSigns, usb_signs


def port(folder: Path, hub: str, name: str, count: str = "0\n", state: str | None = None) -> Path:
    made = folder / hub / name
    made.mkdir(parents=True)
    (made / "over_current_count").write_text(count)
    if state is not None:
        (made / "state").write_text(state)
    return made


def device(folder: Path, name: str, configuration: str, authorized: str = "1\n") -> None:
    made = folder / name
    made.mkdir(parents=True)
    (made / "bConfigurationValue").write_text(configuration)
    (made / "authorized").write_text(authorized)


def test_ports_are_called_as_their_devices(tmp_path: Path) -> None:
    port(tmp_path, "1-0:1.0", "usb1-port4", "2\n")
    port(tmp_path, "1-0:1.0", "usb1-port5", "0\n")
    port(tmp_path, "2-1.3:1.0", "2-1.3-port2", "1\n")
    (tmp_path / "2-1.3").mkdir()
    (tmp_path / "1-4:1.0").mkdir()
    assert usb_signs(tmp_path) == UsbSigns({"1-4": 2, "2-1.3.2": 1})


def test_what_is_no_count_is_none(tmp_path: Path) -> None:
    port(tmp_path, "1-0:1.0", "usb1-port1", "many\n")
    port(tmp_path, "1-0:1.0", "usb1-port2", "9" * 30)
    port(tmp_path, "1-0:1.0", "usb1-port4", "\xff\xfe")
    (tmp_path / "1-0:1.0" / "usb1-port3").mkdir()
    (tmp_path / "1-0:1.0" / "x-portx").mkdir()
    assert usb_signs(tmp_path) == UsbSigns()


def test_without_usb_it_raises(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        usb_signs(tmp_path / "none")


def test_a_port_in_which_a_device_was_left_half_way_is_found(tmp_path: Path) -> None:
    port(tmp_path, "1-0:1.0", "usb1-port1", state="not attached\n")
    port(tmp_path, "1-0:1.0", "usb1-port2", state="default\n")
    # These have a device, or the other port of the socket has.
    (port(tmp_path, "1-0:1.0", "usb1-port3", state="addressed\n") / "device").symlink_to("nowhere")
    other = port(tmp_path, "1-0:1.0", "usb1-port4", state="configured\n")
    (other / "device").symlink_to("nowhere")
    (port(tmp_path, "2-0:1.0", "usb2-port4", state="powered\n") / "peer").symlink_to(other)
    port(tmp_path, "1-2.1:1.0", "1-2.1-port4", state="powered\n")
    assert usb_signs(tmp_path).unfinished == {"1-2": "default", "1-2.1.4": "powered"}


def test_a_device_without_a_configuration_is_found(tmp_path: Path) -> None:
    device(tmp_path, "1-1", "1\n")
    device(tmp_path, "1-2", "\n")
    # Somebody keeps this one out.
    device(tmp_path, "1-3", "\n", authorized="0\n")
    (tmp_path / "1-4").mkdir()
    assert usb_signs(tmp_path).unconfigured == {"1-2"}
