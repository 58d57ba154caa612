"""What one server does otherwise than others. `server/traits.py` has the table that fills it in."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerTraits:
    """What depends on the server's name, version or API extensions. Nothing else may ask for those.

    removes_by_patch    PATCH takes an entry out that it gives as null, in one request with what goes in
    keeps_description   PATCH leaves an instance's description alone where it is left out
    usb_by_number       `usb` entries can name one device by its bus and device number, and by its serial
    plugs_pci           PCI devices go into virtual machines that run, and out of them
    tells_reboots_apart an event tells that an instance stopped by itself, and none that it reboots so
    """

    removes_by_patch: bool = False
    keeps_description: bool = False
    usb_by_number: bool = False
    plugs_pci: bool = False
    tells_reboots_apart: bool = False


NO_TRAITS = ServerTraits()
"""The traits of a server of which nothing is known."""
