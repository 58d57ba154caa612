"""The host's drivers that have the interfaces of a USB device, and their modules."""

from __future__ import annotations

from pathlib import Path

import pytest

from hotplugd.host.usb_interfaces import interfaces


def bind(folder: Path, driver: str, module: str) -> None:
    at = folder.parents[1] / f"{folder.name}-{driver}" / driver
    at.mkdir(parents=True)
    if module:
        (at / "module").symlink_to(f"/sys/module/{module}")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "driver").symlink_to(at)


@pytest.mark.parametrize(
    ("module", "port", "expected"),
    [
        ("dvb_usb_rtl28xxu", "", "dvb_usb_rtl28xxu"),
        ("", "", ""),
        # What registers the drivers of serial cables is the same for all of them.
        ("usbserial", "cp210x", "cp210x"),
        ("usbserial", "", "usbserial"),
    ],
)
def test_the_module_is_the_drivers_own(tmp_path: Path, module: str, port: str, expected: str) -> None:
    usb = tmp_path / "devices" / "1-4"
    (usb / "1-4.2").mkdir(parents=True)
    bind(usb / "1-4:1.0", "some", module)
    if port:
        bind(usb / "1-4:1.0" / "ttyUSB0", port, port)
    (found,) = interfaces(str(usb))
    assert (found.syspath, found.driver, found.module) == (f"{usb}/1-4:1.0", "some", expected)


def test_what_is_no_usb_device_has_none(tmp_path: Path) -> None:
    assert interfaces(str(tmp_path / "none")) == []
