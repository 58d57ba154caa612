"""How much the soak's short form does: `pytest tests/soak --seeds=1-10 --plugs=600`."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("soak")
    group.addoption("--seeds", default="1", help="first and last seed, as 1-10")
    group.addoption("--plugs", type=int, default=150, help="of each seed")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        first, _, last = str(metafunc.config.getoption("--seeds")).partition("-")
        metafunc.parametrize("seed", range(int(first), int(last or first) + 1))
