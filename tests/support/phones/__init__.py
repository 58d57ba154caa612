"""Virtual USB devices that a real kernel enumerates: phones, a serial cable, an accelerator.

`vhci_hcd` is a host controller whose ports are sockets (Documentation/usb/usbip_protocol.rst). Whoever holds
the other end is the device.

usbip.py        requests and answers on the socket
gadget.py       what a device says of itself, and how it answers what every device is asked
hub.py          the controller's ports: plug, pull, and come back as something else
phone.py        a phone in its modes; adb.py and fastboot.py are what it speaks
cable.py        a serial cable
keyboard.py     a keyboard with any name
camera.py       a camera with any name
can.py          a CAN adapter with several channels
accelerator.py  a device that is another one once its firmware is loaded
stranger.py     a device with any descriptors at all, such as those that hide a keyboard
"""

from tests.support.phones.accelerator import Accelerator
from tests.support.phones.cable import Cable
from tests.support.phones.camera import Camera
from tests.support.phones.can import CanAdapter
from tests.support.phones.hub import Hub
from tests.support.phones.keyboard import Keyboard
from tests.support.phones.phone import Mode, Phone
from tests.support.phones.stranger import Stranger

__all__ = ["Accelerator", "Cable", "Camera", "CanAdapter", "Hub", "Keyboard", "Mode", "Phone", "Stranger"]
