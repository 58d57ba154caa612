"""What differs between servers is in one table, and nothing else asks for a server's name or version."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

import hotplugd
from hotplugd.container.server_folders import ALL
from hotplugd.model.server_traits import NO_TRAITS, ServerTraits
from hotplugd.server.traits import FOLDERS, ROWS, traits_of

PACKAGE = Path(hotplugd.__file__).parent
INCUS_6 = ServerTraits(usb_by_number=True, plugs_pci=True)

# A server's name, its version, its API extensions, and what it does.
SERVERS = {
    "LXD 5.0.2": ("lxd", "5.0.2", (), NO_TRAITS),
    "LXD 5.21.4": (
        "lxd",
        "5.21.4",
        ("device_usb_serial", "device_patch_removal"),
        ServerTraits(usb_by_number=True, removes_by_patch=True),
    ),
    "Incus 6.0.3": ("incus", "6.0.3", ("device_usb_serial",), ServerTraits(usb_by_number=True)),
    "Incus 6.0.4": ("incus", "6.0.4", ("device_usb_serial",), INCUS_6),
    "Incus 6.18": (
        "incus",
        "6.18",
        ("device_usb_serial", "usb_attached"),
        ServerTraits(usb_by_number=True, plugs_pci=True, keeps_description=True),
    ),
    "an LXD that announces what Incus does not": (
        "lxd",
        "6.4",
        ("pci_hotplug",),
        ServerTraits(plugs_pci=True),
    ),
    "a version with words": ("incus", "6.0.4-debian", (), ServerTraits(plugs_pci=True)),
    "no version": ("incus", "?", (), NO_TRAITS),
    "a number that is none": ("incus", "9" * 5000, (), ServerTraits(plugs_pci=True)),
    "another name": ("other", "99", (), NO_TRAITS),
}


@pytest.mark.parametrize(("software", "version", "extensions", "expected"), SERVERS.values(), ids=SERVERS)
def test_a_server_does_what_its_rows_say(
    software: str, version: str, extensions: tuple[str, ...], expected: ServerTraits
) -> None:
    assert traits_of(software, version, extensions) == expected


def test_each_trait_has_one_row_and_each_row_says_what_proved_it() -> None:
    named = [row.trait for row in ROWS if row.trait]
    assert sorted(named) == sorted(each.name for each in fields(ServerTraits))
    assert all(row.what and row.handling and row.proof for row in ROWS)
    assert all(row.extensions or row.since for row in ROWS if row.trait)


def test_what_a_row_names_in_the_project_is_there() -> None:
    root = PACKAGE.parent
    named = [each for row in ROWS for each in re.findall(r"`(tests/[^`]*)`", row.proof)]
    assert named
    assert [each for each in named if not (root / each).is_file()] == []


def test_the_programs_that_open_nodes_know_all_folders() -> None:
    assert sorted(ALL) == sorted(each for folders in FOLDERS.values() for each in folders)


# A server's name, version or extensions, where they are asked for and not only shown.
ASKED = re.compile(
    r"""api_extensions|server_version
    |(\.software|\.version|\bsoftware|\bversion)\s*(==|!=|<|>|\bin\b|\bnot\ in\b)
    |[=!]=\s*["'](lxd|incus)["']
    |["'](lxd|incus)["']\s*(:|\bin\b|[=!]=)
    |\.startswith\(["'](lxd|incus)""",
    re.VERBOSE,
)


def test_nothing_else_asks_for_a_servers_name_version_or_extensions() -> None:
    found = [
        f"{path.relative_to(PACKAGE)}:{number}: {line.strip()}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.parent.name != "server"
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if ASKED.search(line)
    ]
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        'if server.software == "incus":',
        'if info["api_extensions"]:',
        "if server.version >= (6, 0):",
        'FOLDERS = {"lxd": "/var/lib/lxd"}',
        'if "incus" in name:',
    ],
)
def test_such_a_question_would_be_found(line: str) -> None:
    assert ASKED.search(line)
