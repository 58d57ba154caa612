"""The lock files name what every Python that we run with needs, whichever they were made by."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_PYTHONS = ("3.11", "3.12", "3.13", "3.14")


def locked(project: Path, name: str) -> list[Requirement]:
    lines = (project / f"{name}.lock").read_text().splitlines()
    return [
        Requirement(line.rstrip("\\ ")) for line in lines if "==" in line and not line.startswith((" ", "#"))
    ]


def holds(requirement: Requirement, python: str) -> bool:
    environment = {"python_version": python, "python_full_version": f"{python}.0", "extra": ""}
    return requirement.marker is None or requirement.marker.evaluate(environment)


@pytest.mark.parametrize("python", _PYTHONS)
@pytest.mark.parametrize("name", ["requirements", "requirements-dev"])
def test_what_is_locked_needs_nothing_else(project: Path, name: str, python: str) -> None:
    installed = [each for each in locked(project, name) if holds(each, python)]
    names = {canonicalize_name(each.name) for each in installed}
    missing = set()
    for each in installed:
        try:
            requires = distribution(each.name).requires or []
        except PackageNotFoundError:  # of another Python than this
            continue
        needs = [Requirement(line) for line in requires]
        missing |= {
            f"{each.name} needs {need}"
            for need in needs
            if holds(need, python) and canonicalize_name(need.name) not in names
        }
    assert missing == set()
