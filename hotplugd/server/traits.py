"""What differs between LXD, Incus and their versions: one table, a row for each difference.

A difference that the server announces is known by its API extension; another one by the server's name and
version. `docs/explanation/support.md` shows the table. Nothing else in hotplugd asks for any of these.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from hotplugd.model.server_traits import ServerTraits

Version = tuple[int, ...]

_VERSION: Final = re.compile(r"\d{1,9}(?:\.\d{1,9})*", re.ASCII)

FOLDERS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {"lxd": ("/var/snap/lxd/common/lxd", "/var/lib/lxd"), "incus": ("/var/lib/incus",)}
)
"""Where a server has its own files, by its name."""

LOGS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "lxd": ("/var/snap/lxd/common/lxd/logs/lxd.log", "/var/log/lxd/lxd.log"),
        "incus": ("/var/log/incus/incusd.log",),
    }
)
"""Where a server logs unless it is told otherwise, by its name."""

UNITS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {"lxd": ("lxd.service", "snap.lxd.daemon.service"), "incus": ("incus.service",)}
)
"""What systemd runs a server as, by its name."""


@dataclass(frozen=True, slots=True)
class Row:
    """One difference between servers.

    trait       the field of `ServerTraits` that says so; empty where hotplugd does the same with every server
    what        what such a server does
    handling    what hotplugd does about it
    extensions  API extensions; each of them says that the server does it
    since       the first version that does it without an extension that says so, by the server's name.
                A row with neither is not distinguished
    proof       what was run with which server, or which source was read
    """

    trait: str
    what: str
    handling: str
    proof: str
    extensions: tuple[str, ...] = ()
    since: Mapping[str, Version] = field(default_factory=lambda: MappingProxyType({}))

    def holds(self, software: str, version: Version, extensions: Collection[str]) -> bool:
        """Whether a server of this name, version and API extensions does it."""
        if any(each in extensions for each in self.extensions):
            return True
        first = self.since.get(software)
        return first is not None and version >= first


GLOBAL_ADDRESS: Final = Row(
    "",
    "a network interface with a global address, or in a bridge or bond, is refused",
    "the refusal is shown and the request repeated; what the host uses is kept from every server",
    "`tests/e2e/test_traits.py` with LXD 5.0.2 and Incus 7.0.2: `is in use by the host (has assigned IP "
    "addresses)`; its issue #3763",
    since=MappingProxyType({"incus": (7, 0, 2)}),
)

ROWS: Final = (
    Row(
        "removes_by_patch",
        "PATCH takes an entry out that it gives as null",
        "removals go by one PATCH, with what goes in; elsewhere by GET and PUT with If-Match",
        "source of LXD 5.21.4 and 6.5; LXD 5.0.2 and Incus refuse it: `tests/e2e/test_traits.py`",
        ("device_patch_removal",),
    ),
    Row(
        "keeps_description",
        "PATCH leaves the description alone where it is left out",
        "the description is left out; elsewhere each PATCH repeats it, since it would become empty",
        "`tests/e2e/test_traits.py` with LXD 5.0.2, Incus 6.0 and 7.0",
        # Of Incus 6.0.6 and 6.18, one version after the change (b12d57d593).
        ("usb_attached",),
    ),
    Row(
        "usb_by_number",
        "`usb` entries have `busnum`, `devnum` and `serial`",
        "virtual machines get USB devices; elsewhere not, since like devices could not be told apart",
        "the VM group `machines` with Incus 6.0.4 and 7.0.2; source of LXD 5.21.2",
        ("device_usb_serial",),
    ),
    Row(
        "plugs_pci",
        "PCI devices go into virtual machines that run, and out of them",
        "`as: pci` is not barred from virtual machines that run",
        "the VM group `machines-pci` with Incus 6.0.4, by hand with 7.0.2, which do not announce it; no LXD",
        ("pci_hotplug",),
        MappingProxyType({"incus": (6, 0, 4)}),
    ),
    Row(
        "tells_reboots_apart",
        "of a reboot from inside it tells otherwise than of a poweroff",
        "leases end with a poweroff or a crash; elsewhere 30 s later, unless the instance runs again by then",
        "`tests/e2e/test_reboots.py` with LXD 5.0.2 and Incus 7.0.2; source of Incus 6.0.2 and 6.5",
        ("instance_auto_restart",),
    ),
    Row(
        "",
        "an operation that failed may be answered with the HTTP status 200",
        "the status that counts is the one in the answer",
        "Incus 6.0.4, asked to restart what is busy; `tests/unit/server/test_api.py`",
    ),
    Row(
        "",
        "a USB device that an entry names by `serial` stays in QEMU when it is pulled",
        "entries name USB devices by their numbers and ids",
        "the VM group `machines` with Incus 6.0.4 and 7.0.2",
    ),
    GLOBAL_ADDRESS,
    Row(
        "",
        "a GPU goes into a virtual machine, and out of it, only while that does not run",
        "status says so, and nothing is sent before the virtual machine stops",
        "the VM group `machines-pci` with Incus 6.0.4; `tests/unit/reconcile/test_passed_through.py`",
    ),
    Row(
        "",
        "of network interfaces only those of PCI and USB devices go into virtual machines",
        "the others are not asked for",
        "the VM groups `machines` and `machines-pci` with Incus 6.0.4; `tests/unit/plan/test_kinds.py`",
    ),
)


def rows_of(software: str, version: str, extensions: Collection[str]) -> list[Row]:
    """The rows that say of a server what it does; what is not distinguished is left out."""
    parts = version_of(version)
    return [row for row in ROWS if row.holds(software, parts, extensions)]


def traits_of(software: str, version: str, extensions: Collection[str]) -> ServerTraits:
    """What a server does.

    software, version  as the server calls itself: `incus`, `6.0.4`. Of a version that begins with no number
                       only the extensions count
    """
    parts = version_of(version)
    return ServerTraits(**{row.trait: row.holds(software, parts, extensions) for row in ROWS if row.trait})


def version_of(version: str) -> Version:
    """The numbers that a server's version begins with; none where it begins with something else."""
    found = _VERSION.match(version)
    return (*map(int, found[0].split(".")),) if found is not None else ()
