"""The areas that the support table has a row for, and the tests of each."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_E2E: Final = "tests/e2e"
REST: Final = "others"
"""The area of the files of tests/e2e that no other area names."""

AREAS: Final[dict[str, tuple[str, ...]]] = {
    "daemon": (f"{_E2E}/test_daemon.py", f"{_E2E}/test_reload.py"),
    "interfaces": (f"{_E2E}/test_interfaces.py",),
    "links": (f"{_E2E}/test_links.py",),
    "places": (f"{_E2E}/test_places.py",),
    "phones": (f"{_E2E}/test_phones.py",),
    "making": (f"{_E2E}/test_making.py",),
    "states": (f"{_E2E}/test_machine.py",),
    "pools": (
        f"{_E2E}/test_pools.py",
        f"{_E2E}/test_leases.py",
        f"{_E2E}/test_files.py",
        f"{_E2E}/test_ready.py",
        f"{_E2E}/test_exec.py",
    ),
    "requests": (
        f"{_E2E}/test_client.py",
        f"{_E2E}/test_client_answers.py",
        f"{_E2E}/test_traits.py",
        f"{_E2E}/test_server.py",
        f"{_E2E}/test_lost_update.py",
        f"{_E2E}/test_https.py",
    ),
    "cluster": (f"{_E2E}/test_cluster.py",),
    "stops": (f"{_E2E}/test_stopping.py", f"{_E2E}/test_unattended.py"),
    "inside": (f"{_E2E}/test_uevents.py", f"{_E2E}/test_udev_records.py", f"{_E2E}/test_sealed.py"),
    "commands": (f"{_E2E}/cli",),
    REST: (),
    "faults": ("tests/faults",),
    "udev": ("tests/kernel/udev", "tests/kernel/support/test_lab.py"),
}


def paths(area: str, project: Path) -> list[str]:
    """The files and folders of an area. project: where they are"""
    if area != REST:
        return [*AREAS[area]]
    named = {path for each in AREAS.values() for path in each}
    files = sorted((project / _E2E).glob("test_*.py"))
    return [path for each in files if (path := str(each.relative_to(project))) not in named]
