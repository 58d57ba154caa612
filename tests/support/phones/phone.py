"""A phone: the same thing in the hand, another device on the bus in each of its modes."""

from __future__ import annotations

from enum import Enum
from typing import Final

from tests.support.phones.adb import Adb
from tests.support.phones.fastboot import Fastboot
from tests.support.phones.gadget import Endpoint, Gadget, Identity, Interface, Speed

_ADB: Final = Interface((0xFF, 0x42, 0x01), (Endpoint(0x81), Endpoint(0x01)))
_FASTBOOT: Final = Interface((0xFF, 0x42, 0x03), (Endpoint(0x81), Endpoint(0x01)))
_MTP: Final = Interface((0x06, 0x01, 0x01), (Endpoint(0x82), Endpoint(0x02), Endpoint(0x83, 3)))
_EMERGENCY: Final = Interface((0xFF, 0xFF, 0xFF), (Endpoint(0x81), Endpoint(0x01)))


class Mode(Enum):
    """What it is on the bus, with the product it is then; those of Google's phones."""

    MTP = 0x4EE1
    MTP_ADB = 0x4EE2
    ADB = 0x4EE7
    FASTBOOT = 0x4EE0
    RECOVERY = 0xD001
    EMERGENCY = 0x9008


class Phone:
    """One phone, which remembers its mode also while it is not plugged in.

    serial      None for a phone that has none
    vendor_id   in every mode but the emergency one, which is the processor's own
    product_id  in its ordinary modes; that of the mode where left out
    authorised  whether its owner trusts the host
    """

    def __init__(
        self,
        serial: str | None = "0001",
        mode: Mode = Mode.ADB,
        *,
        vendor_id: int = 0x18D1,
        product_id: int | None = None,
        model: str = "Pixel",
        speed: Speed = Speed.HIGH,
        authorised: bool = True,
    ) -> None:
        self.serial = serial
        self.mode = mode
        self.commands: list[str] = []
        self._vendor_id = vendor_id
        self._product_id = product_id
        self._model = model
        self._speed = speed
        self._authorised = authorised
        self._usual = mode
        self.returns = False
        self._present: Gadget | None = None
        self._adb: Adb | None = None

    def gadget(self) -> Gadget:
        """What it is at its next enumeration."""
        self.returns = False
        vendor, product = self._vendor_id, self.mode.value
        serial = self.serial
        interfaces = {
            Mode.MTP: (_MTP,),
            Mode.MTP_ADB: (_MTP, _ADB),
            Mode.ADB: (_ADB,),
            Mode.FASTBOOT: (_FASTBOOT,),
            Mode.RECOVERY: (_ADB,),
            Mode.EMERGENCY: (_EMERGENCY,),
        }[self.mode]
        if self.mode is Mode.EMERGENCY:
            vendor, serial = 0x05C6, None
        elif self._product_id is not None and self.mode is self._usual:
            product = self._product_id
        identity = Identity(vendor, product, serial, interfaces, "Google", self._model, speed=self._speed)
        gadget = self._present = Gadget(identity)
        self._adb = None

        def send(data: bytes) -> None:
            gadget.send(1, data)

        if self.mode in (Mode.ADB, Mode.MTP_ADB, Mode.RECOVERY):
            state = "recovery" if self.mode is Mode.RECOVERY else "device"
            banner = f"{state}::ro.product.name={self._model};ro.product.model={self._model};features="
            self._adb = Adb(banner, send, self._shell, self._reboot, authorised=self._authorised)
            gadget.outs = {1: self._adb.take}
        elif self.mode is Mode.FASTBOOT:
            known = {"serialno": self.serial or "", "product": self._model, "version": "0.4"}
            gadget.outs = {1: Fastboot(known, send, self._reboot).take}
        return gadget

    def authorise(self) -> None:
        """Its owner trusts the host from now on."""
        self._authorised = True
        if self._adb is not None:
            self._adb.authorise()

    def switch(self, mode: Mode) -> None:
        """Leave the bus and come back in this mode, on the same port."""
        self.mode = mode
        self.returns = True
        assert self._present is not None, "the phone is not plugged in"
        self._present.leave_in_order()

    def _reboot(self, where: str) -> None:
        self.switch(Mode.FASTBOOT if where == "bootloader" else self._usual)

    def _shell(self, command: str) -> str | None:
        self.commands.append(command)
        if command == "hang":
            return None
        word, _, rest = command.partition(" ")
        if word == "echo":
            return f"{rest}\n"
        return f"{self.serial or ''}\n" if command == "getprop ro.serialno" else ""
