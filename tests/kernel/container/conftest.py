"""What tests of the adapter to containers share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kernel.container.seals_bench import Bench, Script, descriptors


@pytest.fixture
def run(root: None, tmp_path: Path) -> Callable[..., None]:
    """Runs a script, and sees that nothing is left open."""

    def start(script: Script, *, known: bool = True) -> None:
        async def work() -> None:
            bench = Bench(tmp_path, known=known)
            await bench.seals.connected(bench.server)
            try:
                await script(bench)
            finally:
                bench.seals.close()
                bench.opener.close()
                bench.threads.close()
                bench.close()

        before = descriptors()
        asyncio.run(work())
        assert descriptors() == before

    return start
