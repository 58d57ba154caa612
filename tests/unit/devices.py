"""Made-up devices, put together like real ones."""

from __future__ import annotations

from collections.abc import Mapping

from hotplugd.model.values import Device

HUB = Device("/sys/devices/pci/usb1", "usb", "usb1", devtype="usb_device", driver="usb")


def usb(
    port: str = "1-4.2",
    vendor: str = "0403",
    product: str = "6001",
    serial: str = "A50285BI",
    *,
    interfaces: str = "",
    attrs: Mapping[str, str] | None = None,
    properties: Mapping[str, str] | None = None,
) -> Device:
    kernels = {"idVendor": vendor, "idProduct": product, "serial": serial}
    own = {"ID_VENDOR_ID": vendor, "ID_MODEL_ID": product, "ID_SERIAL_SHORT": serial}
    own |= {
        "ID_USB_INTERFACES": interfaces,
        "ID_PATH": f"pci-0000:00:14.0-usb-0:{port}",
        **(properties or {}),
    }
    return Device(
        f"{HUB.syspath}/{port}",
        "usb",
        port,
        devtype="usb_device",
        driver="usb",
        node="/dev/bus/usb/001/004",
        properties={name: value for name, value in own.items() if value},
        attrs={**{name: text for name, text in kernels.items() if text}, **(attrs or {})},
        parent=HUB,
    )


def tty(above: Device, kernel: str = "ttyUSB0", properties: Mapping[str, str] | None = None) -> Device:
    interface = Device(
        f"{above.syspath}/{above.kernel}:1.0",
        "usb",
        f"{above.kernel}:1.0",
        devtype="usb_interface",
        driver="ftdi_sio",
        attrs={"bInterfaceNumber": "01"},
        parent=above,
    )
    return Device(
        f"{interface.syspath}/{kernel}",
        "tty",
        kernel,
        node=f"/dev/{kernel}",
        properties=properties or {},
        parent=interface,
    )


PHONE = usb("1-1", "18d1", "4ee7", "1A2B", interfaces=":ff4201:080650:")
CABLE = usb()
CONSOLE = tty(CABLE)
DISK = Device("/sys/devices/virtual/block/zram0", "block", "zram0", devtype="disk", properties={"EMPTY": ""})
EVERY = (HUB, PHONE, CABLE, CONSOLE, DISK)
